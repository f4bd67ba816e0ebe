//! The placement schemes compared: wide sweeps with skewed durations on many workers.

use dagrun_core::engine::Scheme;
use dagrun_core::ids::{InstanceId, Micros};
use dagrun_core::simulate::{Cluster, simulate};

use crate::quality::Random;
use crate::{array, plan};

const WIDTH: usize = 2_000;

/// Durations around a second: all alike, skewed (log-normal), or with a few that are very long
/// (Pareto).
fn durations(kind: usize, seed: u64) -> Vec<Micros> {
    let mut random = Random(seed);
    let mut unit = || (random.next() >> 11) as f64 / (1u64 << 53) as f64;
    let mut one = || match kind {
        0 => 0.9 + 0.2 * unit(),
        1 => {
            // The sum of twelve is normal enough.
            let normal: f64 = (0..12).map(|_| unit()).sum::<f64>() - 6.0;
            (normal - 0.5).exp()
        }
        _ => (0.3333 * (1.0 - unit()).powf(-1.0 / 1.5)).min(30.0),
    };
    (0..WIDTH).map(|_| Micros((one() * 1e6) as u64)).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "the table is for the documentation")]
fn least_load_is_as_good_as_any() {
    println!(
        "scheme, then makespan ÷ bound on 16 × 4 slots: alike, skewed, long tail; the same short"
    );
    let mut least_load = [0.0; 6];
    for scheme in Scheme::ALL {
        let mut ratios = [0.0; 6];
        for (at, ratio) in ratios.iter_mut().enumerate() {
            const SEEDS: u64 = 5;
            for seed in 0..SEEDS {
                // The last three a thousand times shorter, so that work is handed out ahead.
                let shorter = if at < 3 { 1 } else { 1_000 };
                let list = durations(at % 3, seed);
                let of = |instance: InstanceId| Micros(list[instance.index as usize].0 / shorter);
                let cluster = Cluster { workers: 16, cpus: 4, scheme };
                let prediction = simulate(&plan(vec![array(WIDTH as u32)]), cluster, &of).unwrap();
                let bound = (prediction.work.0 as f64 / prediction.slots as f64)
                    .max(prediction.critical_path.0 as f64);
                *ratio += prediction.makespan.0 as f64 / bound / SEEDS as f64;
            }
        }
        println!("{:12} {ratios:.3?}", scheme.word());
        if scheme == Scheme::LeastLoad {
            least_load = ratios;
        }
        for (least, ratio) in least_load.iter().zip(ratios) {
            assert!(*least <= ratio * 1.03, "{scheme:?}");
            assert!(ratio < 2.0, "{scheme:?}");
        }
    }
}

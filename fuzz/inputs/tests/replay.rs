//! Plays what is kept of the inputs of the fuzz targets.

use std::path::PathBuf;

use dagrun_fuzz_inputs::TARGETS;

#[test]
fn the_corpus_of_each_target_is_played() {
    for (target, feed) in TARGETS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 10, "{folder:?} holds {} inputs only", paths.len());
        for path in paths {
            let input = std::fs::read(&path).unwrap();
            let played = std::panic::catch_unwind(|| feed(&input));
            assert!(played.is_ok(), "{} fails, as is said above", path.display());
        }
    }
}

//! Benchmarks of dagrun; see the `benches` folder.

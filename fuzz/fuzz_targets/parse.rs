//! Any text is either a pipeline or has located problems; nothing panics, hangs or overflows the
//! stack.
//!
//! ```sh
//! mkdir -p fuzz/corpus/parse
//! cp core/tests/good/*.toml core/tests/bad/*.toml fuzz/corpus/parse/
//! cargo +nightly fuzz run parse -- -max_len=4096 -max_total_time=600
//! ```

#![no_main]

#[path = "../../core/tests/sources/mod.rs"]
mod sources;

use dagrun_core::parse::{ParseOptions, parse};
use libfuzzer_sys::fuzz_target;
use sources::TestFiles;

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let set = [("x".to_owned(), source.lines().next().unwrap_or_default().to_owned())];
    for set in [&set[..0], &set[..]] {
        let options = ParseOptions { file_stem: "fuzz", set, ..ParseOptions::default() };
        match parse(source, &options, &TestFiles) {
            Ok(parsed) => assert_eq!(parsed.graph.widths().len(), parsed.pipeline.tasks.len()),
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(problem.line >= 1 && problem.column >= 1);
                    if let Some(span) = problem.span {
                        assert!(source.get(span).is_some());
                    }
                }
            }
        }
    }
});

//! Programs that must not compile, and the compiler's messages: edges between tasks that do not
//! fit, and functions that cannot be tasks.
//!
//! The messages are those of one compiler. With any other version this test is skipped, and only
//! the doc-tests marked `compile_fail` check that such programs are refused.

use std::process::Command;

/// The compiler whose messages are stored beside the programs.
const RUSTC: &str = "rustc 1.95.";

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped has to say so")]
fn what_does_not_fit_together_does_not_compile() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with(RUSTC) {
        eprintln!("SKIPPED: the messages are those of {RUSTC}x, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}

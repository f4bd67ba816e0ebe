#!/bin/sh
# Runs a fuzz target, or builds all of them.
#
#   scripts/fuzz.sh                             builds them
#   scripts/fuzz.sh TARGET SECONDS [OPTION…]    feeds it with mutations of its corpus, for so long
#   scripts/fuzz.sh TARGET FILE…                feeds it with these files
#
# The targets are those of fuzz/fuzz_targets. OPTION… goes to libFuzzer, as `-seed=1`. What it finds on its way
# is kept in fuzz/target/corpus, and an input that fails is written to fuzz/artifacts.
#
# What it takes: a Rust toolchain, of any channel, and a C++ compiler for libFuzzer. The flags are those of
# cargo-fuzz, which does not have to be installed, without a sanitizer.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
host=$(rustc -vV | sed -n 's/^host: //p')

# With `--target` they do not apply to build scripts and macros.
RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    RUSTFLAGS="$RUSTFLAGS -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS

if [ $# = 0 ]; then
    exec cargo build --manifest-path "$root/fuzz/Cargo.toml" --target "$host" --bins
fi
target=$1
shift
case "${1:-}" in
    '' | *[!0-9]*) ;;
    *)
        seconds=$1
        shift
        found=$root/fuzz/target/corpus/$target
        mkdir -p "$found"
        set -- "-max_total_time=$seconds" -max_len=4096 -print_final_stats=1 "$@" \
            "$found" "$root/fuzz/corpus/$target"
        ;;
esac
mkdir -p "$root/fuzz/artifacts"
# An input may take a while on a busy machine, and memory in proportion to what it says.
exec cargo run --quiet --manifest-path "$root/fuzz/Cargo.toml" --target "$host" --bin "$target" -- \
    -timeout=30 -rss_limit_mb=1024 "-artifact_prefix=$root/fuzz/artifacts/$target-" "$@"

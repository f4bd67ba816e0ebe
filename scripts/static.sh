#!/bin/sh
# Builds a `dagrun` that needs no library of its system, so that one file runs on any Linux of that
# processor: containers without anything in them, old clusters, rescue disks.
#
#   scripts/static.sh [TARGET] [OPTION…]
#
# TARGET is x86_64-unknown-linux-musl unless given; aarch64-unknown-linux-musl and others work where there is
# a C compiler for them. OPTION… goes to `cargo build`, in place of `--release`.
#
# What it takes: rustup with the target (it is added if rustup is here) and a C compiler that links against
# musl, for the SQLite in it. It says what is missing, and changes nothing else on this machine.
set -eu

cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-musl
case "${1:-}" in
    *-linux-musl*) target=$1; shift ;;
esac
[ $# -gt 0 ] || set -- --release

fail() {
    echo "scripts/static.sh: $1" >&2
    exit 1
}

command -v cargo >/dev/null || fail "cargo is missing; install it from https://rustup.rs"
if ! rustc --print target-libdir --target "$target" 2>/dev/null | { read -r dir && [ -d "$dir" ]; }; then
    command -v rustup >/dev/null ||
        fail "rustc has no standard library for $target, and there is no rustup that could add it"
    rustup target add "$target" || fail "rustup cannot add $target"
fi

# Variables of cargo and of cc-rs name a target with underscores.
name=$(echo "$target" | tr '-' '_')
upper=$(echo "$name" | tr '[:lower:]' '[:upper:]')
cpu=${target%%-*}
given=$(eval "echo \"\${CC_$name:-}\"")
if [ -z "$given" ]; then
    for compiler in "$cpu-linux-musl-gcc" musl-gcc; do
        # `musl-gcc` is for the processor of this machine.
        [ "$compiler" != musl-gcc ] || [ "$cpu" = "$(uname -m)" ] || continue
        if command -v "$compiler" >/dev/null; then
            given=$compiler
            break
        fi
    done
fi
[ -n "$given" ] || fail "no C compiler for $target: install musl-tools (Debian, Ubuntu; musl-gcc elsewhere), or a
cross compiler called $cpu-linux-musl-gcc, or set CC_$name"
export "CC_$name=$given"
# For its own processor rustc links by itself, with the musl that it brings: `musl-gcc` would make a program
# that asks for a loader.
if [ "$cpu" != "$(uname -m)" ]; then
    export "CARGO_TARGET_${upper}_LINKER=$given"
fi

cargo build --locked --package dagrun-cli --bin dagrun --target "$target" "$@"

profile=debug
while [ $# -gt 0 ]; do
    case "$1" in
        --release | -r) profile=release ;;
        --profile) shift; profile=$1 ;;
        --profile=*) profile=${1#--profile=} ;;
    esac
    shift
done
[ "$profile" != dev ] || profile=debug
binary=${CARGO_TARGET_DIR:-target}/$target/$profile/dagrun
if command -v readelf >/dev/null && readelf -ld "$binary" | grep -q -e INTERP -e NEEDED; then
    fail "$binary needs a loader or libraries of its system"
fi
if [ "$cpu" = "$(uname -m)" ]; then
    env -i "$binary" --version >/dev/null || fail "$binary does not run"
fi
echo "$binary"

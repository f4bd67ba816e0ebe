//! The Cap'n Proto interfaces of dagrun: `dagrun.capnp`, the Rust generated from it (committed, so
//! that no build needs the `capnp` tool), and [`wire`], the one place where core types become
//! messages and back.

/// Generated from `dagrun.capnp`; see `examples/regenerate.rs`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::unimplemented,
    clippy::uninlined_format_args,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    missing_debug_implementations,
    unreachable_pub,
    rustdoc::all
)]
#[rustfmt::skip]
pub mod dagrun_capnp;
pub mod wire;

/// The version of the protocol; both sides must speak the same.
pub const PROTOCOL_VERSION: u32 = dagrun_capnp::PROTOCOL_VERSION;

/// FNV-1a of a schema's text: shows whether the committed code belongs to it.
#[must_use]
pub fn fingerprint(schema: &[u8]) -> u64 {
    dagrun_core::hash::fnv1a(schema)
}

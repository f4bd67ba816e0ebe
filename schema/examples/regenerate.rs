//! Regenerates `src/dagrun_capnp.rs` and `src/dagrun_capnp.hash` from `dagrun.capnp`:
//! `cargo run -p dagrun-schema --example regenerate`, with the `capnp` tool (0.9.x) installed.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = root.join("dagrun.capnp");
    capnpc::CompilerCommand::new()
        .src_prefix(root)
        .file(&schema)
        .output_path(root.join("src"))
        .default_parent_module(vec![])
        .run()?;
    let hash = dagrun_schema::fingerprint(&std::fs::read(&schema)?);
    std::fs::write(root.join("src/dagrun_capnp.hash"), format!("{hash:016x}\n"))?;
    Ok(())
}

//! Keeps `src/wire/v1.rs` what `proto/` says. Refresh it with `UPDATE_GENERATED=1 cargo test --test generated`.

use std::{fs, path::Path};

const HEADER: &str = "//! Messages and services of `proto/secretd/v1`, generated: edit those, then run\n\
                      //! `UPDATE_GENERATED=1 cargo test --test generated`.\n\n";

/// Compiles all files of `proto/` to the text that belongs into `src/wire/v1.rs`.
fn generate(root: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(root.join("proto/secretd/v1"))
        .expect("proto/ is there")
        .map(|entry| entry.expect("proto/ can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    files.sort();
    let descriptors = protox::compile(&files, [root.join("proto")]).expect("proto/ compiles");
    let out = tempfile::tempdir().expect("there is room");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        // The same labels must give the same bytes on every replica.
        .btree_map(".")
        // Has a Debug of its own that prints nothing, see wire/payload.rs.
        .skip_debug(["secretd.v1.Payload"])
        // Variants that dwarf their neighbours.
        .boxed("secretd.v1.Command.command.found")
        .boxed("secretd.v1.Command.command.create_service")
        .boxed("secretd.v1.Command.command.update_service")
        .boxed("secretd.v1.TaskChange.change.create")
        .compile_fds(descriptors)
        .expect("the messages can be generated");
    let file = out.path().join("secretd.v1.rs");
    HEADER.to_owned() + &fs::read_to_string(file).expect("it was just written")
}

#[test]
fn the_generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("src/wire/v1.rs");
    let fresh = generate(root);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, fresh).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == fresh,
        "src/wire/v1.rs does not match proto/: run `UPDATE_GENERATED=1 cargo test --test generated` and commit it"
    );
}

//! What is published can be packaged, and holds what a reader of crates.io needs.

use std::collections::BTreeSet;
use std::process::Command;

/// Packaged, not built: that takes half a second. What a package is built from is what the suite is built from.
#[test]
fn the_published_crates_are_packaged_whole() {
    tests::limit();
    let place = tempfile::tempdir().expect("a directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["package", "--locked", "--offline", "--no-verify", "--allow-dirty", "--target-dir"])
        .arg(place.path());
    command.args(["-p", "postmeter-client", "-p", "postmeter-quantity"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("warning"), "{said}");
    for name in ["postmeter-client", "postmeter-quantity"] {
        let package = place.path().join(format!("package/{name}-{}.crate", env!("CARGO_PKG_VERSION")));
        let list = Command::new("tar").arg("tzf").arg(package).output().expect("tar");
        let list = String::from_utf8(list.stdout).expect("text");
        let files: BTreeSet<&str> = list.lines().filter_map(|line| Some(line.split_once('/')?.1)).collect();
        for file in ["Cargo.toml", "LICENSE", "README.md", "src/lib.rs"] {
            assert!(files.contains(file), "{name} lacks {file}: {files:?}");
        }
    }
}

//! The image's build, as far as it can be tried without a container engine.

use std::process::Command;

use super::{read, root};

/// What the build stage copies from the source tree.
fn copied() -> Vec<String> {
    let dockerfile = read("deploy/Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    lines
        .flat_map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            words.pop();
            words.into_iter().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_builder_gets_what_the_image_copies_and_nothing_else() {
    let ignore = read(".dockerignore");
    let mut sent: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert!(ignore.lines().any(|line| line == "*"), "all else is left out");
    let mut copied = copied();
    sent.sort();
    copied.sort();
    assert_eq!(copied, sent);
}

#[test]
fn the_images_compiler_is_new_enough() {
    let number = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().expect("a number")).collect() };
    let manifest = read("Cargo.toml");
    let needed = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version");
    let dockerfile = read("deploy/Dockerfile");
    let found =
        dockerfile.split("BUILD_IMAGE=rust:").nth(1).and_then(|rest| rest.split('-').next()).expect("a version");
    assert!(number(found) >= number(needed), "{found} is older than {needed}");
}

/// All the Dockerfile copies, alone in a directory, must compile. Compiled for checking only: the program is the same.
#[test]
fn what_the_image_copies_is_enough_to_build() {
    let place = tempfile::tempdir().expect("a directory");
    for path in copied() {
        let (from, to) = (root().join(&path), place.path().join(&path));
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        assert!(Command::new("cp").arg("-r").args([from, to]).status().expect("cp").success(), "{path}");
    }
    let target = std::env::current_exe().expect("this program's path");
    let target = target.ancestors().nth(3).expect("target/<profile>/deps");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let checked = Command::new(cargo)
        .args(["check", "--locked", "--offline", "--quiet", "-p", "postmeter"])
        .current_dir(place.path())
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

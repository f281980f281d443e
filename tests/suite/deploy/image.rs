//! The image's build, as far as it can be tried without a container engine.

use std::path::{Path, PathBuf};
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

/// Every file that the compiler read for the program, from the list that cargo keeps beside it.
fn read_by_the_compiler() -> Vec<PathBuf> {
    let list = PathBuf::from(tests::postmeter("").get_program()).with_extension("d");
    let list = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let (_, files) = list.split_once(": ").expect("a rule of make");
    // make's way of writing a space in a name
    let files = files.trim_end().replace("\\ ", "\0");
    files.split(' ').map(|file| PathBuf::from(file.replace('\0', " "))).collect()
}

/// What an image is built from: the sources, and manifests that name no package which is not there.
#[test]
fn what_the_image_copies_is_enough_to_build() {
    let copied = copied();
    let sources = read_by_the_compiler();
    let below = |file: &PathBuf| file.canonicalize().ok().and_then(|file| Some(file.strip_prefix(root()).ok()?.into()));
    let sources: Vec<PathBuf> = sources.iter().filter_map(below).collect();
    for least in ["crates/postmeter/src/main.rs", "sql/migrations/0001_pre_baseline.sql"] {
        assert!(sources.iter().any(|file| file == Path::new(least)), "the list lacks {least}");
    }
    // where clippy compiles, it reads its configuration as well
    for file in sources.into_iter().filter(|file| file != Path::new("clippy.toml")) {
        assert!(copied.iter().any(|path| file.starts_with(path)), "{} is not copied", file.display());
    }
    let place = tempfile::tempdir().expect("a directory");
    for path in copied {
        let (from, to) = (root().join(&path), place.path().join(&path));
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        assert!(Command::new("cp").arg("-r").args([from, to]).status().expect("cp").success(), "{path}");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let resolved = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--quiet", "-p", "postmeter"])
        .current_dir(place.path())
        .output()
        .expect("cargo");
    assert!(resolved.status.success(), "{}", String::from_utf8_lossy(&resolved.stderr));
}

//! The law of the crates: what talks to the database cannot call out; what calls out cannot touch the database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The crates that may call others: marketplaces, sources of usage, and what exports traces and errors.
const CALL_OUT: [&str; 3] = ["marketplaces", "postmeter", "sources"];
/// The crates that may speak to the database: ours, and what services record with.
const SPEAKS_TO_POSTGRES: [&str; 2] = ["client", "outbox"];

/// What each crate's manifest depends on, without what only its tests use. The package of the tests is left out.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let packages: Vec<_> = metadata["packages"].as_array().expect("packages").iter().collect();
    // by folder, which is what documents name
    let folder = |package: &serde_json::Value| {
        let manifest = text(&package["manifest_path"]);
        let folder = Path::new(&manifest).parent().and_then(Path::file_name).expect("a folder");
        folder.to_string_lossy().into_owned()
    };
    let folders: BTreeMap<String, String> = packages.iter().map(|of| (text(&of["name"]), folder(of))).collect();
    let in_folder = |name: String| folders.get(&name).cloned().unwrap_or(name);
    packages
        .iter()
        .filter(|package| package["name"] != "tests")
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (folder(package), normal.map(|dependency| in_folder(text(&dependency["name"]))).collect())
        })
        .collect()
}

/// Crates that one is built with; none of those only its tests use.
fn built_with(name: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--package", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What no service should get from a crate that records usage: pools, TLS, HTTP, and the rest of ours.
const NOT_A_PRODUCERS: &[&str] =
    &["backoff", "deadpool-postgres", "hyper", "native-tls", "openssl", "outbox", "remittance", "reqwest", "rustls"];

#[test]
fn what_talks_to_the_database_cannot_call_out_nor_the_reverse() {
    for (name, forbidden) in [
        ("postmeter-quantity", &["tokio", "serde", "tokio-postgres", "reqwest", "hyper"][..]),
        ("postmeter-client", NOT_A_PRODUCERS),
        ("remittance", &["tokio", "tokio-postgres", "reqwest", "hyper"]),
        ("outbox", &["marketplaces", "reqwest", "hyper", "axum"]),
        ("marketplaces", &["outbox", "tokio-postgres"]),
        ("explain", &["marketplaces", "worker", "console", "reqwest", "hyper", "axum"]),
        ("telemetry", &["marketplaces", "worker", "console", "reqwest", "hyper-rustls"]),
        ("sources", &["outbox", "marketplaces", "tokio-postgres"]),
        ("console", &["marketplaces", "worker", "simulator", "reqwest", "hyper-rustls"]),
    ] {
        let built_with = built_with(name);
        assert!(built_with.contains(name));
        let breach: Vec<_> = forbidden.iter().filter(|other| built_with.contains(**other)).collect();
        assert!(breach.is_empty(), "{name} is built with {breach:?}");
    }
}

#[test]
fn the_drawing_of_the_crates_is_what_their_manifests_say() {
    let manifests = manifests();
    let page = super::docs::read("docs/architecture.md");
    let drawing = page.split_once("flowchart TD\n").expect("the drawing").1.split_once("```").expect("its end").0;
    let drawn: BTreeSet<_> = drawing.lines().map(|line| line.trim().to_owned()).collect();
    let edges: BTreeSet<_> = manifests
        .iter()
        .flat_map(|(name, others)| others.iter().map(move |other| (name, other)))
        .filter(|(_, other)| manifests.contains_key(*other))
        .map(|(name, other)| format!("{name} --> {other}"))
        .collect();
    let wrong: Vec<_> = drawn.symmetric_difference(&edges).collect();
    assert!(wrong.is_empty(), "docs/architecture.md draws otherwise than the manifests: {wrong:?}");
    for page in ["docs/architecture.md", "README.md"] {
        let text = super::docs::read(page);
        let lost: Vec<_> = manifests.keys().filter(|name| !text.contains(&format!("\n| `crates/{name}` |"))).collect();
        assert!(lost.is_empty(), "{page} has no row for {lost:?}");
    }
}

#[test]
fn only_crates_that_the_law_names_have_a_client_for_http_or_postgres() {
    let manifests = manifests();
    let with = |client: &str| -> Vec<_> {
        manifests.iter().filter(|(_, others)| others.contains(client)).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(with("reqwest"), CALL_OUT);
    assert_eq!(with("tokio-postgres"), SPEAKS_TO_POSTGRES);
}

/// What a service gets with `postmeter-client`, itself and its driver included. More needs a reason.
const CLIENT_CRATES_MAX: usize = 80;

#[test]
fn a_service_gets_few_crates_with_the_client() {
    let crates = built_with("postmeter-client");
    assert!(crates.contains("tokio-postgres"));
    assert!(crates.len() <= CLIENT_CRATES_MAX, "{} crates: {crates:?}", crates.len());
}

//! The law of the crates: what talks to the database cannot call out; what calls out cannot touch the database.

use std::collections::BTreeSet;
use std::process::Command;

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

#[test]
fn what_talks_to_the_database_cannot_call_out_nor_the_reverse() {
    for (name, forbidden) in [
        ("remittance", &["tokio", "tokio-postgres", "reqwest", "hyper"][..]),
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

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

/// What a service gets with `postmeter-client`, itself and its driver included. More needs a reason.
const CLIENT_CRATES_MAX: usize = 80;

#[test]
fn a_service_gets_few_crates_with_the_client() {
    let crates = built_with("postmeter-client");
    assert!(crates.contains("tokio-postgres"));
    assert!(crates.len() <= CLIENT_CRATES_MAX, "{} crates: {crates:?}", crates.len());
}

//! graphile-worker beside us: `graphile.mjs` does the same POST and one INSERT into a table of attempts.

use std::path::Path;

use tokio::process::Command;

use crate::answerer::Answerer;
use crate::ground::Ground;
use crate::process::Part;

/// Its calls a second with this `completeJobBatchDelay`, or why it cannot run here.
pub async fn dispatch(ground: &Ground, name: &str, calls: usize, batch_delay: i32) -> Result<f64, String> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
    if !place.join("node_modules/graphile-worker").is_dir() {
        return Err("its packages are not installed (.ci/setup-node tests/bench)".to_owned());
    }
    let answerer = Answerer::start(0).await;
    let url = ground.empty(name).await;
    let mut command = Command::new("node");
    command
        .arg(place.join("graphile.mjs"))
        .arg(&url)
        .arg(answerer.port.to_string())
        .arg(calls.to_string())
        .arg(batch_delay.to_string());
    command.current_dir(&place).env("NODE_ENV", "production");
    let mut part = Part::spawn(&mut command);
    let (mut rate, mut before) = (None, (0.0, 0.0));
    while let Some(line) = part.line().await {
        let cpu = (part.cpu_seconds(), ground.cpu_seconds());
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ready", _) => before = cpu,
            ("rate", text) => {
                rate = text.parse().ok();
                let micros = |cpu: f64| cpu * 1e6 / calls as f64;
                let (node, server) = (micros(cpu.0 - before.0), micros(cpu.1 - before.1));
                println!("  {name}: CPU us a call: worker {node:.0}, Postgres {server:.0}");
            }
            _ => println!("  graphile-worker: {line}"),
        }
    }
    part.end().await;
    rate.ok_or_else(|| "it ended without a figure; its own message stands above".to_owned())
}

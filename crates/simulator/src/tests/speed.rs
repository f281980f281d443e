//! How fast it is: run by hand, in release, with `--ignored --nocapture`.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{metering_request, noon, start};

const CALLS: usize = 50_000;
const CONNECTIONS: usize = 8;

/// Client and server share one thread, so the server alone is faster than this says.
async fn calls_a_second(records: usize) -> f64 {
    let running = start().await;
    let begun = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(running.address()).await.unwrap();
        clients.spawn(async move {
            let mut answer = vec![0; 1 << 16];
            for call in 0..CALLS / CONNECTIONS {
                let records: Vec<_> = (0..records)
                    .map(|n| {
                        json!({"Timestamp": noon().as_second() - 3600, "Quantity": n,
                        "CustomerAWSAccountId": format!("{connection}{call:08}"), "Dimension": format!("d{n}")})
                    })
                    .collect();
                let body = json!({"ProductCode": "prod-1", "UsageRecords": records}).to_string();
                stream.write_all(metering_request(&body, "keep-alive").as_bytes()).await.unwrap();
                let mut read = 0;
                while !answer[..read].ends_with(b"]}") {
                    read += stream.read(&mut answer[read..]).await.unwrap();
                }
            }
        });
    }
    clients.join_all().await;
    assert_eq!(running.counters().calls, CALLS as u64);
    CALLS as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn calls_a_second_on_one_thread() {
    for records in [1, 25] {
        let rate = calls_a_second(records).await;
        tracing::info!(records, rate, "measured");
        std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("{records} records a call: {rate:.0} calls/s\n"),
        )
        .unwrap();
    }
}

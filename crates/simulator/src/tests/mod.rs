//! The simulator over a real socket, spoken to by hand so that every byte is seen.

mod admin;
mod faults;
mod speed;

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Running, Settings, Simulator};

/// An answer as it came.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Starts one on a free loopback port, without a rate and with its clock at noon.
async fn start() -> Running {
    let mut settings = Settings { clock: crate::Clock::frozen_at(noon()), ..Settings::default() };
    settings.aws.rate = None;
    Simulator::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), settings).unwrap()
}

fn noon() -> jiff::Timestamp {
    "2026-07-22T12:00:00Z".parse().unwrap()
}

/// Sends a request on a connection of its own and reads until the server closes it.
async fn exchange(running: &Running, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(running.address()).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap()?;
    Ok(answer)
}

fn split(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

async fn admin(running: &Running, method: &str, path: &str, body: &str) -> Answer {
    let request = format!(
        "{method} /_simulator/{path} HTTP/1.1\r\nHost: simulator\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    split(&exchange(running, request.as_bytes()).await.unwrap())
}

fn metering_request(body: &str, connection: &str) -> String {
    let scope = "AKIDEXAMPLE/20260722/us-east-1/aws-marketplace/aws4_request";
    let signature = "0".repeat(64);
    format!(
        "POST / HTTP/1.1\r\nHost: simulator\r\nConnection: {connection}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: AWSMPMeteringService.BatchMeterUsage\r\nAuthorization: AWS4-HMAC-SHA256 Credential={scope}, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={signature}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One record of this dimension in the hour before noon.
fn batch(dimension: &str, quantity: u32) -> String {
    let record = json!({"Timestamp": noon().as_second() - 3600, "CustomerAWSAccountId": "111122223333",
        "Dimension": dimension, "Quantity": quantity});
    json!({"ProductCode": "prod-1", "UsageRecords": [record]}).to_string()
}

async fn send(running: &Running, dimension: &str, quantity: u32) -> io::Result<Vec<u8>> {
    exchange(running, metering_request(&batch(dimension, quantity), "close").as_bytes()).await
}

#[tokio::test]
async fn d1_an_ordinary_call_is_accepted_and_recorded() {
    let running = start().await;
    let answer = split(&send(&running, "cores", 7).await.unwrap());
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/x-amz-json-1.1"), "{}", answer.head);
    let calls = running.calls();
    assert!(answer.head.contains(&format!("x-amzn-requestid: {}", calls[0].request_id)), "{}", answer.head);
    let accepted = running.record();
    assert_eq!(answer.json()["Results"][0]["MeteringRecordId"], json!(accepted[0].receipt));
    assert_eq!((accepted[0].quantity.to_string().as_str(), accepted[0].call), ("7", calls[0].id));
    assert_eq!((accepted[0].key.customer.as_str(), accepted[0].key.region.as_str()), ("111122223333", "us-east-1"));
    running.shutdown().await;
    assert!(TcpStream::connect(running.address()).await.is_err());
    assert_eq!(running.record().len(), 1);
}

#[tokio::test]
async fn d1_a_request_of_1_mb_is_refused() {
    let running = start().await;
    let body = format!("{{\"UsageRecords\":[],\"Padding\":\"{}\"}}", "x".repeat(1_000_000));
    let answer = split(&exchange(&running, metering_request(&body, "close").as_bytes()).await.unwrap());
    assert_eq!((answer.status, answer.json()["__type"].as_str()), (413, Some("RequestEntityTooLargeException")));
}

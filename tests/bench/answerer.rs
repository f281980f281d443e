//! A marketplace that costs next to nothing: HTTP/1.1 by hand, one fixed answer that echoes the record, as AWS does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;

use crate::process::Part;

/// A marketplace on loopback.
pub struct Answerer {
    pub port: u16,
    part: Part,
}

impl Answerer {
    /// Starts one in a process of its own. Every so manieth record is answered as unprocessed: to be sent again.
    pub async fn start(unprocessed_every: u64) -> Self {
        let mut part = Part::start(&["child-answer", &unprocessed_every.to_string()]);
        let port = part.line().await.expect("a port").parse().expect("a port");
        Self { port, part }
    }

    /// How many calls it has answered.
    pub async fn answered(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("loopback");
        stream.write_all(b"GET /answered HTTP/1.1\r\n\r\n").await.expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered");
        text.parse().expect("a number")
    }

    /// CPU seconds it has used.
    pub fn cpu_seconds(&self) -> f64 {
        self.part.cpu_seconds()
    }
}

/// What all connections of one answerer share.
#[derive(Default)]
pub struct Shared {
    answered: AtomicU64,
    unprocessed_every: u64,
    /// Told when a request's first bytes arrive.
    arrivals: Option<UnboundedSender<Instant>>,
}

/// The part of the process that answers: prints its port, answers until its parent is done.
pub async fn serve(unprocessed_every: u64) {
    let port = listen(Shared { unprocessed_every, ..Shared::default() }).await;
    println!("{port}");
    crate::process::until_parent_is_done().await;
}

/// An answerer in this process, which tells when requests arrive; returns its port.
pub async fn watched(arrivals: UnboundedSender<Instant>) -> u16 {
    listen(Shared { arrivals: Some(arrivals), ..Shared::default() }).await
}

async fn listen(shared: Shared) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let port = listener.local_addr().expect("an address").port();
    let shared = Arc::new(shared);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, Arc::clone(&shared)));
        }
    });
    port
}

async fn answer_all(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (mut input, mut output) = (Vec::with_capacity(4096), Vec::with_capacity(1024));
    loop {
        let Some((head, body)) = request(&input) else {
            let was_empty = input.is_empty();
            match stream.read_buf(&mut input).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if let (true, Some(arrivals)) = (was_empty, &shared.arrivals) {
                let _ = arrivals.send(Instant::now());
            }
            continue;
        };
        if input.starts_with(b"GET") {
            let _ = stream.write_all(shared.answered.load(Ordering::Relaxed).to_string().as_bytes()).await;
            return;
        }
        let number = shared.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let again = shared.unprocessed_every > 0 && number.is_multiple_of(shared.unprocessed_every);
        answer(&input[head..head + body], number, again, &mut output);
        input.drain(..head + body);
        if stream.write_all(&output).await.is_err() {
            return;
        }
    }
}

/// Lengths of head and body, once a request is whole.
fn request(input: &[u8]) -> Option<(usize, usize)> {
    let head = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = std::str::from_utf8(&input[..head]).ok()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let body = length.unwrap_or(0);
    (input.len() >= head + body).then_some((head, body))
}

/// The records of a call, between the brackets, come back as they went. None has an object in it.
fn answer(body: &[u8], number: u64, again: bool, output: &mut Vec<u8>) {
    let from = body.iter().position(|byte| *byte == b'[').map_or(0, |at| at + 1);
    let until = body.iter().rposition(|byte| *byte == b']').unwrap_or(body.len());
    let records = String::from_utf8_lossy(&body[from..until]);
    let text = if again {
        format!(r#"{{"Results":[],"UnprocessedRecords":[{records}]}}"#)
    } else {
        let answered = |(n, record): (usize, &str)| {
            let record = format!("{{{}}}", record.trim_matches(['{', '}']));
            format!(r#"{{"UsageRecord":{record},"MeteringRecordId":"m-{number}-{n}","Status":"Success"}}"#)
        };
        let results: Vec<String> = records.split("},{").enumerate().map(answered).collect();
        format!(r#"{{"Results":[{}]}}"#, results.join(","))
    };
    output.clear();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: ";
    output.extend_from_slice(format!("{head}{}\r\nx-amzn-requestid: {number}\r\n\r\n{text}", text.len()).as_bytes());
}

//! A proxy before Postgres that cuts a connection at an exact moment: after a commit, before its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The proxy. It cuts once.
pub struct Cutter {
    /// Its URL of the database.
    pub url: String,
    cut: Arc<AtomicBool>,
}

impl Cutter {
    /// Stands before the server of `tcp_url`. The first connection that prepares a statement with `marker` in its text
    /// is cut when the commit that follows is done.
    ///
    /// # Panics
    /// Without loopback.
    pub async fn before(tcp_url: &str, marker: &'static str) -> Self {
        let (head, rest) = tcp_url.split_once('@').expect("a URL with a user");
        let (server, tail) = rest.split_once('/').expect("a URL with a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("{head}@{}/{tail}", listener.local_addr().expect("an address"));
        let (server, cut) = (server.to_owned(), Arc::new(AtomicBool::new(false)));
        tokio::spawn({
            let cut = Arc::clone(&cut);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let Ok(server) = TcpStream::connect(&server).await else { continue };
                    tokio::spawn(pass(client, server, marker, Arc::clone(&cut)));
                }
            }
        });
        Self { url, cut }
    }

    /// Whether it has cut.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Passes bytes both ways until one side ends or the moment has come.
async fn pass(mut client: TcpStream, mut server: TcpStream, marker: &str, cut: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let (mut said, mut is_marked, mut is_last) = (Vec::new(), false, false);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                said.extend_from_slice(&up[..count]);
                if !is_marked && has(&said, marker) {
                    is_marked = true;
                    said.clear();
                }
                // the whole message: its length, its text, its end; settings have the word in their names
                is_last |= is_marked && has(&said, "\u{b}commit\0") && !cut.swap(true, Ordering::SeqCst);
                // a text may come in two pieces
                said.drain(..said.len().saturating_sub(100));
                if server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                // what the server says now is that it has committed: nobody hears it
                if is_last || client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

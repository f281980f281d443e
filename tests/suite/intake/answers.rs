//! An answer lost after the commit.

use std::net::SocketAddr;

use outbox::NewUsage;
use tests::{Stage, q, t};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::NoTls;

use super::rows;

/// The server's answer to a COMMIT that committed, as it is on the wire.
const COMMITTED: &[u8] = b"COMMIT\0";

/// Passes one connection through until the server says that it committed; that answer never arrives.
async fn until_committed(listener: TcpListener, server: SocketAddr) {
    let (client, _) = listener.accept().await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
    let forth = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut bytes = vec![0; 65536];
    loop {
        let read = from_server.read(&mut bytes).await.unwrap();
        let answer = &bytes[..read];
        if answer.is_empty() || answer.windows(COMMITTED.len()).any(|window| window == COMMITTED) {
            forth.abort();
            return;
        }
        to_client.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn a6_the_answer_is_lost_after_the_commit_and_sent_again_it_is_one_row() {
    let stage = Stage::new().await;
    let direct: tokio_postgres::Config = stage.db.tcp_url().parse().unwrap();
    let server = SocketAddr::new("127.0.0.1".parse().unwrap(), direct.get_ports()[0]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut through = tokio_postgres::Config::new();
    through.host("127.0.0.1").port(listener.local_addr().unwrap().port()).dbname(direct.get_dbname().unwrap());
    through.user(direct.get_user().unwrap_or("postgres"));
    if let Some(password) = direct.get_password() {
        through.password(password);
    }
    let proxy = tokio::spawn(until_committed(listener, server));

    let usage = NewUsage::new("billing", "e1", "acme", "db", "cores", q("1"), t("2024-09-18T09:30:00Z"));
    let (mut client, connection) = through.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    let transaction = client.transaction().await.unwrap();
    let first = outbox::record_usage(&transaction, &usage).await.unwrap();
    let lost = transaction.commit().await.unwrap_err();
    assert!(lost.is_closed() || lost.as_db_error().is_none(), "the client cannot know: {lost}");
    proxy.await.unwrap();

    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    let again = outbox::record_usage(&transaction, &usage).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(again, first);
    assert_eq!(rows(&stage).await, "1 1 1");
    stage.close().await;
}

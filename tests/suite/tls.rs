//! Encrypted ways: to Postgres, whose certificate and host name are checked, and out to marketplaces, where nothing turns
//! the checks off. Certificates are made by openssl.

use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outbox::{Access, Database, Tls};
use postmeter::embedded::{Cluster, Listen, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tests::{Stage, skip};

fn openssl(directory: &Path, arguments: &str) -> bool {
    let run = Command::new("openssl").current_dir(directory).args(arguments.split('|')).output();
    run.is_ok_and(|output| output.status.success())
}

/// Makes `ca.pem` and, signed by it, `<name>.pem` and `<name>.key` for a host; `false`: openssl is not there.
pub fn certificates(directory: &Path, leaves: &[(&str, &str)]) -> bool {
    let ec = "-newkey|ec|-pkeyopt|ec_paramgen_curve:prime256v1|-nodes";
    let ca = "req|-x509|-days|30|-subj|/CN=a test's authority|-keyout|ca.key|-out|ca.pem|";
    leaves.iter().fold(openssl(directory, &format!("{ca}{ec}")), |made, (name, host)| {
        let request = format!("req|-subj|/CN={name}|-keyout|{name}.key|-out|{name}.csr|{ec}");
        std::fs::write(directory.join("names"), format!("subjectAltName={host}\n")).expect("the names");
        let sign = format!(
            "x509|-req|-days|30|-in|{name}.csr|-CA|ca.pem|-CAkey|ca.key|-CAcreateserial|-extfile|names|-out|{name}.pem"
        );
        made && openssl(directory, &request) && openssl(directory, &sign)
    })
}

/// Lets the server show one of the certificates.
pub async fn show(cluster: &Cluster, from: &Path, name: &str) {
    let owner = std::fs::metadata(cluster.directory()).expect("a directory");
    for ending in ["pem", "key"] {
        let file: PathBuf = cluster.directory().join(format!("{name}.{ending}"));
        std::fs::copy(from.join(format!("{name}.{ending}")), &file).expect("a copy");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        chown(&file, Some(owner.uid()), Some(owner.gid())).expect("its owner");
    }
    let (client, connection) = tokio_postgres::connect(&cluster.url("postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let here = cluster.directory().display();
    for setting in [
        format!("ssl_cert_file = '{here}/{name}.pem'"),
        format!("ssl_key_file = '{here}/{name}.key'"),
        "ssl = on".to_owned(),
    ] {
        client.batch_execute(&format!("alter system set {setting}")).await.unwrap();
    }
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    let shown =
        format!("select current_setting('ssl_cert_file') like '%/{name}.pem' and current_setting('ssl') = 'on'");
    tests::until_true(&client, &shown).await;
}

/// Connects as our programs do; the version of TLS, or the refusal.
async fn encrypted(url: &str, tls: Tls) -> Result<String, String> {
    let access = Access { tls, ..Access::new(url) };
    let database = Database::open(&access).map_err(|error| error.to_string())?;
    let client = database.client().await.map_err(|error| error.to_string())?;
    let version = "select coalesce(version, 'none') from pg_stat_ssl where pid = pg_backend_pid()";
    Ok(client.query_one(version, &[]).await.expect("it answers").get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_only_the_server_that_is_meant_is_talked_to() {
    let made = tempfile::tempdir().unwrap();
    let (ours, others) = (made.path().join("ours"), made.path().join("others"));
    std::fs::create_dir(&ours).unwrap();
    std::fs::create_dir(&others).unwrap();
    let hosts = [("here", "IP:127.0.0.1"), ("elsewhere", "DNS:db.example.com")];
    if !certificates(&ours, &hosts) || !certificates(&others, &[]) {
        return skip("i6_only_the_server_that_is_meant_is_talked_to", "openssl is not installed");
    }
    let cluster = Cluster::start(Options { listen: Listen::FreePort, ..Options::default() }).unwrap();
    let plain = cluster.tcp_url("postgres").unwrap();
    let url = format!("{plain}?sslmode=require");
    let authority = |directory: &Path| Tls::Authority(directory.join("ca.pem"));
    let refused = |sentence: &str| Err(format!("the connection to the database is not safe: {sentence}"));
    assert_eq!(
        encrypted(&url, authority(&ours)).await,
        refused("it offers no TLS, and sslmode=require wants it"),
        "a server that speaks in the clear"
    );
    show(&cluster, &ours, "here").await;
    assert_eq!(encrypted(&url, authority(&ours)).await.as_deref(), Ok("TLSv1.3"));
    // unasked, too: without a word in the URL it is encrypted where the server can
    assert_eq!(encrypted(&plain, authority(&ours)).await.as_deref(), Ok("TLSv1.3"));
    let unknown = refused("its certificate is not signed by an authority that we trust: set tls_authority to that one");
    assert_eq!(encrypted(&url, authority(&others)).await, unknown, "another authority");
    assert_eq!(encrypted(&url, Tls::Public).await, unknown, "the public ones");
    let verify = encrypted(&format!("{plain}?sslmode=verify-full"), authority(&ours)).await.unwrap_err();
    assert!(verify.contains("write sslmode=require, which checks certificate and host name"), "{verify}");
    show(&cluster, &ours, "elsewhere").await;
    let another = refused("its certificate is for another host name than the URL's");
    assert_eq!(encrypted(&url, authority(&ours)).await, another);
    // a worker does not wait for it to become another server
    let output = tests::postmeter(&url)
        .env("POSTMETER_DATABASE_TLS_AUTHORITY", ours.join("ca.pem"))
        .arg("worker")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("another host name"), "{said}");
}

/// A server with a certificate that no public authority has signed. Counts the requests that get through to it.
fn impostor(directory: &Path) -> (String, Arc<AtomicUsize>) {
    let chain = CertificateDer::pem_file_iter(directory.join("here.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(directory.join("here.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, seen) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let counted = Arc::clone(&seen);
    let serving = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Ok(session) = rustls::ServerConnection::new(Arc::clone(&config)) else { return };
            let mut stream = rustls::StreamOwned::new(session, stream);
            if stream.read(&mut [0; 1]).is_ok_and(|read| read > 0) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    std::thread::Builder::new().name("server".to_owned()).spawn(serving).unwrap();
    (url, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_a_marketplace_with_a_certificate_of_nobody_gets_no_byte_of_a_request() {
    let made = tempfile::tempdir().unwrap();
    if !certificates(made.path(), &[("here", "IP:127.0.0.1")]) {
        return skip(
            "d8_a_marketplace_with_a_certificate_of_nobody_gets_no_byte_of_a_request",
            "openssl is not installed",
        );
    }
    let (url, seen) = impostor(made.path());
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    let real = stage.aws.url();
    let endpoint = |url: &str| format!("settings = jsonb_set(settings, '{{endpoint}}', '\"{url}\"')");
    stage.configure(&endpoint(&url)).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let outcomes = "select distinct outcome || ' ' || code from postmeter.attempt_ledger";
    assert_eq!(stage.column(outcomes).await, ["not_sent tls"]);
    assert_eq!(stage.value("select tries || ' ' || maybe_billed from postmeter.delivery").await, "0 false");
    assert_eq!(seen.load(Ordering::SeqCst), 0);
    // it is a fault of the way: the same remittance is sent when the right one answers
    stage.configure(&endpoint(&real)).await;
    stage.sql("delete from postmeter.breaker").await;
    stage.at("2024-09-18T11:30:00Z").await;
    stage.work_anew().await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[test]
fn i6_nothing_turns_the_checks_off() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let code = std::fs::read_to_string(&path).unwrap();
                for way in ["danger_accept", "dangerous()", "tls_danger", "NoVerifier", "ServerCertVerifier"] {
                    assert!(!code.contains(way), "{}: {way}", path.display());
                }
            }
        }
    }
}

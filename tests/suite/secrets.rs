//! I6: a day with every secret planted. None of them is in a log, a table, a metric, an answer or an error.

use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::json;
use simulator::{FaultKind, FaultRule};
use tests::{Dimension, Stage};

/// What must never be seen again. The simulator takes any key, so that these do their work.
const PLANTED: [&str; 8] = [
    "planted-database-password",
    "AKIAPLANTEDACCESSKEY",
    "planted/aws/secret/access+key",
    "planted-aws-session-token",
    "planted-azure-client-secret",
    "planted-proxy-password",
    "planted-header-password",
    "planted-unknown-bearer",
];

/// Starts a program with all secrets, in a place where its log is kept.
fn start(url_file: &Path, log: &Path, words: &[&str]) -> Child {
    let mut command = tests::postmeter("");
    command.env_remove("POSTMETER_DATABASE_URL").env("POSTMETER_DATABASE_URL_FILE", url_file);
    command.env("POSTMETER_LOG_LEVEL", "debug").env("RUST_BACKTRACE", "1");
    command.env("POSTMETER_WORKER_POLL_MS", "20").env_remove("AWS_PROFILE");
    command.env("AWS_ACCESS_KEY_ID", PLANTED[1]).env("AWS_SECRET_ACCESS_KEY", PLANTED[2]);
    command.env("AWS_SESSION_TOKEN", PLANTED[3]);
    command.env("POSTMETER_AZURE_TEST_TENANT_ID", "contoso.example").env("POSTMETER_AZURE_TEST_CLIENT_ID", "app-test");
    command.env("POSTMETER_AZURE_TEST_CLIENT_SECRET", PLANTED[4]);
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(proxy, format!("http://proxy:{}@127.0.0.1:9", PLANTED[5]));
    }
    let file = || std::fs::File::options().create(true).append(true).open(log).expect("a log");
    command.args(words).stdin(Stdio::null()).stdout(file()).stderr(file()).spawn().expect("the program")
}

fn end(mut child: Child) {
    tests::signal(&child, "TERM");
    tests::end_of(&mut child);
}

async fn until(stage: &Stage, sql: &str) {
    tests::until_true(&stage.db.client, sql).await;
}

/// Everything that the database holds, as text: our tables, and what others see of sessions and statements.
async fn tables(stage: &Stage) -> String {
    let names = "select format('select %L || t::text from %s t', c.relname || ': ', c.oid::regclass) from pg_class c
                 where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'v') order by 1";
    let mut all = Vec::new();
    for query in stage.column(names).await {
        all.extend(stage.column(&query).await);
    }
    all.extend(stage.column("select query || application_name from pg_stat_activity").await);
    all.join("\n")
}

/// A destination of Azure beside the stage's AWS, with an org each.
async fn catalogue(stage: &Stage) {
    stage.dimension(Dimension::default()).await;
    stage.subscribe("acme", "111122223333").await;
    let url = stage.aws.url();
    let azure = json!({ "endpoint": url, "token_endpoint": url, "profile": "test" });
    let identity = json!({ "resource_id": "11112222-3333-4444-5555-000000000001", "plan_id": "gold" });
    let sql = format!(
        "with q as (insert into postmeter.quota (name) values ('azure') returning id)
         insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max)
         select 'azure', 'azure', '{azure}', q.id, '24 hours', 25, 250000 from q;
         insert into postmeter.dimension (destination_id, product, metric, name, decimals)
         select id, 'db', 'cores', 'cores', 2 from postmeter.destination where name = 'azure';
         insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
         select 'globex', 'db', id, '{identity}', '2024-01-01' from postmeter.destination where name = 'azure';
         update postmeter.destination set retry_first = '1 second';
         update postmeter.worker set stopped_at = now(), reaped_at = now()"
    );
    stage.sql(&sql).await;
}

/// Asks a console as friend and stranger; what it said.
async fn asked(stage: &Stage, address: &str) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let token = console::new_token();
    let scopes = ["intake", "read", "operate"].map(str::to_owned);
    outbox::tokens::create(&stage.db.database, "friend", &token, &scopes, None, "ada").await.unwrap();
    let mut said = String::new();
    for path in ["/metrics", "/v1/remittances", "/v1/attempts", "/v1/destinations", "/v1/nonsense?x=1", "/health", "/"]
    {
        for bearer in [token.as_str(), PLANTED[7]] {
            let request = http.get(format!("{address}{path}")).bearer_auth(bearer);
            said += &request.send().await.unwrap().text().await.unwrap();
        }
        said += &http
            .get(format!("{address}{path}"))
            .basic_auth("ada", Some(PLANTED[6]))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
    }
    let broken = http.post(format!("{address}/v1/usage")).bearer_auth(&token).body("{\"org\": ").send().await.unwrap();
    said += &broken.text().await.unwrap();
    assert!(!said.contains(&token), "the caller's own token");
    assert!(!tables(stage).await.contains(&token), "a token is kept by its hash");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_no_secret_of_a_whole_day_is_seen_anywhere() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stage = Stage::bare().await;
    catalogue(&stage).await;
    let made = tempfile::tempdir().unwrap();
    let (url_file, log) = (made.path().join("url"), made.path().join("log"));
    let user = format!("sender_{}", std::process::id());
    let role = format!("create role {user} login superuser password '{}'", PLANTED[0]);
    stage.sql(&role).await;
    let tcp = stage.db.tcp_url();
    let place = tcp.split_once('@').unwrap().1;
    std::fs::write(&url_file, format!("postgresql://{user}:{}@{place}\n", PLANTED[0])).unwrap();
    // answers of every kind, some of them with what was sent
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(400).times(2)).unwrap();
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(403).times(2)).unwrap();
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).times(2)).unwrap();
    let workers = [start(&url_file, &log, &["worker"]), start(&url_file, &log, &["worker", "--name", "second"])];
    for hour in 10..14 {
        stage.at(&format!("2024-09-18T{hour}:30:00Z")).await;
        for org in ["acme", "globex", "nobody"] {
            stage.record(&format!("{org} {hour}"), org, "cores", "1", &format!("2024-09-18T{hour}:10:00Z")).await;
        }
        stage.at(&format!("2024-09-18T{}:04:00Z", hour + 1)).await;
        until(&stage, "select not exists (select from postmeter.outbox)").await;
        stage.at(&format!("2024-09-18T{}:10:00Z", hour + 1)).await;
        // a minute later again, for what is to be repeated
        until(&stage, "select not exists (select from postmeter.open_hour where hour < postmeter.clock() - interval '1 hour 5 minutes')").await;
    }
    stage.at("2024-09-18T14:40:00Z").await;
    until(&stage, "select count(*) >= 6 from postmeter.remittance where status = 'accepted'").await;
    // a console, commands that fail, a password that is wrong, a marketplace that is down
    let serving = start(&url_file, &log, &["console", "--listen", "127.0.0.1:0"]);
    let mut address = String::new();
    tests::wait_until("the console says where it is", async || {
        let text = std::fs::read_to_string(&log).unwrap();
        let said = text.split_once("listening at ").and_then(|(_, rest)| rest.split_once('\n'));
        address = said.map(|(line, _)| line.trim().to_owned()).unwrap_or_default();
        !address.is_empty()
    })
    .await;
    let answers = asked(&stage, &address).await;
    for words in [&["status"][..], &["doctor"], &["attempts"], &["--json", "attempts"], &["config"], &["nonsense"]] {
        tests::end_of(&mut start(&url_file, &log, words));
    }
    std::fs::write(made.path().join("wrong"), format!("postgresql://{user}:{}x@{place}", PLANTED[0])).unwrap();
    std::fs::write(made.path().join("nonsense"), format!("postgresql://{user}:{}@[nowhere", PLANTED[0])).unwrap();
    for file in ["wrong", "nonsense"] {
        tests::end_of(&mut start(&made.path().join(file), &log, &["status"]));
    }
    workers.into_iter().for_each(end);
    end(serving);

    let (log, tables) = (std::fs::read_to_string(&log).unwrap(), tables(&stage).await);
    // what was searched is what was said and stored
    for (text, word) in [
        (&log, "the worker has stopped"),
        (&log, "password authentication failed"),
        (&tables, "accepted"),
        (&tables, "globex"),
        (&answers, "postmeter_"),
    ] {
        assert!(text.contains(word), "nothing says {word}: {}", text.len());
    }
    for secret in PLANTED {
        for (name, text) in [("log", &log), ("tables", &tables), ("answers", &answers)] {
            let at = text.find(secret).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
            assert_eq!(at, None, "{secret} is in {name}");
        }
    }
    // Azure got its token for that secret
    assert!(tables.contains("azure/") && stage.aws.record().iter().any(|accepted| accepted.key.marketplace == "azure"));
    stage.sql(&format!("drop role {user}")).await;
}

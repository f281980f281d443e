//! Errors are called what they are, as text and as objects.

use super::*;

/// A database without a schema on the server of a stage.
async fn empty(stage: &Stage) -> String {
    let name = format!("empty_{}", uuid::Uuid::new_v4().simple());
    stage.sql(&format!("create database {name}")).await;
    let url = stage.db.url();
    let ours: String = stage.db.client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    url.replacen(&format!("/{ours}"), &format!("/{name}"), 1)
}

fn told(url: &str, format: &str, words: &[&str]) -> (i32, String) {
    let mut command = tests::postmeter(url);
    command.env("USER", "ada").env("POSTMETER_LOG_FORMAT", format).args(words);
    let output = command.output().expect("the command is built");
    (output.status.code().expect("it ended by itself"), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test]
async fn an_empty_database_is_told_to_be_migrated_with_exit_code_2() {
    let stage = Stage::bare().await;
    let url = empty(&stage).await;
    for words in [&["worker"][..], &["status"], &["console"], &["pause", "aws", "--why", "x"]] {
        let (code, said) = told(&url, "text", words);
        assert_eq!(code, 2, "{words:?}: {said}");
        assert!(said.contains("run `postmeter migrate`"), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn a_full_disk_and_a_wrong_password_are_called_so() {
    let stage = Stage::bare().await;
    for (code, exit, sentence) in [
        ("53100", 4, "postmeter: the database's disk is full: as raised (53100)"),
        ("25006", 4, "postmeter: the database is read only: a standby, or made so: as raised (25006)"),
        ("28P01", 2, "postmeter: the database does not let us in: as raised (28P01): look at user and password"),
    ] {
        stage
            .sql(&format!(
                "create or replace function public.refuse() returns trigger language plpgsql as $$
                 begin raise exception 'as raised' using errcode = '{code}'; end $$;
                 create or replace trigger refuse before insert on postmeter.decision for each row execute function public.refuse()"
            ))
            .await;
        let (ended, said) = told(&stage.db.url(), "text", &["pause", "aws", "--why", "x"]);
        assert_eq!(ended, exit, "{said}");
        assert!(said.contains(sentence) && !said.contains("cannot be reached"), "{said}");
    }
}

#[tokio::test]
async fn a_fatal_error_is_an_object_where_the_log_is() {
    let stage = Stage::bare().await;
    let url = empty(&stage).await;
    for (url, words, sentence) in [
        (url.as_str(), &["status"][..], "postmeter migrate"),
        (&url, &["worker"], "postmeter migrate"),
        ("nonsense", &["status"], "must be the URL of a Postgres"),
    ] {
        let (code, said) = told(url, "json", words);
        assert_eq!(code, 2, "{said}");
        for line in said.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(line["message"].is_string(), "{line}");
        }
        assert!(said.contains(sentence), "{said}");
    }
}

//! A shadow in a catalogue file, and what the commands say of it.

use super::*;

fn run(stage: &Stage, args: &[&str]) -> (Option<i32>, String) {
    let output = tests::postmeter(&stage.db.url()).args(args).output().expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[tokio::test]
async fn a_shadow_and_its_live_destination_come_with_one_file_and_the_command_tells_their_difference() {
    let stage = Stage::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    let of = |name: &str, shadow: &str, factor: &str| {
        format!(
            "[[destination]]\nname = \"{name}\"\nkind = \"aws\"\n{shadow}quota = \"aws\"\nsettings = {{ region = \"us-east-1\", endpoint = \"{}\" }}\n\
             [[dimension]]\ndestination = \"{name}\"\nproduct = \"db\"\nmetric = \"cores\"\nname = \"cores\"\nfactor = \"{factor}\"\n\
             [[subscription]]\norg = \"acme\"\nproduct = \"db\"\ndestination = \"{name}\"\nvalid_from = \"2024-01-01T00:00:00Z\"\n\
             identity = {{ product_code = \"prod-db\", customer_aws_account_id = \"111122223333\" }}\n",
            stage.aws.url()
        )
    };
    let quota = "[[quota]]\nname = \"aws\"\n";
    // the shadow stands first: the order of the file does not matter
    let text = format!("{quota}{}{}", of("a-trial", "shadow_of = \"live\"\n", "1/4"), of("live", "", "1"));
    std::fs::write(&path, text).unwrap();
    let path = path.to_string_lossy().into_owned();
    let (code, said) = run(&stage, &["catalog", "apply", &path, "--who", "ada", "--why", "a trial"]);
    assert_eq!(code, Some(0), "{said}");
    let signed = "select who || ': ' || why from postmeter.decision where verb = 'apply'";
    let signed: String = stage.db.client.query_one(signed, &[]).await.unwrap().get(0);
    assert_eq!(signed, "ada: a trial");
    let (code, said) = run(&stage, &["catalog", "apply", &path, "--dry-run"]);
    assert_eq!(code, Some(0), "nothing is left to change: {said}");
    let (_, shown) = run(&stage, &["catalog", "show"]);
    assert!(shown.contains("shadow_of = \"live\""), "{shown}");
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 10"]);
    let (code, said) = run(&stage, &["shadow", "diff", "a-trial", "--month", "2024-09"]);
    assert_eq!(code, Some(3), "{said}");
    for told in ["10 accepted", "3 dry run", "-7", "2024-09-18 10:00", "Nothing of a shadow is ever sent"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let (code, said) = run(&stage, &["shadow", "diff", "a-trial", "--month", "2024-08"]);
    assert!(code == Some(0) && said.contains("nothing of 2024-08"), "{said}");
    let (code, said) = run(&stage, &["shadow", "diff", "live"]);
    assert!(code == Some(2) && said.contains("there are: a-trial"), "{said}");
    let (_, said) = run(&stage, &["status"]);
    assert!(said.contains("a-trial (shadow)"), "{said}");
    let (code, said) = run(&stage, &["reconcile", "a-trial", "--day", "2024-09-18"]);
    assert!(code == Some(2) && said.contains("nothing was ever sent from it"), "{said}");
    let (code, said) = run(&stage, &["recalculate", "a-trial", "2024-09"]);
    assert!(code == Some(0) && said.contains("nothing is unexplained"), "{said}");
    stage.close().await;
}

//! Decisions over HTTP: dry run first, signed, and the same ones twice change nothing.

use serde_json::{Value, json};
use tests::{Console, Stage};

/// Three remittances that are due and not sent: two of acme, one of globex.
async fn due() -> Stage {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.use_cores("a", "3", "2024-09-18T09:10:00Z").await;
    stage.use_cores("b", "4", "2024-09-18T08:10:00Z").await;
    stage.record("g", "globex", "cores", "5", "2024-09-18T09:10:00Z").await;
    stage.cut_only("2024-09-18T10:20:00Z").await;
    stage
}

fn counts(answer: &Value) -> (Option<u64>, Option<u64>, Option<&str>) {
    (answer["changed"].as_u64(), answer["unchanged"].as_u64(), answer["says"].as_str())
}

#[tokio::test]
async fn e8_corrections_are_dry_runs_first_are_signed_and_twice_change_nothing_more() {
    let stage = due().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["operate"]).await;
    let post = |verb: &'static str, body: Value| {
        let (console, token) = (&console, token.clone());
        async move { console.post(&token, &format!("/v1/corrections/{verb}"), &body).await }
    };
    let hold = json!({"filter": {"org": "acme"}, "reason": "their catalogue is wrong"});
    let dry = post("hold", hold.clone()).await.json();
    assert_eq!(counts(&dry), (Some(2), Some(0), Some("2 would change; send dry_run: false to do it")), "{dry}");
    assert_eq!(stage.remittances().await, ["18T08 due 4", "18T09 due 3", "18T09 due 5"], "a dry run changes nothing");
    let mut real = hold;
    real["dry_run"] = false.into();
    real["on_behalf_of"] = "Ada Lovelace".into();
    let done = post("hold", real.clone()).await.json();
    assert_eq!(counts(&done), (Some(2), Some(0), Some("2 changed")), "{done}");
    assert_eq!(done["changes"][0]["status_after"], "held");
    assert_eq!(stage.remittances().await, ["18T08 held 4", "18T09 held 3", "18T09 due 5"]);
    let again = post("hold", real.clone()).await.json();
    assert_eq!(counts(&again), (Some(0), Some(0), Some("nothing is left to do")), "{again}");
    let decisions = console.get(&token, "/v1/decisions?verb=hold").await.json();
    let decisions = decisions["items"].as_array().unwrap();
    assert_eq!(decisions.len(), 2, "one for each remittance");
    for decision in decisions {
        let who = decision["who"].as_str().unwrap();
        assert!(who.starts_with("caller-") && who.ends_with(" for Ada Lovelace"), "{who}");
        assert_eq!(decision["why"], "their catalogue is wrong");
    }
    let released = post("release", real.clone()).await.json();
    assert_eq!(counts(&released).0, Some(2), "{released}");
    stage.close().await;
}

#[tokio::test]
async fn e8_a_correction_that_names_nothing_or_says_too_little_is_refused() {
    let stage = due().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["operate"]).await;
    for (body, status, code) in [
        (json!({"filter": {}, "reason": "r"}), 422, Some("PM031")),
        (json!({"filter": {"ogr": "acme"}, "reason": "r"}), 422, Some("PM030")),
        (json!({"filter": {"org": "acme"}, "reason": ""}), 422, Some("PM032")),
        (json!({"filter": {"delivery": "x"}, "reason": "r"}), 422, Some("PM037")),
        (json!({"filter": {"org": "acme"}}), 400, None),
        (json!({"filter": {"org": "acme"}, "reason": "r", "dryrun": false}), 400, None),
        (json!({"filter": {"org": "acme"}, "reason": "r", "on_behalf_of": " "}), 400, None),
        (json!({"filter": {"org": "acme"}, "reason": "r", "held_usage": true}), 400, None),
    ] {
        let reply = console.post(&token, "/v1/corrections/hold", &body).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, code), "{body}: {}", reply.text);
    }
    let resolve = json!({"billed": true, "reason": "they show it"});
    assert_eq!(console.post(&token, "/v1/remittances/1/resolve", &resolve).await.json()["code"], "PM034");
    assert_eq!(console.post(&token, "/v1/remittances/999/resolve", &resolve).await.status, 404);
    assert_eq!(stage.value("select count(*)::text from postmeter.decision").await, "0");
}

#[tokio::test]
async fn e8_held_usage_is_retried_and_given_up() {
    let stage = Stage::new().await;
    stage.record("i", "initech", "cores", "7", "2024-09-18T09:05:00Z").await;
    stage.work_at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["operate"]).await;
    let mut body = json!({"filter": {"org": "initech"}, "reason": "never ours", "held_usage": true});
    let dry = console.post(&token, "/v1/corrections/write-off", &body).await.json();
    assert_eq!((counts(&dry).0, dry["changes"][0]["quantity"].as_str()), (Some(1), Some("7")), "{dry}");
    body["dry_run"] = false.into();
    assert_eq!(counts(&console.post(&token, "/v1/corrections/write-off", &body).await.json()).0, Some(1));
    let again = console.post(&token, "/v1/corrections/write-off", &body).await.json();
    assert_eq!(again["says"], "nothing is left to do");
    let at = console.get(&token, "/v1/usage/billing/i").await.json();
    assert_eq!((at["done"].as_bool(), at["at"][0]["status"].as_str()), (Some(true), Some("written_off")), "{at}");
    stage.close().await;
}

#[tokio::test]
async fn e12_an_unknown_remittance_is_resolved_and_a_destination_paused() {
    let stage = due().await;
    let console = Console::start(&stage.db).await;
    let (token, reader) = (console.token(&["operate"]).await, console.token(&["read"]).await);
    let reason = json!({"reason": "they are moving"});
    let paused = console.post(&token, "/v1/destinations/aws/pause", &reason).await;
    assert_eq!((paused.status, paused.json()["paused"].as_bool()), (200, Some(true)), "{}", paused.text);
    let listed = console.get(&reader, "/v1/destinations").await.json();
    assert_eq!((&listed["items"][0]["paused"], &listed["items"][0]["breaker"]), (&json!(true), &json!("closed")));
    assert_eq!(console.post(&reader, "/v1/destinations/aws/resume", &reason).await.status, 403);
    assert_eq!(console.post(&token, "/v1/destinations/nobody/pause", &reason).await.status, 404);
    assert_eq!(console.post(&token, "/v1/destinations/aws/resume", &reason).await.json()["paused"], false);
    let again = console.post(&token, "/v1/destinations/aws/resume", &reason).await.json();
    assert_eq!((&again["paused"], &again["changed"]), (&json!(false), &json!(false)), "no second decision");
    let probed = console.post(&token, "/v1/destinations/aws/probe", &reason).await.json();
    assert_eq!((&probed["breaker"], &probed["changed"]), (&json!("closed"), &json!(false)), "there is no pause to end");
    // as settle leaves it when nobody knows and sending again is not safe
    stage
        .sql(
            "delete from postmeter.due where delivery_id = 1;
             update postmeter.delivery set status = 'unknown', maybe_billed = true, maybe_since = postmeter.clock() where id = 1",
        )
        .await;
    let resolve = json!({"billed": true, "reason": "they show it", "on_behalf_of": "Ada"});
    let resolved = console.post(&token, "/v1/remittances/1/resolve", &resolve).await;
    assert_eq!(resolved.json(), json!({"delivery_id": 1, "status": "accepted", "changed": true}), "{}", resolved.text);
    let whole = console.get(&reader, "/v1/remittances/1").await.json();
    assert_eq!(
        (&whole["remittance"]["status"], &whole["decisions"][0]["verb"]),
        (&json!("accepted"), &json!("resolve"))
    );
}

#[tokio::test]
async fn c6_a_month_is_reported_closed_and_opened_again() {
    let stage = due().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["operate"]).await;
    let month = console.get(&token, "/v1/months/aws/2024-09").await;
    assert_eq!((month.status, month.json()["closed"].as_bool()), (200, Some(false)), "{}", month.text);
    assert_eq!(month.json()["items"][0]["class"], "due");
    let close = "/v1/months/aws/2024-09/close";
    let early = console.post(&token, close, &json!({"reason": "books", "dry_run": false})).await;
    assert_eq!((early.status, early.json()["code"].as_str()), (422, Some("PM035")), "{}", early.text);
    let dry = console.post(&token, close, &json!({"reason": "books", "forced": true})).await.json();
    assert_eq!(dry["closed"], false, "a dry run");
    let closed = console.post(&token, close, &json!({"reason": "books", "forced": true, "dry_run": false})).await;
    assert_eq!(closed.json()["closed"], true, "{}", closed.text);
    stage.use_cores("late", "2", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    let reopen = "/v1/months/aws/2024-09/reopen";
    let dry = console.post(&token, reopen, &json!({"reason": "too early"})).await.json();
    assert_eq!((&dry["dry_run"], &dry["returned"][0]["quantity"]), (&json!(true), &json!("2")), "{dry}");
    let open = console.post(&token, reopen, &json!({"reason": "too early", "dry_run": false})).await;
    assert_eq!(open.json()["returned"][0]["usages"], 1, "{}", open.text);
    assert_eq!(console.get(&token, "/v1/months/aws/2024-09").await.json()["closed"], false);
    for wrong in ["2024-13", "2024-9", "september"] {
        assert_eq!(console.get(&token, &format!("/v1/months/aws/{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(console.get(&token, "/v1/months/nobody/2024-09").await.status, 404);
    stage.close().await;
}

#[tokio::test]
async fn b10_a_catalogue_is_compared_then_applied_and_signed() {
    let stage = Stage::new().await;
    stage.record("i", "initech", "cores", "7", "2024-09-18T10:05:00Z").await;
    stage.work_at("2024-09-18T10:30:00Z").await;
    let console = Console::start(&stage.db).await;
    let (token, limited) = (console.token(&["operate"]).await, console.token_for(&["read"], Some("acme")).await);
    let put = |query: &'static str, text: String| {
        let request = console.http.put(format!("{}/v1/catalogue{query}", console.url)).bearer_auth(&token);
        console.send(request.header("content-type", "application/toml").body(text))
    };
    let text = console.get(&token, "/v1/catalogue").await;
    assert_eq!((text.status, text.kind.as_str()), (200, "application/toml"), "{}", text.text);
    assert_eq!(console.get(&limited, "/v1/catalogue").await.status, 403);
    let same = put("?dry_run=false&reason=again", text.text.clone()).await;
    assert_eq!((same.status, &same.json()["changes"]), (200, &json!([])), "{}", same.text);
    let more = format!(
        "{}\n[[subscription]]\norg = \"initech\"\nproduct = \"db\"\ndestination = \"aws\"\nvalid_from = \"2024-01-01T00:00:00Z\"\n\
         identity = {{ product_code = \"prod-db\", customer_aws_account_id = \"777788889999\" }}\n",
        text.text
    );
    let dry = put("", more.clone()).await;
    assert_eq!((dry.status, dry.json()["applied"].as_bool()), (200, Some(false)), "{}", dry.text);
    assert!(dry.json()["diff"][0].as_str().unwrap().starts_with("+ subscription initech"), "{}", dry.text);
    assert_eq!(stage.value("select count(*)::text from postmeter.subscription where org = 'initech'").await, "0");
    let unsigned = put("?dry_run=false", more.clone()).await;
    assert_eq!((unsigned.status, unsigned.json()["code"].as_str()), (422, Some("PM032")), "{}", unsigned.text);
    let done = put("?dry_run=false&reason=they%20signed&on_behalf_of=Ada", more).await;
    assert_eq!((done.status, done.json()["applied"].as_bool()), (200, Some(true)), "{}", done.text);
    let decision = console.get(&token, "/v1/decisions?verb=apply").await.json();
    let decision = &decision["items"][0];
    assert_eq!((decision["why"].as_str(), decision["detail"]["entries"].as_i64()), (Some("they signed"), Some(1)));
    assert!(decision["who"].as_str().unwrap().ends_with(" for Ada"), "{decision}");
    let held = stage.value("select count(*)::text from postmeter.held").await;
    assert_eq!(held, "0", "what the catalogue cures goes on by itself");
    let wrong = put("", "[[destination]]\nname = \"x\"\nkind = \"nothing\"\n[[nonsense]]\n".to_owned()).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    assert!(wrong.json()["problems"].as_array().unwrap().len() >= 2, "{}", wrong.text);
    assert_eq!(put("?dryrun=false", String::new()).await.status, 400);
    stage.close().await;
}

//! L8: the first import of a billing export, typed as its page has it.

use tokio_postgres::Client;

use super::first::{Play, accepted, blocks};

const PAGE: &str = "docs/integrate/exports.md";

/// The first example of the page, until the marketplace has accepted it.
pub(super) async fn first_import(play: &Play, client: &Client) {
    let place = tempfile::tempdir().expect("a folder");
    let block = format!("cd {}\n{}", place.path().display(), blocks(PAGE, "sh")[0]);
    let said = play.shell(&block, &[]);
    let sentence = "3 rows = 2 recorded + 0 repeated (recorded before) + 0 changed + 1 skipped + 0 refused";
    assert!(said.contains(sentence) && super::page(PAGE).contains(sentence), "{said}");
    assert!(play.shell(&block, &[]).contains("3 rows = 0 recorded + 2 repeated"), "again it adds nothing");
    client
        .batch_execute("update postmeter.setting set clock_shift = clock_shift + '6 minutes'")
        .await
        .expect("a clock");
    let id = client.query_one("select event_id from postmeter.usage where source = 'focus:play'", &[]).await;
    accepted(client, "focus:play", id.expect("one usage").get(0)).await;
    let row = client.query_one(&blocks(PAGE, "sql")[0], &[]).await.expect("the page's question");
    assert_eq!(row.get::<_, &str>("status"), "accepted");
}

//! K3 and K4: a contract goes on when its buyer changes within a month.

use serde_json::{Value, json};
use tests::{Dimension, Stage, t};

use super::contracts::{end, held_by_them, subscribe_as};
use super::cover::cover;
use super::{billed, hour};
use crate::people::refuse_all;

pub(super) const LICENCE: &str = "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef";
const RENEWED: &str = "arn:aws:license-manager::123456789012:license:l-fedcba9876543210fedcba9876543210";

pub(super) fn licence(arn: &str) -> Value {
    json!({ "license_arn": arn, "customer_aws_account_id": "111122223333" })
}

/// acme buys by product code until eleven, and by another identity from then on.
async fn moved_to(identity: Value) -> Stage {
    let stage = Stage::new().await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    subscribe_as(&stage, identity, None, "2024-09-18T11:00:00Z").await;
    stage
}

/// The balance of every meter is closed, and a recalculation explains the month to the last unit.
pub(super) async fn is_explained(stage: &Stage) {
    assert_eq!(stage.value("select count(*)::text from postmeter.balance where difference <> 0").await, "0");
    let unexplained = "select coalesce(string_agg(concat_ws(' ', r.part, r.reason, r.quantity), '; '), '')
                       from postmeter.recalculate('aws', '2024-09-01') r where r.part in ('unexplained', 'catalogue_changed', 'cover_changed')";
    assert_eq!(stage.value(unexplained).await, "");
}

#[tokio::test]
async fn k3_a_licence_in_mid_month_keeps_the_cover_of_the_product_code() {
    let stage = moved_to(licence(LICENCE)).await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "8").await;
    hour(&stage, 11, "9").await;
    assert_eq!(billed(&stage).await, ["0", "7"], "17 used in two forms, 10 covered");
    assert_eq!(
        stage.column("select recorded || ' ' || covered || ' ' || accepted from postmeter.balance").await,
        ["17 10 7"]
    );
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_licence_in_mid_month_keeps_rounding_and_credit() {
    let stage = moved_to(licence(LICENCE)).await;
    hour(&stage, 10, "1.5").await;
    hour(&stage, 11, "0.5").await;
    hour(&stage, 12, "1").await;
    assert_eq!(billed(&stage).await, ["2", "0", "1"]);
    // what was billed under the code too much is used up under the licence
    let mut less =
        outbox::NewUsage::new("billing", "less", "acme", "db", "cores", tests::q("-1"), t("2024-09-18T10:05:00Z"));
    less.corrects = Some("at 10".to_owned());
    stage.record_as(&less).await;
    hour(&stage, 13, "1").await;
    hour(&stage, 14, "1").await;
    assert_eq!(
        held_by_them(&stage),
        ["111122223333 18T10 2", "111122223333 18T12 1", "111122223333 18T14 1"],
        "four used in all"
    );
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_renewed_licence_and_a_corrected_account_keep_it_too() {
    let stage = moved_to(licence(LICENCE)).await;
    end(&stage, "2024-09-18T12:00:00Z").await;
    subscribe_as(&stage, licence(RENEWED), None, "2024-09-18T12:00:00Z").await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "4").await;
    hour(&stage, 11, "4").await;
    hour(&stage, 12, "4").await;
    // an account that was mistaken, corrected in place
    let corrected = json!({ "license_arn": RENEWED, "customer_aws_account_id": "444455556666" });
    let edit = "update postmeter.subscription set identity = $1 where valid_until is null";
    stage.db.client.execute(edit, &[&corrected]).await.unwrap();
    stage.worker.reload().await.unwrap();
    hour(&stage, 13, "5").await;
    assert_eq!(billed(&stage).await, ["0", "0", "2", "5"], "17 used under four buyers, 10 covered");
    assert_eq!(stage.value("select count(distinct buyer)::text from postmeter.remittance").await, "4");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_two_orgs_of_one_buyer_round_once_before_and_after_it_moves() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "111122223333").await;
    let until = "update postmeter.subscription set valid_until = '2024-09-18T11:00Z'";
    stage.sql(until).await;
    for (org, from) in [("acme", 11), ("globex", 11), ("initech", 12)] {
        stage
            .db
            .client
            .execute(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select $1, 'db', id, $2, $3 from postmeter.destination",
                &[&org, &licence(LICENCE), &t(&format!("2024-09-18T{from}:00:00Z"))],
            )
            .await
            .unwrap();
    }
    stage.worker.reload().await.unwrap();
    for org in ["acme", "globex"] {
        cover(&stage, org, "cores", 2).await;
    }
    for at in 10..13 {
        stage.at(&format!("2024-09-18T{at}:10:00Z")).await;
        for org in if at == 12 { vec!["globex", "initech"] } else { vec!["globex"] } {
            let (event, used_at) = (format!("{org} {at}"), format!("2024-09-18T{at}:05:00Z"));
            stage.record(&event, org, "cores", "1.25", &used_at).await;
        }
        hour(&stage, at, "1.25").await;
    }
    // 2.5, 5 and 8.75 with 4 covered, whoever used it, and whoever has come only now
    assert_eq!(billed(&stage).await, ["0", "1", "4"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.balance").await, "1");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_two_contracts_that_meet_at_one_buyer_are_rounded_each_and_sent_as_one_quantity() {
    let stage = Stage::new().await;
    stage.subscribe_for("globex", "444455556666", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    stage.subscribe_for("globex", "111122223333", "2024-09-18T11:00:00Z", None).await;
    cover(&stage, "globex", "cores", 3).await;
    for at in [10, 11] {
        stage.at(&format!("2024-09-18T{at}:10:00Z")).await;
        stage.record(&format!("g{at}"), "globex", "cores", "2.5", &format!("2024-09-18T{at}:05:00Z")).await;
        hour(&stage, at, "0.5").await;
    }
    // globex: 5 of which 3 are covered, all after eleven; acme: 1, billed when it began
    assert_eq!(held_by_them(&stage), ["111122223333 18T10 1", "111122223333 18T11 2"]);
    is_explained(&stage).await;
    // with the next month they are one contract
    stage.at("2024-10-01T10:10:00Z").await;
    stage.record("october", "globex", "cores", "3.25", "2024-10-01T10:05:00Z").await;
    stage.use_cores("october too", "0.5", "2024-10-01T10:05:00Z").await;
    stage.cut_at("2024-10-01T11:10:00Z").await;
    assert_eq!(stage.accepted().last().unwrap(), "01T10 1", "3.75 of which 3 are covered");
    stage.close().await;
}

#[tokio::test]
async fn k3_who_moves_away_and_who_stays_share_one_cover_until_the_month_ends() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "111122223333").await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.subscribe_for("acme", "444455556666", "2024-09-18T11:00:00Z", None).await;
    for org in ["acme", "globex"] {
        cover(&stage, org, "cores", 5).await;
    }
    hour(&stage, 10, "9").await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage.record("stays", "globex", "cores", "0.75", "2024-09-18T11:05:00Z").await;
    hour(&stage, 11, "0.75").await;
    hour(&stage, 12, "1").await;
    let all = "select trim_scale(sum(quantity))::text from postmeter.remittance";
    assert_eq!(stage.value(all).await, "2", "11.5 used, 10 covered, rounded once");
    assert_eq!(stage.value("select count(*)::text from postmeter.balance").await, "1");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_the_months_remainder_is_settled_once_under_the_last_buyer() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    hour(&stage, 10, "1.5").await;
    stage.work().await;
    hour(&stage, 11, "0.75").await;
    assert_eq!(billed(&stage).await, ["1", "1"], "no remainder is settled when the code ends");
    stage.at("2024-09-30T23:30:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1", "30T23 1"]);
    let key = "select split_part(key, '/', 3) from postmeter.remittance where hour = '2024-09-30T23:00Z'";
    assert!(stage.value(key).await.contains("license"), "under the licence");
    let told = "select trim_scale(sum(quantity))::text from postmeter.remittance_summary where org = 'acme'";
    assert_eq!(stage.value(told).await, "3", "the org's month has all of it");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_what_is_late_or_released_goes_to_an_hour_of_the_contract_under_its_present_buyer() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T10:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    hour(&stage, 10, "1").await;
    // the only hour of the product code is sent
    stage.at("2024-09-18T12:30:00Z").await;
    stage.use_cores("late", "2", "2024-09-18T10:50:00Z").await;
    stage.cut_at("2024-09-18T12:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 2"], "under the licence, in an hour that was never sent");
    let identity =
        "select string_agg(identity ->> 'license_arn', ' ') from postmeter.delivery where hour = '2024-09-18T11:00Z'";
    assert_eq!(stage.value(identity).await, LICENCE);
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_what_was_refused_and_released_goes_on_under_the_buyer_of_its_new_hour() {
    let stage = moved_to(licence(LICENCE)).await;
    refuse_all(&stage, true);
    hour(&stage, 10, "1.5").await;
    refuse_all(&stage, false);
    hour(&stage, 11, "2").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 2", "18T11 accepted 2"]);
    stage.sql("select postmeter.release('{\"org\": \"acme\"}', 'ada', 'taken later', false)").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2", "18T12 2"], "3.5 used, 4 billed");
    let identity = "select string_agg(distinct identity ->> 'license_arn', ' ') from postmeter.remittance r
                    join postmeter.delivery d on d.id = r.delivery_id where r.status = 'accepted'";
    assert_eq!(stage.value(identity).await, LICENCE);
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k3_two_workers_that_cut_hours_of_one_contract_under_two_buyers_round_once() {
    let stage = moved_to(licence(LICENCE)).await;
    stage.configure("closing_window = null").await;
    for at in [10, 11] {
        stage.at(&format!("2024-09-18T{at}:10:00Z")).await;
        stage.use_cores(&format!("at {at}"), "0.5", &format!("2024-09-18T{at}:05:00Z")).await;
        stage.fold().await;
    }
    stage.at("2024-09-18T12:10:00Z").await;
    let other = stage.another_worker().await;
    // cuts wait until what the change of the buyer may move has moved
    outbox::maintain::return_marked(&stage.db.database).await.unwrap();
    for _ in 0..3 {
        let (one, two) = tokio::join!(stage.worker.cut(), other.cut());
        one.unwrap();
        two.unwrap();
    }
    let cut = "select string_agg(trim_scale(quantity)::text, ' ' order by quantity) from postmeter.remittance where status <> 'open'";
    assert_eq!(stage.value(cut).await, "0 1", "0.5 and 0.5 are one");
    stage.cut_at("2024-09-18T12:20:00Z").await;
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_while_a_worker_lives_that_knows_no_contracts_a_change_within_the_hour_counts_by_the_buyer() {
    let stage = Stage::new().await;
    let older = "insert into postmeter.worker (id, name, version, lease, lease_until, knows)
                 values (gen_random_uuid(), 'older', '0', '1 hour', clock_timestamp() + interval '1 hour', 41)";
    stage.sql(older).await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    stage.subscribe_for("acme", "444455556666", "2024-09-18T11:00:00Z", Some("2024-09-18T15:00:00Z")).await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T15:00:00Z").await;
    let decided = "select format('%s %s', to_char(s.valid_from, 'HH24'), split_part(m.contract, '/', 4))
                   from postmeter.contract_member m join postmeter.subscription s on s.id = m.subscription_id order by 1";
    assert_eq!(stage.column(decided).await, ["11 444455556666", "15 444455556666"], "the later one follows");
    stage.close().await;
}

#[tokio::test]
async fn k3_a_contract_with_two_dimensions_gives_its_cover_once() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "8").await;
    stage.sql("update postmeter.dimension set name = 'core_units'").await;
    hour(&stage, 11, "9").await;
    assert_eq!(billed(&stage).await, ["0", "7"], "17 used on two dimensions, 10 covered");
    let covered = "select dimension || ' ' || covered from postmeter.balance order by 1";
    assert_eq!(stage.column(covered).await, ["core_units 2", "cores 8"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.balance where difference <> 0").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn k3_a_contract_of_the_next_month_is_that_of_its_buyer_again() {
    let stage = moved_to(licence(LICENCE)).await;
    hour(&stage, 10, "0.5").await;
    hour(&stage, 11, "0.5").await;
    stage.at("2024-10-02T10:10:00Z").await;
    stage.use_cores("october", "1", "2024-10-02T10:05:00Z").await;
    stage.cut_at("2024-10-02T11:10:00Z").await;
    let meters = "select to_char(month, 'MM') || ' ' || (buyer like '%license%') from postmeter.balance order by 1";
    assert_eq!(stage.column(meters).await, ["09 false", "10 true"]);
    assert_eq!(stage.accepted(), ["18T10 1", "02T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k4_a_part_of_january_leaves_february_its_own_rounding() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", month_end: "drop", ..Dimension::default() }).await;
    stage
        .sql(
            "insert into postmeter.dimension (destination_id, product, metric, name, rounding, decimals, month_end, valid_from)
             select id, 'db', 'cores', 'cores', 'up', 1, 'round_up', '2024-10-01' from postmeter.destination",
        )
        .await;
    stage.configure("late_policy = 'part'").await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-10-01T10:30:00Z").await;
    // the first usage of October's first fold is September's, and nothing of September was folded before
    stage.use_cores("late", "2.75", "2024-09-29T23:30:00Z").await;
    stage.work().await;
    stage.use_cores("october", "0.45", "2024-10-01T10:10:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-01T11:10:00Z").await;
    let rules = "select concat_ws(' ', month, rounding, decimals, month_end) from postmeter.meter order by month";
    assert_eq!(stage.column(rules).await, ["2024-09-01 down 0 drop", "2024-10-01 up 1 round_up"]);
    assert_eq!(stage.accepted(), ["01T10 2.5"], "2 of September's 2.75 and 0.5 of October's 0.45");
    stage.close().await;
}

#[tokio::test]
async fn k2_what_a_fold_has_in_hand_when_its_identity_is_edited_is_asked_about_anew() {
    let stage = Stage::new().await;
    // the edit commits between two statements of the fold
    stage
        .sql(&format!(
            "create function postmeter.edited() returns trigger language plpgsql security definer as $$
             begin
                 update postmeter.subscription set identity = '{}' where identity ? 'product_code';
                 return null;
             end $$;
             create trigger edited after insert on postmeter.meter for each statement execute function postmeter.edited()",
            licence(LICENCE)
        ))
        .await;
    stage.use_cores("a", "3", "2024-09-18T10:10:00Z").await;
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!((folded.taken, folded.returned, folded.allocated), (1, 1, 0), "nothing is lost by it");
    stage.sql("drop trigger edited on postmeter.meter").await;
    stage.work_at("2024-09-18T11:10:00Z").await;
    assert_eq!(
        stage.value("select string_agg(d.key, ' ') from postmeter.delivery d where d.status = 'accepted'").await,
        ""
    );
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_contract_that_ends_inside_an_hour_under_its_second_buyer_is_settled_then() {
    let stage = Stage::new().await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    stage
        .sql(
            "update postmeter.dimension set rounding = 'down', month_end = 'round_up';
              update postmeter.subscription set valid_until = '2024-09-18T12:22:00Z' where valid_until is null",
        )
        .await;
    hour(&stage, 10, "0.5").await;
    hour(&stage, 11, "0.25").await;
    stage.work_at("2024-09-18T12:28:00Z").await;
    assert_eq!(billed(&stage).await, ["0", "0", "1"], "the remainder goes with the hour of the end");
    assert_eq!(stage.value("select count(*)::text from postmeter.month_close where class = 'remainder'").await, "0");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k1_a_correction_of_usage_counted_under_the_first_buyer_lowers_the_contract() {
    let stage = moved_to(licence(LICENCE)).await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "8").await;
    hour(&stage, 11, "9").await;
    assert_eq!(billed(&stage).await, ["0", "7"]);
    stage.correct("less", "at 10", "-5", "2024-09-18T12:05:00Z").await;
    hour(&stage, 12, "6").await;
    assert_eq!(billed(&stage).await, ["0", "7", "1"], "18 used in all, 10 covered: 8");
    is_explained(&stage).await;
    stage.close().await;
}

//! A shadow has places of its own: a correction follows its usage there too.

use tests::Stage;

use super::over_billed;
use crate::shadow::{add_shadow, shadow_subscription, stage_with_shadow};

/// What a shadow counts, and what it has put aside, by usage.
async fn in_shadow(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s %s', u.event_id, coalesce(g.reason, case when g.usage_id is not null then 'waiting' else 'counted' end))
             from postmeter.usage u join postmeter.destination t on t.shadow_of is not null
             left join postmeter.allocation a on a.usage_id = u.id and a.destination_id = t.id
             left join postmeter.shadow_usage g on g.usage_id = u.id and g.destination_id = t.id
             where num_nonnulls(a.usage_id, g.usage_id) > 0 order by u.id",
        )
        .await
}

#[tokio::test]
async fn k1_in_a_shadow_it_counts_where_its_usage_counts_there() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.correct("open", "usage", "-1", "2024-09-18T10:40:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.correct("cut", "usage", "-4", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    assert_eq!(in_shadow(&stage).await, ["usage counted", "open counted", "cut counted"]);
    assert_eq!(over_billed(&stage).await, ["2024-09 4", "2024-09 4"]);
    assert_eq!(
        stage.column("select format('%s: recorded %s, carried %s', destination, recorded, carried) from postmeter.balance order by 1").await,
        ["aws: recorded 5, carried -4", "trial: recorded 5, carried -4"]
    );
    stage.close().await;
}

#[tokio::test]
async fn k1_a_shadow_is_not_given_the_correction_of_what_it_was_not_given() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("before", "5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    let _theirs = add_shadow(&stage).await;
    shadow_subscription(&stage, "acme", "111122223333").await;
    stage.at("2024-09-18T10:20:00Z").await;
    stage.correct("less", "before", "-2", "2024-09-18T10:15:00Z").await;
    stage.use_cores("after", "7", "2024-09-18T10:15:00Z").await;
    stage.correct("of after", "after", "-1", "2024-09-18T10:15:00Z").await;
    stage.work().await;
    // it maps no dimension
    assert_eq!(in_shadow(&stage).await, ["after unmapped_dimension", "of after unmapped_dimension"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_in_a_shadow_it_is_asked_about_at_the_time_of_its_usage() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:50:00Z").await;
    let ends = "update postmeter.subscription s set valid_until = '2024-09-18T10:30:00Z'
                from postmeter.destination t where t.id = s.destination_id and t.shadow_of is not null";
    stage.sql(ends).await;
    stage.use_cores("usage", "10", "2024-09-18T10:40:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    let put_aside = ["usage no_subscription", "less no_subscription"];
    assert_eq!(in_shadow(&stage).await, put_aside);
    let asked = "select postmeter.return_shadow_of(array_agg(destination_id), array_agg(usage_id))::text from postmeter.shadow_usage";
    assert_eq!(stage.value(asked).await, "0");
    assert_eq!(in_shadow(&stage).await, put_aside);
    stage.close().await;
}

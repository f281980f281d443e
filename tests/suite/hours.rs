//! C: one remittance an hour, on time, whatever happens beside it.

mod backlog;
mod deadlines;
mod ends;
mod folding;
mod late;
mod month_end;
mod races;

use tests::Stage;

/// A stage whose hour of ten o'clock was billed with one core at 11:10.
async fn ten_is_sent() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("on time", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage
}

/// `event: own hour in remitted hour` of every usage that is allocated.
async fn allocated(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select u.event_id || ': ' || to_char(a.hour at time zone 'UTC', 'DD\"T\"HH24') || ' in '
                    || to_char(d.hour at time zone 'UTC', 'DD\"T\"HH24')
             from postmeter.allocation a
             join postmeter.usage u on u.id = a.usage_id
             join postmeter.delivery d on d.id = a.delivery_id
             order by u.event_id",
        )
        .await
}

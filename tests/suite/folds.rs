//! Folds: what holds, breaks or kills one member costs its own row, and the rest goes on.

mod dying;
mod failing;
mod locked;
mod shadowed;

use tests::Stage;
use tests::wait_until;

/// A stage with three orgs beside acme.
async fn with_others() -> Stage {
    let stage = Stage::new().await;
    for n in 0..3 {
        stage.subscribe(&format!("other{n}"), &format!("20000000000{n}")).await;
    }
    stage.at("2024-09-18T10:30:00Z").await;
    stage
}

/// One usage of each of the others.
async fn others_use(stage: &Stage, event_id: &str, used_at: &str) {
    for n in 0..3 {
        stage.record(&format!("{event_id} {n}"), &format!("other{n}"), "cores", "1", used_at).await;
    }
}

/// How much of each org is allocated.
async fn allocated(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select u.org || ' ' || count(*) from postmeter.allocation a join postmeter.usage u on u.id = a.usage_id
             group by u.org order by 1",
        )
        .await
}

/// An org whose usage is of the same shard as acme's.
async fn neighbour_of_acme(stage: &Stage) -> String {
    let sql = "select 'org' || n from generate_series(1, 100000) n
               where (hashtextextended('org' || n, 0) & 1023) = (hashtextextended('acme', 0) & 1023) limit 1";
    stage.value(sql).await
}

/// What fold keeps by name.
async fn setbacks(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s skipped %s failed %s %s', case when b.member like 'org:%' then b.member else u.event_id end,
                           b.skipped, b.failed, coalesce(b.code, '-'))
             from postmeter.setback b left join postmeter.usage u on u.id::text = b.member
             where b.step = 'fold' order by 1",
        )
        .await
}

/// Folds apart until nothing is kept by name, as the worker's loop does.
async fn until_nothing_is_kept(stage: &Stage) {
    wait_until("fold keeps nothing by name", async || {
        stage.worker.fold_apart().await.unwrap();
        setbacks(stage).await.is_empty()
    })
    .await;
}

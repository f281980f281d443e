//! K1: a correction acts where the usage stands that it corrects.

mod given_up;
mod month;
mod moving;
mod places;
mod shadows;

use tests::Stage;

/// Where each correction stands, and whether it lowers a bill.
async fn corrections(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s of %s at %s: %s, %s', event_id, corrects, to_char(hour at time zone 'UTC', 'DD\"T\"HH24'), whereabouts, effect)
             from postmeter.correction_list order by usage_id",
        )
        .await
}

/// Asks anew about all that is held: how many usages that gives back.
async fn cured(stage: &Stage) -> String {
    stage.value("select postmeter.return_cured_of(array(select usage_id from postmeter.held))::text").await
}

/// What is listed as billed beyond the usage, by month.
async fn over_billed(stage: &Stage) -> Vec<String> {
    stage
        .column("select format('%s %s', to_char(month, 'YYYY-MM'), quantity) from postmeter.month_close where class = 'over_billed'")
        .await
}

/// What meters count: used, of it covered, and billed.
async fn counted(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('used %s, covered %s, billed %s', trim_scale(mm.used), trim_scale(mm.covered), trim_scale(m.billed))
             from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id
             join postmeter.destination t on t.id = m.destination_id and t.shadow_of is null order by m.month, m.id",
        )
        .await
}

/// Recalculates a month: what is not explained.
async fn unexplained(stage: &Stage, month: &str) -> Vec<String> {
    stage
        .column(&format!(
            "select format('%s %s: %s', part, reason, quantity) from postmeter.recalculate('aws', '{month}') where part = 'unexplained'"
        ))
        .await
}

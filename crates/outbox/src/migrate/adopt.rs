//! The baseline in a database that has the migrations of before: it is compared with the baseline and then counts as
//! having it. Nothing else of the database is touched.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::{Migration, sign};
use crate::Error;

/// The migrations of before the baseline, in order. Together they make what the baseline makes.
pub const EARLIER: [&str; 67] = [
    "0001_pre_foundation",
    "0002_pre_catalogue",
    "0003_pre_intake",
    "0004_pre_ledger",
    "0005_pre_arithmetic",
    "0006_pre_decisions",
    "0007_pre_views",
    "0008_pre_grants",
    "0009_pre_breaker",
    "0010_pre_dead_letters",
    "0011_pre_month_close",
    "0012_pre_timeline",
    "0013_pre_reconcile",
    "0014_pre_hold",
    "0015_pre_shadow",
    "0016_pre_console",
    "0017_pre_reading",
    "0018_pre_tracker",
    "0019_pre_retention",
    "0020_pre_views",
    "0021_pre_metrics",
    "0022_pre_alerts",
    "0023_pre_doors",
    "0024_pre_alert_decisions",
    "0025_pre_pinned_functions",
    "0026_pre_intake_guard",
    "0027_pre_gates",
    "0028_post_collations",
    "0029_pre_setbacks",
    "0030_pre_suspects",
    "0031_pre_rounds",
    "0032_pre_evidence",
    "0034_pre_switches",
    "0035_pre_resolve_many",
    "0036_pre_fleet",
    "0038_pre_isolation",
    "0039_pre_entered",
    "0040_pre_decided_once",
    "0041_pre_shares",
    "0042_pre_corrections",
    "0043_pre_ends",
    "0044_pre_evidence",
    "0045_pre_contracts",
    "0047_pre_catalogue_at_the_cut",
    "0048_pre_recount",
    "0049_pre_plausible",
    "0050_pre_proof",
    "0051_pre_lost_time",
    "0052_pre_named_contracts",
    "0053_pre_contract_plans",
    "0054_pre_advice",
    "0055_pre_lost_again",
    "0056_pre_late_duplicates",
    "0057_pre_identities",
    "0058_pre_dropped_months",
    "0059_pre_doors",
    "0060_pre_requests_indexed",
    "0061_pre_turns",
    "0062_pre_exports",
    "0063_pre_outlook",
    "0064_pre_recipes",
    "0065_pre_import_periods",
    "0066_pre_verdict",
    "0067_pre_serving",
    "0068_pre_feed",
    "0069_pre_late_successes",
    "0070_pre_names",
];

/// What makes a schema, one line each, in words that are the same in every version of Postgres.
const STRUCTURE: &str = include_str!("structure.sql");

/// Differences that a refusal names.
const NAMED: usize = 5;

/// Whether a database has the migrations of before the baseline, going by the names in `postmeter.migration`.
///
/// # Errors
/// [`Error::Schema`]: it has only some of them.
pub(super) fn is_earlier(names: &[&str]) -> Result<bool, Error> {
    if names.first() != EARLIER.first() {
        return Ok(false);
    }
    if names == EARLIER {
        return Ok(true);
    }
    let last = EARLIER[EARLIER.len() - 1];
    let lacks = EARLIER.iter().find(|name| !names.contains(name));
    Err(Error::Schema(match lacks {
        Some(lacks) => format!(
            "the database has migrations of before the baseline and lacks {lacks}: apply all of them, up to {last}, \
             with `postmeter migrate` of the last program before the baseline, then run this program's"
        ),
        None => format!("the database has migrations beside {last} that this program does not know"),
    }))
}

/// Writes down that a database has the baseline instead of the migrations of before.
///
/// # Errors
/// [`Error::Schema`]: a worker of before lives, or the schema differs from the baseline; it names the first
/// differences.
pub(super) async fn adopt(client: &mut Client, baseline: &Migration) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local lock_timeout = '5s'").await?;
    if let Some(worker) = living_worker(&transaction).await? {
        return Err(Error::Schema(format!(
            "{} waits: worker {worker} is of before the baseline and would not start again beside it: stop all \
             workers, and run `postmeter migrate` again",
            baseline.name
        )));
    }
    let differences = differences(&transaction, baseline).await?;
    if !differences.is_empty() {
        let shown: Vec<&str> = differences.iter().take(NAMED).map(String::as_str).collect();
        return Err(Error::Schema(format!(
            "the database has all migrations of before the baseline, but differs from it in {} places: {}. Undo what \
             was changed by hand, and run `postmeter migrate` again",
            differences.len(),
            shown.join("; ")
        )));
    }
    transaction.batch_execute("delete from postmeter.migration").await?;
    transaction
        .execute_typed(
            "insert into postmeter.migration (version, name) values ($1, $2)",
            &[(&baseline.version, Type::INT4), (&baseline.name, Type::TEXT)],
        )
        .await?;
    sign(&transaction, baseline).await?;
    Ok(transaction.commit().await?)
}

async fn living_worker(transaction: &Transaction<'_>) -> Result<Option<String>, Error> {
    let living = "select name from postmeter.worker
                  where stopped_at is null and reaped_at is null and lease_until > clock_timestamp()
                  order by 1 limit 1";
    let rows = transaction.query_typed(living, &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// What the schema lacks or has beside the baseline. The baseline is made beside it, under its own name, and both are
/// gone again when this returns: the schema steps aside in a part of the transaction that is rolled back.
async fn differences(transaction: &Transaction<'_>, baseline: &Migration) -> Result<Vec<String>, Error> {
    transaction.batch_execute("savepoint compared; alter schema postmeter rename to postmeter_before").await?;
    transaction.batch_execute(baseline.sql).await?;
    let (there, meant) =
        (structure(transaction, "postmeter_before").await?, structure(transaction, "postmeter").await?);
    transaction.batch_execute("rollback to savepoint compared").await?;
    let lacks = meant.iter().filter(|line| !there.contains(*line)).map(|line| format!("it lacks {line}"));
    let besides = there.iter().filter(|line| !meant.contains(*line)).map(|line| format!("it has {line}"));
    Ok(lacks.chain(besides).collect())
}

async fn structure(transaction: &Transaction<'_>, schema: &str) -> Result<std::collections::BTreeSet<String>, Error> {
    let rows = transaction.query_typed(STRUCTURE, &[(&schema, Type::TEXT)]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

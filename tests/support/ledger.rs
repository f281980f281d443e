//! A whole ledger written straight into the tables, small for plans and large for times.

use tokio_postgres::Client;

use crate::{operation, operations};

/// How large a ledger is. Each org has two metrics and a remittance of each an hour.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Orgs, named `org-1` and so on.
    pub orgs: u32,
    /// Hours, up to [`Ledger::UNTIL`].
    pub hours: u32,
    /// Attempts of each remittance; the last is accepted, but for one in a thousand.
    pub tries: u32,
    /// Usages in each remittance.
    pub usages: u32,
}

impl Ledger {
    /// Where its clock stands.
    pub const UNTIL: &'static str = "2024-09-28T12:00:00Z";

    /// Writes it into an empty, migrated database, and lets the server look at it.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn write(self, client: &Client) {
        let Self { orgs, hours, tries, usages } = self;
        let mut sql = include_str!("ledger.sql").replace("{until}", Self::UNTIL);
        for (name, number) in [("{orgs}", orgs), ("{hours}", hours), ("{tries}", tries), ("{usages}", usages)] {
            sql = sql.replace(name, &number.to_string());
        }
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("the ledger: {error:?}"));
        client.batch_execute("vacuum analyze").await.expect("statistics");
    }
}

/// Something that people ask of a ledger.
#[derive(Debug, Clone)]
pub struct Question {
    /// View or operation, and the filter in words.
    pub name: String,
    /// The query.
    pub sql: String,
}

/// Filters of the views, in words and in SQL: about one org and month, one remittance, or what is not settled.
const VIEWS: [(&str, &str, &str); 30] = [
    ("remittance", "a remittance", "delivery_id = {delivery}"),
    ("remittance", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("remittance_summary", "org and month", "org = '{org}' and month = '{month}'"),
    ("attempt_ledger", "a remittance", "delivery_id = {delivery}"),
    (
        "attempt_ledger",
        "buyer and month",
        "delivery_id in (select r.delivery_id from postmeter.remittance r where r.buyer = '{buyer}' and r.month = '{month}')",
    ),
    ("usage_explained", "org and month", "org = '{org}' and {hours}"),
    ("usage_explained", "a remittance", "delivery_id = {delivery}"),
    (
        "usage_explained",
        "a usage",
        "usage_id = (select a.usage_id from postmeter.allocation a where a.delivery_id = {delivery})",
    ),
    ("unremitted", "org and month", "org = '{org}' and {hours}"),
    ("unremitted", "a remittance", "delivery_id = {delivery}"),
    ("at_risk", "all", "true"),
    ("at_risk", "org", "orgs @> array['{org}']"),
    ("held_list", "org", "org = 'nobody-7'"),
    ("dead_letter", "org", "orgs @> array['{org}']"),
    ("dead_letter", "a remittance", "delivery_id = {delivery}"),
    ("balance", "a meter", "meter_id = {meter}"),
    ("meter_list", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("month_close", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("month_close", "org and month", "org = 'nobody-7' and month = '{month}'"),
    ("decision_log", "a remittance", "delivery_id = {delivery}"),
    ("forecast", "all", "true"),
    ("forecast_detail", "a remittance", "delivery_id = {delivery}"),
    ("destination_health", "all", "true"),
    ("queue", "all", "true"),
    ("reconciled", "a day", "day = '{month}'"),
    ("token_list", "all", "true"),
    ("unfinished_request", "all", "true"),
    ("shadow_difference", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("shadow_meter_difference", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("shadow_usage_difference", "org and month", "org = '{org}' and month = '{month}'"),
];

/// Views that answer about everything at once, and are not quick: the proof that nothing is lost reads all usage.
pub const WHOLE: [&str; 1] = ["usage_balance"];

impl Ledger {
    /// Every view and every operation, asked about one thing.
    #[must_use]
    pub fn questions(self) -> Vec<Question> {
        // in the middle, and refused
        let all = self.orgs * self.hours * 2;
        let delivery = (all / 2 / 4000 * 4000 + 7).to_string();
        let org = format!("org-{}", self.orgs / 7);
        let month = "2024-09-01";
        let buyer = format!("aws/us-east-1/prod9/{:0>12}", self.orgs / 7);
        let fill = |text: &str| {
            text.replace("{delivery}", &delivery)
                .replace("{buyer}", &buyer)
                .replace("{month}", month)
                .replace("{meter}", "7")
                .replace("{org}", &org)
                .replace("{hours}", "hour >= '2024-09-01Z' and hour < '2024-10-01Z'")
        };
        let views = VIEWS.iter().map(|(view, filter, sql)| Question {
            name: format!("{view}, by {filter}"),
            sql: fill(&format!("select * from postmeter.{view} where {sql}")),
        });
        let given = [
            ("org", org.as_str()),
            ("month", month),
            ("delivery", &delivery),
            ("worker", "worker-1"),
            ("source", "bench"),
            ("event_id", "e-4007-1"),
            ("since", "2024-09-28T11:00Z"),
        ];
        let files = operations()
            .into_iter()
            .map(|name| Question { sql: operation(&name, &given), name: format!("{name}.sql") });
        views.chain(files).collect()
    }
}

//! A whole ledger written straight into the tables, small for plans and large for times.

use tokio_postgres::Client;

use crate::{operation, operations, settings_of};

/// The month that is asked about.
const MONTH: &str = "2024-09-01";

/// How large a ledger is. Each org has two metrics, and a remittance of each for an hour in which it used something.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Orgs, named `org-1` and so on.
    pub orgs: u32,
    /// The first so many of them use something every hour.
    pub busy: u32,
    /// The others in one hour of so many.
    pub every: u32,
    /// Number of the org that is asked about.
    pub asked: u32,
    /// Hours, up to [`Ledger::UNTIL`].
    pub hours: u32,
    /// Attempts of each remittance; the last is accepted, but for one in a thousand.
    pub tries: u32,
    /// Usages in each remittance.
    pub usages: u32,
    /// Usages that are held and exempt: so many of each; a fifth as many wait.
    pub further: u32,
}

impl Ledger {
    /// Where its clock stands.
    pub const UNTIL: &'static str = "2024-09-28T12:00:00Z";

    /// Writes it into an empty, migrated database, and lets the server look at it.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn write(self, client: &Client) {
        let Self { orgs, busy, every, hours, tries, usages, further, asked: _ } = self;
        let mut sql = include_str!("ledger.sql").replace("{until}", Self::UNTIL);
        for (name, number) in [
            ("{orgs}", orgs),
            ("{busy}", busy),
            ("{every}", every),
            ("{hours}", hours),
            ("{tries}", tries),
            ("{usages}", usages),
            ("{further}", further),
        ] {
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
    /// Settings of the session that its file sets.
    pub settings: String,
    /// The query.
    pub sql: String,
}

/// Filters of the views, in words and in SQL: about one org and month, one remittance, or what is not settled.
const VIEWS: [(&str, &str, &str); 43] = [
    ("usage_list", "an id", "usage_id = (select u.id from postmeter.usage u limit 1)"),
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
        "usage_id = (select a.usage_id from postmeter.allocation a where a.delivery_id = {delivery} limit 1)",
    ),
    ("unremitted", "org and month", "org = '{org}' and {hours}"),
    ("unremitted", "a remittance", "delivery_id = {delivery}"),
    ("at_risk", "all", "true"),
    ("at_risk", "org", "orgs @> array['{org}']"),
    ("alert_list", "what is open", "open"),
    ("missing_hours", "org", "org = '{org}'"),
    ("missing_hours", "buyer", "buyer = '{buyer}'"),
    ("ledger_partition", "month", "month = '{month}'"),
    ("ledger_month", "month", "month = '{month}'"),
    ("held_list", "org", "org = 'nobody-7'"),
    ("dead_letter", "org", "orgs @> array['{org}']"),
    ("dead_letter", "a remittance", "delivery_id = {delivery}"),
    ("contradiction_list", "a remittance", "delivery_id = {delivery}"),
    ("correction_list", "org", "org = '{org}'"),
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
    ("silent_service", "all", "true"),
    ("request_refusal_list", "all", "true"),
    ("shadow_difference", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("shadow_meter_difference", "buyer and month", "buyer = '{buyer}' and month = '{month}'"),
    ("shadow_usage_difference", "org and month", "org = '{org}' and month = '{month}'"),
    ("meter_balance", "a meter", "meter_id = {meter}"),
    ("remittance_balance", "a meter", "meter_id = {meter}"),
    (
        "usage_place",
        "a usage",
        "usage_id = (select a.usage_id from postmeter.allocation a where a.delivery_id = {delivery} limit 1)",
    ),
];

/// As `docs/own-the-schema.md` tells those who read views.
const JIT_OFF: &str = "set jit = off";

/// Views that answer about everything at once: the proof that nothing is lost reads all usage, the others small tables.
pub const WHOLE: [&str; 8] = [
    "usage_balance",
    "setback_list",
    "hour_not_cut",
    "refused_buyer",
    "fleet",
    "balance_proof",
    "carried_place",
    "lost_time",
];

/// What the questions are about.
struct Subject {
    delivery: String,
    meter: String,
}

impl Ledger {
    /// A refused remittance, and a meter of the busy org that is asked about.
    async fn subject(self, client: &Client) -> Subject {
        let number = async |sql: &str| -> String {
            client.query_one(sql, &[]).await.expect("a subject").get::<_, i64>(0).to_string()
        };
        let middle = "select delivery_id from postmeter.stuck where status = 'rejected'
                      order by delivery_id offset (select count(*) / 2 from postmeter.stuck where status = 'rejected') limit 1";
        let meter = format!(
            "select id from postmeter.meter where buyer = '{}' and dimension = 'cores' and month = '{MONTH}'",
            self.buyer()
        );
        Subject { delivery: number(middle).await, meter: number(&meter).await }
    }

    fn buyer(self) -> String {
        format!("aws/us-east-1/prod9/{:0>12}", self.asked)
    }

    /// Every view and every operation, asked about one thing.
    ///
    /// # Panics
    /// If the database is not one of this ledger.
    pub async fn questions(self, client: &Client) -> Vec<Question> {
        let Subject { delivery, meter } = self.subject(client).await;
        let (org, buyer) = (format!("org-{}", self.asked), self.buyer());
        let fill = |text: &str| {
            text.replace("{delivery}", &delivery)
                .replace("{buyer}", &buyer)
                .replace("{month}", MONTH)
                .replace("{meter}", &meter)
                .replace("{org}", &org)
                .replace("{hours}", "hour >= '2024-09-01Z' and hour < '2024-10-01Z'")
        };
        let views = VIEWS.iter().map(|(view, filter, sql)| Question {
            name: format!("{view}, by {filter}"),
            settings: JIT_OFF.to_owned(),
            sql: fill(&format!("select * from postmeter.{view} where {sql}")),
        });
        let event = format!("e-{delivery}-1");
        let given = [
            ("org", org.as_str()),
            ("month", MONTH),
            ("delivery", &delivery),
            ("worker", "worker-1"),
            ("source", "bench"),
            ("event_id", &event),
            ("since", "2024-09-28T10:00Z"),
        ];
        let files = operations().into_iter().map(|name| Question {
            settings: settings_of(&name),
            sql: operation(&name, &given),
            name: format!("{name}.sql"),
        });
        views.chain(files).collect()
    }

    /// What reads everything of its nature: for information.
    #[must_use]
    pub fn whole() -> Vec<Question> {
        let all = [
            ("usage_balance, all", "select * from postmeter.usage_balance"),
            ("balance, all", "select * from postmeter.balance"),
            ("missing_hours, all", "select * from postmeter.missing_hours"),
            (
                "remittance_summary, a month of all orgs",
                "select * from postmeter.remittance_summary where month = '{month}'",
            ),
            ("month_close, a month of all buyers", "select * from postmeter.month_close where month = '{month}'"),
            ("dead_letter, all", "select * from postmeter.dead_letter"),
        ];
        let question = |(name, sql): (&str, &str)| Question {
            name: name.to_owned(),
            settings: JIT_OFF.to_owned(),
            sql: sql.replace("{month}", MONTH),
        };
        all.into_iter().map(question).collect()
    }
}

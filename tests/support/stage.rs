//! A stage: one database, one simulated AWS, one worker or more, one clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marketplaces::aws::provider::SharedCredentialsProvider;
use marketplaces::aws::{Aws, Credentials};
use marketplaces::azure::{Azure, ClientCredentials};
use marketplaces::{Marketplace, SettingsError};
use outbox::NewUsage;
use outbox::claim::{CallLimits, Claim, Floor, Rules};
use outbox::settle::Settlement;
use remittance::{Answer, Outcome, Policy, Quantity, RetrySchedule};
use serde_json::{Value, json};
use simulator::{Clock, Key, Running, Settings, Simulator};
use tokio::net::TcpListener;
use uuid::Uuid;
use worker::{Options, Worker};

use crate::{TestDatabase, until_locked, until_true};

/// A point in time from RFC 3339; the seconds may be left out: `2024-09-18T10:05Z`.
#[must_use]
pub fn t(text: &str) -> Timestamp {
    text.parse().expect("a time such as 2024-09-18T10:05Z")
}

/// A quantity.
#[must_use]
pub fn q(text: &str) -> Quantity {
    text.parse().expect("a quantity")
}

/// AWS with keys that the simulator takes; the vendor's chain would look for an instance's.
///
/// # Errors
/// As [`marketplaces::open`].
pub fn aws_with_test_keys(kind: &str, settings: &Value) -> Result<Arc<dyn Marketplace>, SettingsError> {
    if kind == "azure" {
        return Ok(Arc::new(Azure::open_with(settings, azure_test_client())?));
    }
    if kind != "aws" {
        return marketplaces::open(kind, settings);
    }
    let keys = Credentials::new("AKIDTEST", "a-secret-that-must-not-leak", None, None, "test");
    Ok(Arc::new(Aws::open_with(settings, SharedCredentialsProvider::new(keys))?))
}

/// A client that the simulator's token endpoint takes.
#[must_use]
pub fn azure_test_client() -> ClientCredentials {
    ClientCredentials {
        tenant_id: "contoso.example".to_owned(),
        client_id: "app-test".to_owned(),
        client_secret: "a-secret-that-must-not-leak".to_owned().into(),
    }
}

/// Options of a worker that waits for nothing.
#[must_use]
pub fn quick() -> Options {
    Options { poll: Duration::from_millis(20), outage: Duration::ZERO, open: aws_with_test_keys, ..Options::default() }
}

/// A dimension to add to the catalogue; the defaults are the acceptance list's.
#[derive(Debug, Clone, Copy)]
pub struct Dimension<'a> {
    /// Our metric; the product is `db`.
    pub metric: &'a str,
    /// Their name.
    pub name: &'a str,
    /// Billing units per metric unit.
    pub factor: (i64, i64),
    /// up, down or nearest.
    pub rounding: &'a str,
    /// Digits after the point.
    pub decimals: i32,
    /// `round_up` or drop.
    pub month_end: &'a str,
}

impl Default for Dimension<'_> {
    fn default() -> Self {
        Self { metric: "cores", name: "cores", factor: (1, 1), rounding: "up", decimals: 0, month_end: "round_up" }
    }
}

/// One database, one simulated AWS, one worker, one clock that stands still until it is moved.
pub struct Stage {
    /// The database.
    pub db: TestDatabase,
    /// The marketplace.
    pub aws: Running,
    /// The worker.
    pub worker: Arc<Worker>,
}

impl Stage {
    /// A stage in mid-month with one org, `acme`, that buys product `db` (metric `cores`, dimension `cores`) at
    /// destination `aws`.
    pub async fn new() -> Self {
        let stage = Self::bare().await;
        stage.dimension(Dimension::default()).await;
        stage.subscribe("acme", "111122223333").await;
        stage
    }

    /// A stage whose catalogue has a destination and nothing else.
    pub async fn bare() -> Self {
        Self::on(TestDatabase::fresh().await).await
    }

    /// [`Stage::bare`] on a database of the test's choice.
    pub async fn on(db: TestDatabase) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let now = t("2024-09-18T10:00:00Z");
        let mut settings = Settings { clock: Clock::frozen_at(now), ..Settings::default() };
        settings.aws.rate = None;
        let aws = Simulator::start(listener, settings).expect("a simulator");
        db.client.execute("update postmeter.setting set clock_frozen = $1", &[&now]).await.expect("a clock");
        db.client
            .execute(
                "with q as (insert into postmeter.quota (name) values ('aws') returning id)
                 insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
                 select 'aws', 'aws', $1, q.id, '24 hours', '6 hours', '1 hour', 25, 900000 from q",
                &[&json!({"region": "us-east-1", "endpoint": aws.url()})],
            )
            .await
            .expect("a destination");
        let worker = Worker::start(db.another(), quick()).await.expect("a worker");
        Self { db, aws, worker }
    }

    /// Another worker on the same database.
    pub async fn another_worker(&self) -> Arc<Worker> {
        Worker::start(self.db.another(), quick()).await.expect("a worker")
    }

    /// Runs SQL; panics with the message.
    pub async fn sql(&self, sql: &str) {
        self.db.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", message(&error)));
    }

    /// Adds a dimension of product `db`.
    pub async fn dimension(&self, dimension: Dimension<'_>) {
        self.db
            .client
            .execute(
                "insert into postmeter.dimension (destination_id, product, metric, name, factor_numerator, factor_denominator, rounding, decimals, month_end)
                 select id, 'db', $1, $2, $3, $4, $5, $6, $7 from postmeter.destination where name = 'aws'",
                &[&dimension.metric, &dimension.name, &dimension.factor.0, &dimension.factor.1, &dimension.rounding, &dimension.decimals, &dimension.month_end],
            )
            .await
            .expect("a dimension");
    }

    /// Subscribes an org to product `db` under an AWS account, since ever.
    pub async fn subscribe(&self, org: &str, account: &str) {
        self.subscribe_for(org, account, "2024-01-01T00:00:00Z", None).await;
    }

    /// Subscribes an org to product `db` for a time.
    pub async fn subscribe_for(&self, org: &str, account: &str, from: &str, until: Option<&str>) {
        self.db
            .client
            .execute(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from, valid_until)
                 select $1, 'db', id, $2, $3, $4 from postmeter.destination where name = 'aws'",
                &[
                    &org,
                    &json!({"product_code": "prod-db", "customer_aws_account_id": account}),
                    &t(from),
                    &until.map(t),
                ],
            )
            .await
            .expect("a subscription");
        self.worker.reload().await.expect("the catalogue");
    }

    /// Moves every clock.
    pub async fn at(&self, time: &str) {
        let now = t(time);
        self.db
            .client
            .execute("update postmeter.setting set clock_frozen = $1", &[&now])
            .await
            .expect("the clock moves");
        self.aws.set_clock(Clock::frozen_at(now));
    }

    /// Records usage of org `acme`, metric `cores`.
    pub async fn use_cores(&self, event_id: &str, quantity: &str, used_at: &str) {
        self.record(event_id, "acme", "cores", quantity, used_at).await;
    }

    /// Records usage of product `db`.
    pub async fn record(&self, event_id: &str, org: &str, metric: &str, quantity: &str, used_at: &str) {
        self.record_as(&NewUsage::new("billing", event_id, org, "db", metric, q(quantity), t(used_at))).await;
    }

    /// Records a correction of org `acme`, metric `cores`.
    pub async fn correct(&self, event_id: &str, corrects: &str, quantity: &str, used_at: &str) {
        let mut usage = NewUsage::new("billing", event_id, "acme", "db", "cores", q(quantity), t(used_at));
        usage.corrects = Some(corrects.to_owned());
        self.record_as(&usage).await;
    }

    /// Records a usage in a transaction of its own.
    pub async fn record_as(&self, usage: &NewUsage) {
        let mut client = self.db.take_service().await;
        let transaction = client.transaction().await.expect("a transaction");
        outbox::record_usage(&transaction, usage).await.expect("recorded");
        transaction.commit().await.expect("committed");
        self.db.keep_service(client);
    }

    /// Lets the worker do everything there is to do now.
    pub async fn work(&self) {
        self.worker.work().await.expect("the worker works");
    }

    /// Moves the clock and lets the worker work.
    pub async fn work_at(&self, time: &str) {
        self.at(time).await;
        self.work().await;
    }

    /// Works shortly before and at a time, so that hours which were over by then have been open for the grace and are cut.
    pub async fn cut_at(&self, time: &str) {
        let before = t(time) - jiff::SignedDuration::from_mins(6);
        self.work_at(&before.to_string()).await;
        self.work_at(time).await;
    }

    /// Folds and cuts, but sends nothing.
    pub async fn cut_only(&self, time: &str) {
        let before = t(time) - jiff::SignedDuration::from_mins(6);
        self.at(&before.to_string()).await;
        self.fold().await;
        self.at(time).await;
        self.fold().await;
        // cuts wait for what a changed catalogue places elsewhere
        while outbox::maintain::return_marked(&self.db.database).await.expect("what is marked goes back").has_more {}
        self.fold().await;
        while self.worker.cut().await.expect("the worker cuts").cut > 0 {}
    }

    /// Claims what is due in the name of a worker.
    pub async fn claim_as(&self, worker: Uuid) -> Vec<Claim> {
        let limits = CallLimits { records: 25, bytes: 900_000 };
        let rules = self.rules("aws").await;
        outbox::claim::claim(&self.db.database, rules, worker, 1000, limits, &mut Floor::START.clone(), None)
            .await
            .expect("a claim")
    }

    /// Claims what was in the hands of a dying worker, in the name of another.
    pub async fn claim_suspect_as(&self, worker: Uuid, delivery: &str) -> Vec<Claim> {
        let claim = outbox::claim::claim_suspect(&self.db.database, self.rules("aws").await, worker, None)
            .await
            .expect("a claim");
        assert!(claim.iter().all(|claim| claim.delivery.to_string() == delivery));
        claim.into_iter().collect()
    }

    /// Settles claims in the name of a worker, by the destination's `tries_max`.
    pub async fn settle_as(&self, worker: Uuid, claims: &[Claim], outcome: Outcome) {
        let sql = "select tries_max from postmeter.destination where name = 'aws'";
        let tries_max: Option<i32> = self.db.client.query_one(sql, &[]).await.expect("a destination").get(0);
        let tries_max = tries_max.and_then(|tries| u32::try_from(tries).ok());
        let policy = Policy { retry: RetrySchedule { tries_max, ..RetrySchedule::default() }, memory: None };
        let answers: Vec<_> = claims
            .iter()
            .map(|claim| Settlement {
                delivery: claim.delivery,
                attempt: claim.attempt,
                batch: u32::try_from(claims.len()).expect("few"),
                answer: Answer::bare(outcome.clone()),
                took: Duration::ZERO,
                others_passed: false,
                is_lost: false,
                is_death: false,
            })
            .collect();
        outbox::settle::settle(&self.db.database, worker, &answers, &|_| policy).await.expect("settled");
    }

    /// Nobody waits until the stage's workers, whose loops do not run, act by what a command changes.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn let_leases_end(&self) {
        self.sql("update postmeter.worker set lease_until = clock_timestamp() where stopped_at is null").await;
    }

    /// Lets the lease of a worker be over, and the others well for long enough to take over.
    pub async fn end_lease_of(&self, worker: Uuid) {
        // the server of a test has just started: leases count from then, so they are made short
        self.sql(&format!(
            "update postmeter.worker set lease = '1 second', lease_until = clock_timestamp() - interval '1 hour' where id = '{worker}';
             update postmeter.worker set unbroken_since = clock_timestamp() - interval '1 hour' where id <> '{worker}'"
        ))
        .await;
        let over = "select pg_postmaster_start_time() + interval '1 second' < clock_timestamp()";
        until_true(&self.db.client, over).await;
    }

    /// The rules of a destination as they are now, to claim by.
    pub async fn rules(&self, destination: &str) -> Rules {
        let sql = "select id, version from postmeter.destination where name = $1";
        let row = self.db.client.query_one(sql, &[&destination]).await.expect("a destination");
        Rules { destination: row.get(0), version: row.get(1) }
    }

    /// Folds only.
    pub async fn fold(&self) {
        while self.worker.fold().await.expect("the worker folds").taken > 0 {}
    }

    /// What the marketplace holds, as `hour quantity`, in order of hours.
    #[must_use]
    pub fn accepted(&self) -> Vec<String> {
        let mut record = self.aws.record();
        record
            .sort_by_key(|accepted| (accepted.key.customer.clone(), accepted.key.dimension.clone(), accepted.key.hour));
        record.iter().map(|a| format!("{} {}", a.key.hour.strftime("%dT%H"), a.quantity.normalize())).collect()
    }

    /// The keys of everything that the marketplaces hold, as we write them.
    #[must_use]
    pub fn their_keys(&self) -> Vec<String> {
        self.aws.record().iter().map(|accepted| canonical(&accepted.key)).collect()
    }

    /// The status of every remittance, as `hour status quantity`, in order of hours.
    pub async fn remittances(&self) -> Vec<String> {
        self.column("select to_char(hour at time zone 'UTC', 'DD\"T\"HH24') || ' ' || status || coalesce(' ' || trim_scale(quantity), '') from postmeter.remittance order by hour, key").await
    }

    /// The first column of a query, as text.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let rows = self.db.client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {}", message(&error)));
        rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
    }

    /// One value as text.
    pub async fn value(&self, sql: &str) -> String {
        self.column(sql).await.pop().unwrap_or_default()
    }

    /// Changes the destination, as `set` says, and lets the worker read it.
    pub async fn configure(&self, set: &str) {
        self.sql(&format!("update postmeter.destination set {set} where name = 'aws'")).await;
        self.worker.reload().await.expect("the catalogue");
    }

    /// Lets a new worker work, which looks at the whole outbox: after something came back to it by SQL.
    pub async fn work_anew(&self) {
        self.another_worker().await.work().await.expect("the worker works");
    }

    /// How a statement is refused: `code column constraint`.
    pub async fn refusal(&self, sql: &str) -> String {
        Self::refusal_in(&self.db.client.batch_execute(sql).await.expect_err(sql))
    }

    /// What the server's error names: `code column constraint`.
    #[must_use]
    pub fn refusal_in(error: &tokio_postgres::Error) -> String {
        let error = error.as_db_error().expect("the server's own error");
        format!("{} {} {}", error.code().code(), error.column().unwrap_or("-"), error.constraint().unwrap_or("-"))
    }

    /// Waits until so many sessions of this database wait for a lock.
    pub async fn until_waiting(&self, sessions: i64) {
        until_locked(&self.db.client, sessions, || false).await;
    }

    /// A proof from what was written since the last says what the whole ledger says, and needs nothing read again for it: no
    /// writer has forgotten to say so.
    ///
    /// # Panics
    /// If a writer has.
    pub async fn proven(&self) {
        let asked = "select w.meter_id::text from postmeter.balance_anew w order by 1";
        // after commits were lost, all are asked for
        self.sql("select postmeter.ask_open_anew()").await;
        let before = self.column(asked).await;
        let mut proof = outbox::proof::Proof::new(&self.db.database, Duration::from_secs(60));
        assert!(proof.prove_moved().await.expect("a proof"), "it takes more than a minute");
        assert_eq!(self.column(asked).await, before, "these meters close only when all of them is read");
        assert!(proof.prove_asked().await.expect("a proof"), "it takes more than a minute");
        let found = proof.found().await.expect("a proof");
        assert_eq!(found.open, 0, "the proof does not close: {found:?}");
        let wrong = self
            .column(
                "select format('meter %s: %s kept, %s read', coalesce(k.meter_id, r.meter_id), k.remains, r.remains)
                 from (select p.meter_id, p.remains / p.denominator as remains from postmeter.proven_meter p where p.remains <> 0) k
                 full join (select b.meter_id, sum(b.remains / b.denominator) as remains from postmeter.remittance_balance b
                            group by 1 having sum(b.remains) <> 0) r on r.meter_id = k.meter_id
                 where abs(coalesce(k.remains, 0) - coalesce(r.remains, 0)) > 1e-9
                 union all select format('meter %s is marked still', m.meter_id) from postmeter.balance_moved m
                 union all select format('slice %s is marked still', m.slice) from postmeter.usage_moved m",
            )
            .await;
        assert!(wrong.is_empty(), "what is kept is not what is there: {wrong:?}");
    }

    /// The end of every test: the balance closes to zero, every month recalculated from its usage is explained, and the
    /// marketplace's own record is what our ledger says.
    pub async fn close(self) {
        self.close_but(&[]).await;
    }

    /// [`Stage::close`] where a person has accounted otherwise for what the marketplace holds under these keys.
    pub async fn close_but(self, otherwise: &[String]) {
        let open = self
            .column("select format('%s %s: %s', org, metric, difference) from postmeter.usage_balance where difference <> 0 or difference_usages <> 0
                     union all select format('%s %s %s: %s', buyer, dimension, month, difference) from postmeter.balance where difference <> 0
                     union all select format('recalculated %s: %s', m.month, r) from (select distinct month from postmeter.meter) m,
                               (select name from postmeter.destination where name = 'aws' or shadow_of is not null) t,
                               postmeter.recalculate(t.name, m.month) r where r.part = 'unexplained'
                     union all select format('a shadow''s attempt %s: %s', l.attempt_id, l.outcome) from postmeter.attempt_ledger l
                     where l.shadow and l.outcome not in ('open', 'dry_run', 'too_old', 'handed_back')")
            .await;
        assert!(open.is_empty(), "the balance does not close: {open:?}");
        self.proven().await;
        let astray = self
            .column(
                "select format('%s %s but %s', coalesce(d.id, s.delivery_id), d.status, s.status)
                 from (select * from postmeter.delivery where status in ('rejected', 'expired', 'conflict', 'unknown', 'held')) d
                 full join postmeter.stuck s on s.delivery_id = d.id where d.status is distinct from s.status",
            )
            .await;
        assert!(astray.is_empty(), "postmeter.stuck is not what delivery says: {astray:?}");
        let ours = self
            .column(
                // of what was a conflict counts what they hold
                "select r.key || ' ' || trim_scale(coalesce(d.shown_quantity, r.quantity))
                 from postmeter.remittance r join postmeter.delivery d on d.id = r.delivery_id where r.status = 'accepted'",
            )
            .await;
        let maybe = self
            .column("select key from postmeter.remittance where maybe_billed or status in ('in_flight', 'conflict')")
            .await;
        let mut theirs = Vec::new();
        for accepted in self.aws.record() {
            let canonical = canonical(&accepted.key);
            let line = format!("{canonical} {}", accepted.quantity.normalize());
            assert!(
                ours.contains(&line) || maybe.contains(&canonical) || otherwise.contains(&canonical),
                "they hold {line}, we do not know it: {ours:?}"
            );
            theirs.push(line);
        }
        for line in &ours {
            assert!(theirs.contains(line), "we call {line} accepted, they do not hold it: {theirs:?}");
        }
    }
}

/// The key as we write it. The simulator's record names the operation where AWS has a region.
#[must_use]
pub fn canonical(key: &Key) -> String {
    let Key { marketplace, region, product, customer, dimension, hour } = key;
    match *marketplace {
        "azure" => format!("azure/{customer}/{dimension}/{hour}"),
        "google" => format!("google/{product}/{customer}/{dimension}/{hour}"),
        _ => format!("aws/{region}/{product}/{customer}/{dimension}/{hour}"),
    }
}

/// The server's message, where there is one.
fn message(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}

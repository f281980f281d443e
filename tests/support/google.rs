//! A stage whose destination is Google: the same clock, worker and checks at the end.

use std::ops::Deref;
use std::time::Duration;

use marketplaces::capabilities;
use serde_json::json;
use simulator::Filter;

use crate::{Dimension, Stage, t};

/// The managed service of the stage.
pub const GOOGLE_SERVICE: &str = "db.example.com";

/// A [`Stage`] that reports to Google. The destination keeps the name by which the stage knows it; its kind, settings
/// and limits are Google's own.
pub struct GoogleStage(Stage);

impl Deref for GoogleStage {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.0
    }
}

impl GoogleStage {
    /// A stage at a time, with one org, `acme`, that buys product `db` (metric `cores`) as `project:acme`.
    pub async fn at(now: &str) -> Self {
        let stage = Self(Stage::bare().await);
        stage.0.at(now).await;
        let can = capabilities("google").expect("a kind");
        let seconds =
            |span: Option<Duration>| span.map_or("null".to_owned(), |span| format!("'{} seconds'", span.as_secs()));
        let settings =
            json!({ "service_name": GOOGLE_SERVICE, "endpoint": stage.aws.url(), "credentials": "metadata" });
        let limits = format!(
            "kind = 'google', settings = '{settings}', zone = '{}', age_limit = {}, month_cutoff = {}, closing_window = {},
             memory = {}, records_max = {}, bytes_max = {}",
            can.zone,
            seconds(Some(can.age_limit)),
            seconds(can.month_cutoff),
            seconds(can.closing_window),
            seconds(can.memory),
            can.records_default,
            can.bytes_max,
        );
        stage.configure(&limits).await;
        stage.dimension(Dimension::default()).await;
        stage.subscribe_as("acme", "project:acme").await;
        stage
    }

    /// Subscribes an org to product `db` as a consumer, since ever.
    pub async fn subscribe_as(&self, org: &str, consumer: &str) {
        self.db
            .client
            .execute(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select $1, 'db', id, $2, $3 from postmeter.destination where name = 'aws'",
                &[&org, &json!({ "consumer_id": consumer }), &t("2024-01-01T00:00:00Z")],
            )
            .await
            .expect("a subscription");
        self.worker.reload().await.expect("the catalogue");
    }

    /// What the marketplace was asked, in order, without the calls for tokens.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let operations = self.aws.calls().into_iter().map(|call| call.operation);
        operations.filter(|operation| !operation.contains("token")).collect()
    }

    /// Gives a consumer a word: `ACTIVE`, or what a check shall answer. Others are active only if they are named, too.
    pub fn say(&self, consumer: &str, word: &str) {
        let mut settings = self.aws.settings();
        settings.google.consumers.get_or_insert_default().insert(consumer.to_owned(), word.to_owned());
        self.aws.set_settings(settings);
    }

    /// The end of every test: as [`Stage::close`], and no hour was billed under two operations.
    pub async fn close(self) {
        assert_eq!(self.aws.totals(&Filter::default()).hours_under_several_keys, 0, "billed twice");
        self.0.close().await;
    }
}

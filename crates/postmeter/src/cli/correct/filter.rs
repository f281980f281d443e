//! Which dead letters: the filter as the schema's functions take it.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::cli::import::moment;

/// Conditions; all that are given must hold. An empty filter is refused by the database.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    /// Only remittances of this org.
    #[arg(long)]
    org: Option<String>,
    /// Only remittances of this account of the org.
    #[arg(long)]
    account: Option<String>,
    /// Only remittances of this product.
    #[arg(long)]
    product: Option<String>,
    /// Only remittances that count usage of this metric.
    #[arg(long)]
    metric: Option<String>,
    /// Only remittances at this destination.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only remittances in this status: rejected, expired, conflict, unknown or held (with `hold`, which acts on what
    /// is due: due).
    #[arg(long)]
    status: Option<String>,
    /// Only remittances that are held for this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Only remittances of this hour or later.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only remittances of an hour before this.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only this remittance, by its number.
    #[arg(long, value_name = "N")]
    delivery: Option<i64>,
    /// Select everything, when no other filter is given.
    #[arg(long)]
    all: bool,
}

impl Filter {
    /// The one metric that is asked for.
    pub fn metric(&self) -> Option<&str> {
        self.metric.as_deref()
    }

    /// As JSON, for the functions of the schema, with the held usage that is meant alone. Fields that they do not know are refused there, by name.
    pub fn json(&self, usage: Option<Uuid>) -> Value {
        let mut filter = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                filter.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let time = |time: Option<Timestamp>| time.map(|time| Value::from(time.to_string()));
        put("org", text(&self.org));
        put("account", text(&self.account));
        put("product", text(&self.product));
        put("metric", text(&self.metric));
        put("destination", text(&self.destination));
        put("status", text(&self.status));
        put("reason", text(&self.reason));
        put("from", time(self.from));
        put("until", time(self.until));
        put("delivery", self.delivery.map(Value::from));
        put("usage", usage.map(|usage| Value::from(usage.to_string())));
        put("all", self.all.then_some(Value::from(true)));
        Value::Object(filter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn e8_only_what_is_said_stands_in_the_filter() {
        assert_eq!(Filter::default().json(None), json!({}), "the database refuses this one");
        let filter = Filter {
            org: Some("acme".into()),
            from: Some("2024-09-18T10:00:00Z".parse().unwrap()),
            delivery: Some(7),
            all: true,
            ..Filter::default()
        };
        assert_eq!(
            filter.json(None),
            json!({"org": "acme", "from": "2024-09-18T10:00:00Z", "delivery": 7, "all": true})
        );
    }
}

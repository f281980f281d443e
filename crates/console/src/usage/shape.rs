//! What is sent and answered when usage is recorded: the shapes of the OpenAPI document.

use outbox::outlook::Outlook;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::row::Fault;

/// A usage to record. The fields are those of `postmeter.record_usage`.
#[derive(ToSchema)]
#[schema(example = json!({"source": "billing", "event_id": "invoice-1017-line-3", "org": "acme", "product": "compute",
    "metric": "hours", "quantity": "12.5", "used_at": "2026-11-21T10:05:00Z", "attributes": {"region": "eu-west-1"}}))]
#[expect(dead_code, reason = "the document's shape; bodies are read field by field, numbers to the letter")]
pub(crate) struct NewUsage {
    /// The service that records; with `event_id` the usage's identity.
    #[schema(min_length = 1, max_length = 255)]
    source: String,
    /// The service's own id of the event; the same for every repetition.
    #[schema(min_length = 1, max_length = 255)]
    event_id: String,
    /// The customer.
    #[schema(min_length = 1, max_length = 255)]
    org: String,
    /// The product, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    product: String,
    /// What was metered, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    metric: String,
    /// An increment, never a running total; below zero only with `corrects`. At most 15 decimals. A text keeps digits
    /// that some JSON writers lose.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "12.5")]
    quantity: String,
    /// When it was used, with its offset from UTC.
    used_at: jiff::Timestamp,
    /// Which marketplace account, where the org has several.
    account: Option<String>,
    /// Event id of the usage that this one corrects.
    corrects: Option<String>,
    /// The request that caused it.
    request_id: Option<String>,
    /// W3C trace context of that request.
    traceparent: Option<String>,
    /// Evidence (service level, region …).
    #[schema(value_type = HashMap<String, serde_json::Value>, required = false)]
    attributes: Option<serde_json::Value>,
}

/// A usage as a CloudEvent (1.0, JSON). Other attributes of the event are allowed, and not kept.
#[derive(ToSchema)]
#[schema(example = json!({"specversion": "1.0", "type": "postmeter.usage.v1", "source": "billing", "id": "invoice-1017-line-3",
    "time": "2026-11-21T10:05:00Z",
    "data": {"org": "acme", "product": "compute", "metric": "hours", "quantity": "12.5"}}))]
#[expect(dead_code, reason = "the document's shape; bodies are read field by field, numbers to the letter")]
pub(crate) struct UsageEvent {
    /// Always `1.0`.
    #[schema(example = "1.0")]
    specversion: String,
    /// Always `postmeter.usage.v1`.
    #[schema(rename = "type", example = "postmeter.usage.v1")]
    kind: String,
    /// The service that records; with `id` the usage's identity.
    #[schema(min_length = 1, max_length = 255)]
    source: String,
    /// The service's own id of the event; the same for every repetition.
    #[schema(min_length = 1, max_length = 255)]
    id: String,
    /// When it was used, with its offset from UTC.
    time: jiff::Timestamp,
    /// W3C trace context of the request that caused it.
    traceparent: Option<String>,
    /// The rest of the usage.
    data: UsageEventData,
}

/// What a CloudEvent says of a usage beside its identity and time.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's shape")]
pub(crate) struct UsageEventData {
    /// The customer.
    #[schema(min_length = 1, max_length = 255)]
    org: String,
    /// The product, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    product: String,
    /// What was metered, by stable tag.
    #[schema(min_length = 1, max_length = 255)]
    metric: String,
    /// An increment, never a running total; below zero only with `corrects`. At most 15 decimals.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$", example = "12.5")]
    quantity: String,
    /// Which marketplace account, where the org has several.
    account: Option<String>,
    /// Event id of the usage that this one corrects.
    corrects: Option<String>,
    /// The request that caused it.
    request_id: Option<String>,
    /// Evidence (service level, region …).
    #[schema(value_type = HashMap<String, serde_json::Value>, required = false)]
    attributes: Option<serde_json::Value>,
}

/// What became of one usage.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageVerdict)]
pub(crate) struct Item {
    /// `recorded`, now or before: the answers to a repetition are equal. Or `refused`. Of a dry run: what it would be.
    pub verdict: &'static str,
    /// Its id, if it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_id: Option<Uuid>,
    /// Where to ask what becomes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// Why it was refused: a stable code, the SQLSTATE where a rule of the schema refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The field that is wrong, as the request calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// It is held or late, or will be, as far as is known at this moment. Absent: nothing speaks against it. Of a dry run
    /// always there for what would be recorded, but for corrections of usage that is not counted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlook: Option<UsageOutlook>,
    /// True: nothing was recorded, because the request asked what would become of it.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub dry_run: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Item {
    pub fn refused(fault: Fault) -> Self {
        let Fault { code, field, message } = fault;
        Self {
            verdict: "refused",
            usage_id: None,
            href: None,
            code: Some(code),
            field,
            message: Some(message),
            outlook: None,
            dry_run: false,
        }
    }
}

/// What will become of a usage: a prediction, because the catalogue, the clock and other usage may change before it is
/// counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageOutlook {
    /// `counted` in its own hour, `late` (its own hour is cut), `expires` (no hour can take it), `held` (it waits for a
    /// person or the catalogue) or `exempt`.
    #[schema(example = "held")]
    pub fate: String,
    /// Why it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "no_subscription")]
    pub reason: Option<String>,
    /// Where it is owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The hour that takes it; of usage that is held or expires its own; absent where only the fold can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<jiff::Timestamp>,
    /// The remittance of that hour, if it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remittance: Option<i64>,
    /// The same in a sentence.
    pub detail: String,
}

impl From<Outlook> for UsageOutlook {
    fn from(outlook: Outlook) -> Self {
        let detail = sentence(&outlook);
        let Outlook { fate, reason, destination, hour, remittance } = outlook;
        Self { fate, reason, destination, hour, remittance, detail }
    }
}

fn sentence(outlook: &Outlook) -> String {
    let held = |cure: &str| format!("held: {cure}; it is recorded, and nothing of it is lost meanwhile");
    match (outlook.fate.as_str(), outlook.reason.as_deref()) {
        ("counted", _) => "counted in its own hour".to_owned(),
        ("exempt", _) => "exempt: nothing of it is owed".to_owned(),
        ("late", _) => match outlook.hour {
            Some(hour) => format!("late: its own hour is cut, so it is counted in the hour {hour}"),
            None => "late: its own hour is cut, or over; the fold finds the hour that takes it, or holds it".to_owned(),
        },
        ("expires", _) => "too late: its own hour can be sent no more, and no other hour can take it".to_owned(),
        (_, Some("no_subscription")) => held("no subscription of this org and product covers that time"),
        (_, Some("ambiguous_subscription")) => held("several subscriptions cover it; say which with account"),
        (_, Some("invalid_subscription")) => held("its subscription lacks what the marketplace needs"),
        (_, Some("unmapped_dimension")) => held("no dimension of the destination takes this metric"),
        (_, Some("month_closed")) => held("its month is closed"),
        (_, Some("too_late")) => held("its own hour is cut, and no other hour can take it"),
        (_, Some("implausible")) => {
            held("it is more than the catalogue takes for plausible, so a person has to look at it")
        }
        (_, reason) => held(reason.unwrap_or("a person has to look at it")),
    }
}

/// What became of many.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageVerdicts)]
pub(crate) struct Items {
    /// How many are recorded, now or before.
    pub recorded: usize,
    /// How many were refused: they are not recorded, and the same again will not be.
    pub refused: usize,
    /// One for each usage, in the request's order.
    pub items: Vec<Item>,
    /// True: nothing was recorded, because the request asked what would become of it.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub dry_run: bool,
}

impl Items {
    pub fn of(items: Vec<Item>, dry_run: bool) -> Self {
        let refused = items.iter().filter(|item| item.verdict == "refused").count();
        Self { recorded: items.len() - refused, refused, items, dry_run }
    }
}

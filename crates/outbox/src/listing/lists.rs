//! The lists there are.

use super::{Bound, Column, Kind, List};

const STATUSES: Kind = Kind::Word(&[
    "open",
    "nothing_due",
    "due",
    "in_flight",
    "accepted",
    "rejected",
    "expired",
    "conflict",
    "unknown",
    "held",
    "dry_run",
    "written_off",
    "released",
]);
const OUTCOMES: Kind = Kind::Word(&[
    "open",
    "accepted",
    "duplicate",
    "conflict",
    "rejected",
    "not_entitled",
    "batch_refused",
    "throttled",
    "unavailable",
    "unauthorised",
    "unknown",
    "unrecognised",
    "too_old",
    "not_sent",
    "no_credentials",
    "unmapped",
    "dry_run",
    "handed_back",
]);
const VERBS: Kind = Kind::Word(&[
    "retry",
    "release",
    "write_off",
    "hold",
    "resolve",
    "pause",
    "resume",
    "probe",
    "close",
    "reopen",
    "apply",
    "retain",
    "export",
    "drop",
    "set_alert",
    "judge",
    "declare",
]);

const REASONS: Kind = Kind::Word(&[
    "missing",
    "length",
    "text",
    "unreadable",
    "range",
    "noise",
    "nul",
    "json",
    "utf8",
    "object",
    "twice",
    "other_org",
    "other",
]);

/// A column that can only be read.
const fn shown(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, doc, nullable: false, equal: None, range: false, sort: false, bound: None }
}

/// A column that can be asked for by equal values.
const fn asked(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    shown(name, kind, doc).by(name)
}

/// A moment or day: asked for by a range.
const fn ranged(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    let mut column = shown(name, kind, doc);
    column.range = true;
    column
}

impl Column {
    const fn null(mut self) -> Self {
        self.nullable = true;
        self
    }

    const fn sorted(mut self) -> Self {
        self.sort = true;
        self
    }

    const fn bounding(mut self, from: &'static str, until: Option<&'static str>) -> Self {
        self.bound = Some(Bound { from, until });
        self
    }

    const fn by(mut self, parameter: &'static str) -> Self {
        self.equal = Some(parameter);
        self
    }
}

const DESTINATION: Column = asked("destination", Kind::Text, "The destination's name.");
const DELIVERY: Column = asked("delivery_id", Kind::Integer, "Number of the remittance.");
const KEY: Column = asked("key", Kind::Text, "What the marketplace deduplicates on.");
const HOUR: Column = ranged("hour", Kind::Time, "The hour that is reported.").sorted();
const PRODUCT: Column = asked("product", Kind::Text, "Our product.");
const METRIC: Column = asked("metric", Kind::Text, "Our metric.");
const ORG: Column = asked("org", Kind::Text, "The customer.");
const ORGS: Column = shown("orgs", Kind::Texts, "The customers whose usage is in it.").by("org");
const DIMENSION: Column = asked("dimension", Kind::Text, "The marketplace's name of the metric.");
const BUYER: Column = asked("buyer", Kind::Text, "The buyer in canonical text.");
const MONTH: Column =
    ranged("month", Kind::Date, "First day of the billing month, in the destination's zone.").by("month");
const STATUS: Column = asked("status", STATUSES, "Where it stands.");
const REASON: Column = asked("reason", Kind::Text, "Why it is held.").null();
const QUANTITY: Column = shown("quantity", Kind::Quantity, "Billing units; null while it is open.").null();
const AMOUNT: Column = shown("amount", Kind::Quantity, "Quantity times unit price; null: unpriced.").null();
const CURRENCY: Column = asked("currency", Kind::Text, "Currency of the amount.").null();
const DEADLINE: Column = ranged("deadline", Kind::Time, "Last moment at which it can be sent.").sorted();
const TRIES: Column = shown("tries", Kind::Integer, "Attempts that count against the retry policy.");
const MAYBE: Column =
    asked("maybe_billed", Kind::Flag, "An attempt may have arrived, and nothing has resolved it yet.");

/// A part of the balance.
const fn part(name: &'static str, doc: &'static str) -> Column {
    shown(name, Kind::Quantity, doc)
}

/// Every list.
pub static LISTS: [List; 14] = [
    List {
        name: "remittances",
        item: "Remittance",
        label: "list_remittances",
        view: "remittance",
        key: &["delivery_id"],
        sort: "-delivery_id",
        org: Some("orgs"),
        doc: "What is owed to marketplaces: one remittance per key.",
        columns: &[
            DELIVERY.sorted(),
            DESTINATION,
            KEY,
            HOUR,
            PRODUCT,
            DIMENSION,
            MONTH,
            BUYER,
            STATUS,
            REASON,
            MAYBE,
            shown("confirmed", Kind::Flag, "The marketplace showed our very quantity; null while nobody knows.").null(),
            QUANTITY,
            shown("shown_quantity", Kind::Quantity, "The quantity that the marketplace shows.").null(),
            AMOUNT,
            CURRENCY,
            DEADLINE,
            TRIES,
            shown("attempts", Kind::Integer, "Attempts in all."),
            shown("idempotency_key", Kind::Id, "What its calls carry; null while it is open.").null(),
            shown("opened_at", Kind::Time, "When its hour was opened."),
            shown("cut_at", Kind::Time, "When it was frozen.").null(),
            ranged("changed_at", Kind::Time, "When its status last changed.").sorted(),
            ORGS,
        ],
    },
    List {
        name: "attempts",
        item: "Attempt",
        label: "list_attempts",
        view: "attempt_ledger",
        key: &["attempt_id"],
        sort: "-attempt_id",
        org: None,
        doc: "The ledger: every attempt with its outcome.",
        columns: &[
            asked("attempt_id", Kind::Id, "The attempt; ids ascend with time.").sorted(),
            DELIVERY,
            KEY,
            DESTINATION,
            shown("number", Kind::Integer, "Its number among the remittance's attempts."),
            asked("call_id", Kind::Id, "The call: attempts of one call share it."),
            ranged("claimed_at", Kind::Time, "When it was claimed.").sorted(),
            asked("worker_id", Kind::Id, "The worker that made it."),
            asked("outcome", OUTCOMES, "What the call told us; open: nothing yet."),
            asked("code", Kind::Text, "Their code.").null(),
            shown("is_try", Kind::Flag, "It counts against the retry policy; null while it is open.").null(),
            shown("shown_quantity", Kind::Quantity, "The quantity that they show.").null(),
            shown("receipt", Kind::Text, "Their receipt.").null(),
            shown("http_status", Kind::Integer, "HTTP status of their answer.").null(),
            shown("their_request_id", Kind::Text, "Their id of the call.").null(),
            shown("excerpt", Kind::Text, "Of their answer, bounded and redacted.").null(),
            shown("duration", Kind::Seconds, "How long the call took.").null(),
            shown("recorded_at", Kind::Time, "When the outcome was recorded.").null(),
            shown("quantity", Kind::Quantity, "Billing units of the remittance.").null(),
            shown("status", STATUSES, "Where the remittance stands now."),
        ],
    },
    List {
        name: "meters",
        item: "Meter",
        label: "list_meters",
        view: "meter_list",
        key: &["meter_id"],
        sort: "-meter_id",
        org: None,
        doc: "Keys without their hour, over a billing month.",
        columns: &[
            asked("meter_id", Kind::Integer, "Number of the meter.").sorted(),
            DESTINATION,
            BUYER,
            DIMENSION,
            MONTH.sorted(),
            shown("rounding", Kind::Text, "Rounding of the dimension: up, down or nearest."),
            shown("decimals", Kind::Integer, "Digits after the point that it bills."),
            shown("month_end", Kind::Text, "What the month's last cut does with a remainder."),
            part("billed", "Billing units of all its cut remittances that no decision has released."),
            part("carried", "Billing units x denominator that are not billed yet; negative: billed ahead."),
            part("billable", "Billing units that a cut would bill now."),
            part("denominator", "Common denominator of its factors."),
            shown("cuts", Kind::Integer, "How often it was cut."),
            shown("closed_at", Kind::Time, "When its month was closed.").null(),
        ],
    },
    List {
        name: "balance",
        item: "Balance",
        label: "list_balance",
        view: "balance",
        key: &["meter_id"],
        sort: "-meter_id",
        org: None,
        doc: "Where everything recorded is, per meter, in billing units x denominator: recorded = open + due + unknown + \
              accepted + held + rejected + expired + conflict + written_off + dry_run + covered + carried.",
        columns: &[
            asked("meter_id", Kind::Integer, "Number of the meter.").sorted(),
            DESTINATION,
            BUYER,
            DIMENSION,
            MONTH.sorted(),
            part("denominator", "Divide by this to get billing units."),
            part("recorded", "All usage."),
            part("open", "In hours that still collect."),
            part("due", "Waits to be sent, or is in flight."),
            part("unknown", "Nobody knows whether it was billed."),
            part("accepted", "The marketplace holds it."),
            part("held", "Held remittances."),
            part("rejected", "Refused for good."),
            part("expired", "Too late for the marketplace."),
            part("conflict", "What the marketplace does not hold of conflicts."),
            part("written_off", "A person gave it up."),
            part("dry_run", "Everything was done but the call."),
            part("covered", "Contracts cover it."),
            part("carried", "Not billable yet, or (negative) billed ahead."),
            part("difference", "Zero at every moment."),
        ],
    },
    List {
        name: "usage-balance",
        item: "UsageBalance",
        label: "list_usage_balance",
        view: "usage_balance",
        key: &["org", "product", "metric"],
        sort: "org",
        org: Some("org"),
        doc: "Where everything recorded is, per org, product and metric, in units of the metric: recorded = waiting + held \
              + exempt + written_off + allocated.",
        columns: &[
            ORG.sorted(),
            PRODUCT,
            METRIC,
            shown("usages", Kind::Integer, "How many usages."),
            part("recorded", "All usage."),
            part("waiting", "In the outbox."),
            part("held", "Held, with a reason."),
            part("exempt", "Not billed through a marketplace."),
            part("written_off", "A person gave it up."),
            part("allocated", "Allocated to remittances."),
            part("difference", "Zero at every moment."),
            shown("difference_usages", Kind::Integer, "Zero at every moment."),
        ],
    },
    List {
        name: "usage",
        item: "RecordedUsage",
        label: "list_usage",
        view: "usage_list",
        key: &["usage_id"],
        sort: "-usage_id",
        org: Some("org"),
        doc: "Everything recorded, as it was recorded. No index serves org, product and the like: give a range of time, of \
              recorded_at where you can.",
        columns: &[
            asked("usage_id", Kind::Id, "The usage; ids ascend with the time of recording.").sorted(),
            asked("source", Kind::Text, "The service that recorded it."),
            asked("event_id", Kind::Text, "The service's id of it."),
            ORG,
            asked("account", Kind::Text, "Which marketplace account, where the org has several.").null(),
            PRODUCT,
            METRIC,
            part("quantity", "Units of the metric; below zero of a correction."),
            ranged("used_at", Kind::Time, "When it was used.").bounding("usage_id_used_from", None),
            asked("corrects", Kind::Text, "Event id of the usage that it corrects.").null(),
            asked("request_id", Kind::Text, "The request that caused it.").null(),
            shown("traceparent", Kind::Text, "W3C trace context of that request.").null(),
            shown("attributes", Kind::Json, "Evidence."),
            ranged("recorded_at", Kind::Time, "When it was recorded.")
                .bounding("usage_id_from", Some("usage_id_until")),
        ],
    },
    List {
        name: "held",
        item: "HeldUsage",
        label: "list_held",
        view: "held_list",
        key: &["usage_id"],
        sort: "-usage_id",
        org: Some("org"),
        doc: "Usage that cannot be allocated yet, with the reason.",
        columns: &[
            asked("usage_id", Kind::Id, "The usage; ids ascend with time.").sorted(),
            asked("source", Kind::Text, "The service that recorded it."),
            asked("event_id", Kind::Text, "The service's id of it."),
            asked("destination", Kind::Text, "Where it would go, if that is known.").null(),
            asked("reason", Kind::Text, "Why it is held."),
            ORG,
            asked("account", Kind::Text, "Which marketplace account, where the org has several.").null(),
            PRODUCT,
            METRIC,
            part("quantity", "Units of the metric."),
            shown("used_at", Kind::Time, "When it was used."),
            HOUR,
            DEADLINE.null(),
            ranged("held_at", Kind::Time, "When it was held.").sorted(),
        ],
    },
    List {
        name: "dead-letters",
        item: "DeadLetter",
        label: "list_dead_letters",
        view: "dead_letter",
        key: &["item"],
        sort: "-amount",
        org: Some("orgs"),
        doc: "What needs a person, the dearest first.",
        columns: &[
            shown("item", Kind::Text, "Which one: `remittance`, `usage` or `meter`, and its number.").sorted(),
            DELIVERY.null(),
            asked("usage_id", Kind::Id, "The usage, of held usage.").null(),
            DESTINATION.null(),
            asked(
                "class",
                Kind::Text,
                "The remittance's status, `held usage`, `stranded`, `set aside`, or `contradiction`.",
            ),
            asked("code", Kind::Text, "Why: a reason of ours, or the marketplace's code.").null(),
            PRODUCT.null(),
            METRIC.null(),
            DIMENSION.null(),
            HOUR.null(),
            KEY.null(),
            QUANTITY.sorted(),
            AMOUNT.sorted(),
            CURRENCY,
            ranged("since", Kind::Time, "Since when.").null().sorted(),
            DEADLINE.null(),
            MAYBE,
            shown("what_to_do", Kind::Text, "What to do about it."),
            ORGS,
        ],
    },
    List {
        name: "destinations",
        item: "Destination",
        label: "list_destinations",
        view: "destination_health",
        key: &["destination"],
        sort: "destination",
        org: None,
        doc: "Marketplace endpoints and how they are: paused, breaker, and how much waits.",
        columns: &[
            DESTINATION.sorted(),
            asked("kind", Kind::Text, "Which marketplace's code serves it."),
            shown("zone", Kind::Text, "The zone whose calendar its billing month follows."),
            asked("dry_run", Kind::Flag, "Everything is done but the call."),
            asked("paused", Kind::Flag, "A person stopped sending."),
            asked("breaker", Kind::Word(&["closed", "recovering", "open", "half_open"]), "Whether it is called."),
            shown("since", Kind::Time, "Since when the breaker is open.").null(),
            shown("next_probe_at", Kind::Time, "When it is tried again.").null(),
            shown("probing", Kind::Text, "The worker that tries it.").null(),
            shown("ramp", Kind::Integer, "While it recovers: calls that each worker may have in flight.").null(),
            shown("faults", Kind::Integer, "Faults since it opened.").null(),
            shown("last_outcome", Kind::Text, "Outcome of the last call that met the fault.").null(),
            shown("last_code", Kind::Text, "Its code.").null(),
            shown("last_http_status", Kind::Integer, "Its HTTP status.").null(),
            shown("changed_at", Kind::Time, "When the breaker last changed.").null(),
            shown("open", Kind::Integer, "Hours that still collect usage."),
            shown("due", Kind::Integer, "Remittances that wait to be sent."),
            shown("later", Kind::Integer, "Remittances that wait for another try."),
            shown("earliest_deadline", Kind::Time, "The first deadline of what is due.").null(),
        ],
    },
    List {
        name: "decisions",
        item: "Decision",
        label: "list_decisions",
        view: "decision_log",
        key: &["id"],
        sort: "-id",
        org: None,
        doc: "What people decided, and why.",
        columns: &[
            asked("id", Kind::Integer, "Order of the decisions.").sorted(),
            ranged("decided_at", Kind::Time, "When.").sorted(),
            asked("who", Kind::Text, "The person, or the name of a token."),
            shown("why", Kind::Text, "The reason, in a sentence."),
            asked("verb", VERBS, "What was done."),
            shown("role_name", Kind::Text, "Database role that carried it out."),
            DELIVERY.null(),
            KEY.null(),
            asked("usage_id", Kind::Id, "The held usage.").null(),
            DESTINATION.null(),
            shown("status_before", Kind::Text, "Status before.").null(),
            shown("status_after", Kind::Text, "Status after.").null(),
            shown("quantity", Kind::Quantity, "How much.").null(),
            shown("target_delivery_id", Kind::Integer, "Where a released quantity went.").null(),
            shown("detail", Kind::Json, "What was asked."),
        ],
    },
    List {
        name: "unremitted",
        item: "Unremitted",
        label: "list_unremitted",
        view: "unremitted",
        key: &["item"],
        sort: "hour",
        org: Some("org"),
        doc: "What was not sent or not accepted, and why.",
        columns: &[
            shown("item", Kind::Text, "Which one: unique in this list.").sorted(),
            asked("kind", Kind::Word(&["usage", "remittance"]), "Usage that waits or is held, or a remittance."),
            ORG.null(),
            PRODUCT,
            METRIC.null(),
            HOUR,
            part("quantity", "How much, in this unit."),
            asked(
                "unit",
                Kind::Word(&["metric", "billing"]),
                "Units of the metric; billing units of quantity that came from other hours alone.",
            ),
            asked("status", Kind::Text, "waiting, held, or the remittance's status."),
            REASON,
            DEADLINE.null(),
            ranged("since", Kind::Time, "Since when.").null().sorted(),
            DESTINATION.null(),
            DELIVERY.null(),
            asked("usage_id", Kind::Id, "The usage.").null(),
        ],
    },
    List {
        name: "at-risk",
        item: "AtRisk",
        label: "list_at_risk",
        view: "at_risk",
        key: &["delivery_id"],
        sort: "deadline",
        org: Some("orgs"),
        doc: "Remittances that miss their deadline within an hour unless something happens.",
        columns: &[
            DELIVERY.sorted(),
            DESTINATION,
            KEY,
            HOUR,
            STATUS,
            REASON,
            QUANTITY,
            AMOUNT,
            CURRENCY,
            DEADLINE,
            shown("time_left", Kind::Seconds, "Until the deadline; negative: it has passed."),
            TRIES,
            ORGS,
        ],
    },
    List {
        name: "alerts",
        item: "Alert",
        label: "list_alerts",
        view: "alert_list",
        key: &["id"],
        sort: "-id",
        org: None,
        doc: "Alerts, open and cleared: what an SRE must know.",
        columns: &[
            asked("id", Kind::Integer, "Order of opening.").sorted(),
            asked("name", Kind::Text, "Which: a section of the runbook."),
            asked("subject", Kind::Text, "What it is about, mostly a destination; empty: the whole."),
            asked("severity", Kind::Word(&["critical", "warning"]), "How bad it is."),
            asked("open", Kind::Flag, "It is not cleared."),
            ranged("opened_at", Kind::Time, "When it was seen first.").sorted(),
            shown("last_seen_at", Kind::Time, "When it was seen last."),
            ranged("cleared_at", Kind::Time, "When it was not seen any more.").null(),
            shown("count", Kind::Integer, "How many things it is about."),
            shown("summary", Kind::Text, "What is so, in a sentence."),
            shown("details", Kind::Json, "Up to five examples, and what else helps."),
            shown("told_at", Kind::Time, "When the webhook was last told.").null(),
        ],
    },
    List {
        name: "request-refusals",
        item: "RequestRefusal",
        label: "list_request_refusals",
        view: "request_refusal_list",
        key: &["id"],
        sort: "-last_at",
        org: None,
        doc: "Request statuses that HTTP and imports refused, counted by hour, door, field and reason.",
        columns: &[
            shown("id", Kind::Text, "Hour, door, field and reason in one text.").sorted(),
            ranged("hour", Kind::Time, "The hour in which they were refused."),
            asked("door", Kind::Word(&["http", "import"]), "Where they came in; imports read files and pipes."),
            asked("field", Kind::Text, "The field that was wrong; empty: the whole message."),
            asked("reason", REASONS, "Which rule they break."),
            shown("n", Kind::Integer, "How many."),
            shown("first_at", Kind::Time, "The first of them."),
            ranged("last_at", Kind::Time, "The last of them.").sorted(),
            shown("said", Kind::Text, "What was said to the last of them."),
        ],
    },
];

/// A list by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static List> {
    LISTS.iter().find(|list| list.name == name)
}

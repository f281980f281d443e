//! What an entry of the catalogue may say: the one table behind reading, comparing and writing catalogue files.

use outbox::catalogue::Kind;

/// A field of an entry.
#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub absent: Absent,
}

/// What a field's value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// 1 to 255 bytes.
    Text,
    /// A destination's name.
    Name,
    /// A contract's name.
    Contract,
    /// A whole number within bounds.
    Whole(i64, i64),
    /// An exact decimal number that is not negative.
    Decimal,
    /// A ratio of two whole numbers.
    Ratio,
    /// `true` or `false`.
    Flag,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A span of time between two numbers of milliseconds.
    Span(i64, i64),
    /// A month.
    Month,
    /// The start of an hour.
    Hour,
    /// A time in whole seconds.
    Second,
    /// An ISO 4217 code.
    Currency,
    /// Fields that belong to another program.
    Object,
    /// Quantities by metric.
    Covers,
    /// A list of names, each once.
    Names,
}

/// What a field is that is not given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Absent {
    /// It must be given.
    Required,
    /// Nothing; written `"none"` where that must be said.
    None,
    /// This text.
    Text(&'static str),
    /// This number.
    Number(i64),
    /// `true` for a shadow, which never calls, else `false`.
    IsShadow,
    /// No field.
    Empty,
    /// No name.
    NoNames,
    /// What the marketplace demands: its capabilities.
    OfKind,
    /// What the destination is called.
    OwnName,
}

const SECOND: i64 = 1000;
const HOUR: i64 = 3_600 * SECOND;
const YEAR: i64 = 366 * 24 * HOUR;

const fn field(name: &'static str, shape: Shape, absent: Absent) -> Field {
    Field { name, shape, absent }
}

const QUOTA: &[Field] =
    &[field("name", Shape::Text, Absent::Required), field("calls_per_second", Shape::Decimal, Absent::None)];

const DESTINATION: &[Field] = &[
    field("name", Shape::Name, Absent::Required),
    field("kind", Shape::Text, Absent::Required),
    field("shadow_of", Shape::Text, Absent::None),
    field("settings", Shape::Object, Absent::Empty),
    field("quota", Shape::Text, Absent::OwnName),
    field("zone", Shape::Text, Absent::OfKind),
    field("age_limit", Shape::Span(HOUR, YEAR), Absent::OfKind),
    field("month_cutoff", Shape::Span(0, YEAR), Absent::OfKind),
    field("closing_window", Shape::Span(0, YEAR), Absent::OfKind),
    field("margin", Shape::Span(0, YEAR), Absent::Text("10m")),
    field("lead", Shape::Span(0, YEAR), Absent::Text("30m")),
    field("grace", Shape::Span(0, YEAR), Absent::Text("5m")),
    field("late_policy", Shape::Word(&["expire", "part", "hold"]), Absent::Text("expire")),
    field("expired_policy", Shape::Word(&["hold", "roll_forward"]), Absent::Text("hold")),
    field("dry_run", Shape::Flag, Absent::IsShadow),
    field("records_max", Shape::Whole(1, 10_000), Absent::OfKind),
    field("bytes_max", Shape::Whole(1024, 100_000_000), Absent::OfKind),
    field("in_flight_max", Shape::Whole(1, 1024), Absent::Number(8)),
    field("call_timeout", Shape::Span(1, 15 * SECOND), Absent::Text("10s")),
    field("retry_first", Shape::Span(1, YEAR), Absent::Text("2s")),
    field("retry_max", Shape::Span(SECOND, YEAR), Absent::Text("5m")),
    field("tries_max", Shape::Whole(1, 1_000_000), Absent::None),
    field("memory", Shape::Span(SECOND, YEAR), Absent::OfKind),
];

const DIMENSION: &[Field] = &[
    field("destination", Shape::Text, Absent::Required),
    field("product", Shape::Text, Absent::Required),
    field("metric", Shape::Text, Absent::Required),
    field("name", Shape::Text, Absent::Required),
    field("factor", Shape::Ratio, Absent::Text("1")),
    field("rounding", Shape::Word(&["up", "down", "nearest"]), Absent::Text("up")),
    field("decimals", Shape::Whole(0, 15), Absent::Number(0)),
    field("month_end", Shape::Word(&["round_up", "drop"]), Absent::Text("round_up")),
    field("unit_price", Shape::Decimal, Absent::None),
    field("currency", Shape::Currency, Absent::None),
    field("max_quantity", Shape::Decimal, Absent::None),
    field("times_usual", Shape::Decimal, Absent::None),
    field("hour_alert", Shape::Decimal, Absent::None),
    field("allocate_by", Shape::Names, Absent::NoNames),
    field("zero", Shape::Word(&["skip", "send"]), Absent::Text("skip")),
    field("valid_from", Shape::Month, Absent::Text("2000-01")),
];

const SUBSCRIPTION: &[Field] = &[
    field("org", Shape::Text, Absent::Required),
    field("product", Shape::Text, Absent::Required),
    field("account", Shape::Text, Absent::None),
    field("destination", Shape::Text, Absent::Required),
    field("identity", Shape::Object, Absent::Required),
    field("contract", Shape::Contract, Absent::None),
    field("valid_from", Shape::Second, Absent::Required),
    field("valid_until", Shape::Second, Absent::None),
    field("covers", Shape::Covers, Absent::Empty),
];

const EXEMPT: &[Field] = &[
    field("org", Shape::Text, Absent::Required),
    field("product", Shape::Text, Absent::None),
    field("reason", Shape::Text, Absent::Required),
    field("valid_from", Shape::Hour, Absent::Text("2000-01-01T00:00:00Z")),
    field("valid_until", Shape::Hour, Absent::None),
];

const ROUTE: &[Field] = &[
    field("after", Shape::Text, Absent::Required),
    field("status", Shape::Text, Absent::Text("success")),
    field("service", Shape::Text, Absent::Required),
    field("within", Shape::Span(SECOND, YEAR), Absent::Text("1h")),
];

/// The word of a kind in a catalogue file: `[[word]]`.
pub(super) const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Quota => "quota",
        Kind::Destination => "destination",
        Kind::Dimension => "dimension",
        Kind::Subscription => "subscription",
        Kind::Exempt => "exempt",
        Kind::Route => "route",
    }
}

/// The fields that an entry of a kind may have, in the order in which they are written.
pub(super) const fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Quota => QUOTA,
        Kind::Destination => DESTINATION,
        Kind::Dimension => DIMENSION,
        Kind::Subscription => SUBSCRIPTION,
        Kind::Exempt => EXEMPT,
        Kind::Route => ROUTE,
    }
}

/// The fields that say which entry it is: two entries with the same are one.
pub(super) const fn key(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Quota | Kind::Destination => &["name"],
        Kind::Dimension => &["destination", "product", "metric", "valid_from"],
        Kind::Subscription => &["org", "product", "account", "destination", "valid_from"],
        Kind::Exempt => &["org", "product", "valid_from"],
        Kind::Route => &["after", "status", "service"],
    }
}

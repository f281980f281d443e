//! A request on its way through services: where its time went, and what comes after what.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// What stands where a service named no source.
const NO_SOURCE: &str = "undefined";

/// One message of a service about a request.
#[derive(Debug, Clone, Copy)]
pub struct StatusTiming<'a> {
    /// The service.
    pub service: &'a str,
    /// The source; empty: none.
    pub source: &'a str,
    /// When.
    pub date: Timestamp,
}

/// Where the time of a request went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// From first to last message, per `service:source`.
    pub per_service: BTreeMap<String, SignedDuration>,
    /// The sum of these.
    pub in_services: SignedDuration,
    /// From the first message of all to the last.
    pub total: SignedDuration,
}

impl Durations {
    /// Of these messages, in any order.
    #[must_use]
    pub fn of<'a>(said: impl IntoIterator<Item = StatusTiming<'a>>) -> Self {
        let mut bounds: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
        for StatusTiming { service, source, date } in said {
            let source = if source.is_empty() { NO_SOURCE } else { source };
            let (first, last) = bounds.entry(format!("{service}:{source}")).or_insert((date, date));
            (*first, *last) = ((*first).min(date), (*last).max(date));
        }
        let first = bounds.values().map(|(first, _)| *first).min();
        let last = bounds.values().map(|(_, last)| *last).max();
        let per_service: BTreeMap<_, _> =
            bounds.into_iter().map(|(name, (first, last))| (name, last.duration_since(first))).collect();
        let in_services = per_service.values().copied().fold(SignedDuration::ZERO, SignedDuration::saturating_add);
        let total = first.zip(last).map_or(SignedDuration::ZERO, |(first, last)| last.duration_since(first));
        Self { per_service, in_services, total }
    }
}

/// Where a request is: indexes into its messages, which are in order of their dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The latest message.
    pub last: Option<usize>,
    /// The latest before it of another service or source.
    pub previous: Option<usize>,
    /// The latest of a service that has begun and not finished.
    pub current: Option<usize>,
}

impl Place {
    /// Of these messages, in order; `open` are the services that have not finished.
    #[must_use]
    pub fn of(said: &[StatusTiming<'_>], open: &[String]) -> Self {
        let last = said.len().checked_sub(1);
        let other =
            |one: &StatusTiming<'_>, two: &StatusTiming<'_>| (one.service, one.source) != (two.service, two.source);
        Self {
            last,
            previous: last.and_then(|last| said[..last].iter().rposition(|before| other(before, &said[last]))),
            current: said.iter().rposition(|said| open.iter().any(|service| service == said.service)),
        }
    }
}

/// Why a text is no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDate {
    /// It is none.
    Unreadable,
    /// It is before the year 1, or after 9999-12-29.
    Range,
}

/// Reads a date as services write it: RFC 3339, the `T` may be white space, seconds and zone may be missing, and without a
/// zone it is UTC. `postmeter.status_moment` reads the same in SQL: the two must agree.
///
/// # Errors
/// It is none, or out of range.
pub fn date(text: &str) -> Result<Timestamp, NoDate> {
    let text = text.trim_matches(is_space);
    let (day, rest) = text.split_at_checked(10).ok_or(NoDate::Unreadable)?;
    let time = match rest.strip_prefix(['T', 't']) {
        Some(time) => time,
        None if rest.starts_with(is_space) => rest.trim_start_matches(is_space),
        None => return Err(NoDate::Unreadable),
    };
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let (clock, fraction) = time.split_once('.').map_or((time, None), |(clock, fraction)| (clock, Some(fraction)));
    let is_good = has_form(day, "9999-99-99")
        && !day.starts_with("0000")
        && (has_form(clock, "99:99:99") || has_form(clock, "99:99") && fraction.is_none())
        && fraction.is_none_or(|digits| matches!(digits.len(), 1..=9) && digits.bytes().all(|digit| digit.is_ascii_digit()))
        && is_zone(zone)
        // no leap seconds, and no hour 24: what they are the same as, programs do not agree about
        && &clock[..2] < "24"
        && clock[3..].split(':').all(|part| part < "60");
    if !is_good {
        return Err(NoDate::Unreadable);
    }
    let day: jiff::civil::Date = day.parse().map_err(|_| NoDate::Unreadable)?;
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    let fraction = fraction.map_or_else(String::new, |fraction| format!(".{fraction}"));
    let zone = match zone {
        "" => "Z".to_owned(),
        zone => zone.to_ascii_uppercase(),
    };
    let time: Timestamp = format!("{day}T{clock}{seconds}{fraction}{zone}").parse().map_err(|_| NoDate::Range)?;
    let (from, until) = (FIRST.parse::<Timestamp>().expect("a time"), END.parse::<Timestamp>().expect("a time"));
    if time >= from && time < until { Ok(time) } else { Err(NoDate::Range) }
}

/// The dates that a request status may have.
const FIRST: &str = "0001-01-01T00:00:00Z";
const END: &str = "9999-12-30T00:00:00Z";

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// A text is of a form if it has a digit for each 9, and everything else as it is there.
fn has_form(text: &str, form: &str) -> bool {
    let is_like = |(one, like): (u8, u8)| if like == b'9' { one.is_ascii_digit() } else { one == like };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(is_like)
}

/// None, Z, or hours and minutes that Postgres takes.
fn is_zone(zone: &str) -> bool {
    let Some(offset) = zone.strip_prefix(['+', '-']) else { return matches!(zone, "" | "Z" | "z") };
    let minutes = offset.get(offset.len().saturating_sub(2)..).unwrap_or_default();
    let is_good = has_form(offset, "99") || (has_form(offset, "99:99") || has_form(offset, "9999")) && minutes < "60";
    is_good && &offset[..2] < "16"
}

/// `00:00:09.970000`: hours may exceed 24; six decimals.
#[must_use]
pub fn hours_minutes_seconds(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let micros = duration.subsec_micros();
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(service: &'static str, source: &'static str, time: &str) -> StatusTiming<'static> {
        StatusTiming { service, source, date: format!("2022-01-01T00:{time}Z").parse().unwrap() }
    }

    #[test]
    fn h1_durations_are_those_of_the_trackers_own_tests() {
        let way = [
            said("puptoo", "", "45:26.371"),
            said("puptoo", "", "45:36.341"),
            said("puptoo", "inventory", "45:38.975"),
            said("puptoo", "inventory", "45:33.350"),
            said("engine", "inventory", "45:39.374"),
            said("engine", "inventory", "45:39.975"),
        ];
        let durations = Durations::of(way);
        let texts: Vec<_> = durations
            .per_service
            .iter()
            .map(|(name, length)| (name.as_str(), hours_minutes_seconds(*length)))
            .collect();
        assert_eq!(
            texts,
            [
                ("engine:inventory", "00:00:00.601000".to_owned()),
                ("puptoo:inventory", "00:00:05.625000".to_owned()),
                ("puptoo:undefined", "00:00:09.970000".to_owned()),
            ]
        );
        assert_eq!(hours_minutes_seconds(durations.in_services), "00:00:16.196000");
        assert_eq!(hours_minutes_seconds(durations.total), "00:00:13.604000");
    }

    #[test]
    fn h1_the_current_the_last_and_the_previous_message() {
        let way = [
            said("ingress", "", "45:00"),
            said("puptoo", "", "45:01"),
            said("ingress", "", "45:02"),
            said("ingress", "", "45:03"),
        ];
        let place = Place::of(&way, &["puptoo".to_owned()]);
        assert_eq!(place, Place { last: Some(3), previous: Some(1), current: Some(1) });
        assert_eq!(Place::of(&way[..1], &[]), Place { last: Some(0), previous: None, current: None });
        assert_eq!(Place::of(&[], &[]), Place::default());
    }

    #[test]
    fn h2_dates_are_read_as_services_write_them() {
        let expected = Ok("2026-03-10T09:00:00.25Z".parse().unwrap());
        for text in [
            "2026-03-10T09:00:00.25Z",
            "2026-03-10 09:00:00.25",
            "2026-03-10T09:00:00.250",
            " 2026-03-10  09:00:00.25Z ",
            "2026-03-10T10:00:00.25+01:00",
            "2026-03-10 10:00:00.25+01:00",
            "2026-03-10t09:00:00.25z",
            "2026-03-10 04:00:00.25-0500",
            "2026-03-10\t17:00:00.25+08",
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
        for text in [
            "",
            "soon",
            "2026-03-10",
            "2026-13-10T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "0000-03-10T00:00:00Z",
            "2026-03-10T24:00:00Z",
            "2026-03-10T00:60:00Z",
            "2026-03-10T00:00:60Z",
            "2026-03-10T00:00.5Z",
            "2026-03-10T00:00:00.Z",
            "2026-03-10T00:00:00.1234567891Z",
            "2026-03-10T00:00:00 Z",
            "2026-03-10T00:00:00+16:00",
            "2026-03-10T00:00:00+1:00",
            "2026-03-10T00:00:00+",
            "2026-03-10T00:00:00é",
            "2026-03-1é00:00:00Z",
            "20260310T000000Z",
        ] {
            assert_eq!(date(text), Err(NoDate::Unreadable), "{text}");
        }
        for text in ["9999-12-30T00:00:00Z", "9999-12-31T23:59:59-15:00", "0001-01-01T00:00:00+01:00"] {
            assert_eq!(date(text), Err(NoDate::Range), "{text}");
        }
    }

    #[test]
    fn h1_hours_may_exceed_a_day_and_nothing_takes_no_time() {
        assert_eq!(hours_minutes_seconds(SignedDuration::new(30 * 3600 + 61, 1_000)), "30:01:01.000001");
        assert_eq!(Durations::of([]), Durations::default());
    }
}

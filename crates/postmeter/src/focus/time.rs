//! Times as exports write them. A zone is understood or refused by its name, never dropped.

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// How a date with slashes is read: the text does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dates {
    /// 09/18/2024, as Azure's older exports have it.
    MonthFirst,
    /// 18/09/2024.
    DayFirst,
}

/// A time of an export: a date, alone or with a time of day, and with a zone or without one, which means UTC (so says
/// FOCUS). Cut down to microseconds, so that the last moment of a month stays in it.
///
/// # Errors
/// The text is no time, or names a zone that cannot be told.
pub fn time(text: &str, dates: Option<Dates>) -> anyhow::Result<Timestamp> {
    let wrong = || format!("{text:?} is no time; expected 2024-09-18T22:00:00Z or 2024-09-18 22:00:00 (UTC)");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '/').unwrap_or(trimmed.len());
    let (day, rest) = trimmed.split_at(end);
    let date = date(day, dates, text)?;
    let rest = rest.strip_prefix(['T', 't']).unwrap_or(rest).trim_start();
    let (clock, zone) = clock(rest).with_context(wrong)?;
    let civil = date.to_datetime(clock);
    at(civil, zone).with_context(|| format!("{text:?}"))
}

fn date(day: &str, dates: Option<Dates>, text: &str) -> anyhow::Result<Date> {
    let wrong = || format!("{text:?} is no time; expected 2024-09-18T22:00:00Z or 2024-09-18 22:00:00 (UTC)");
    let parts: Vec<&str> = day.split(['-', '/']).collect();
    let number = |part: &str, length: std::ops::RangeInclusive<usize>| -> Option<i16> {
        length.contains(&part.len()).then(|| part.parse().ok())?
    };
    let read = |year, month, day, one: usize| {
        let (year, month, day) = (number(year, 4..=4)?, number(month, one..=2)?, number(day, one..=2)?);
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    let [a, b, c] = parts[..] else { bail!(wrong()) };
    if !day.contains('/') {
        return read(a, b, c, 2).with_context(wrong);
    }
    match dates {
        _ if a.len() == 4 => bail!(wrong()),
        Some(Dates::MonthFirst) => read(c, a, b, 1).with_context(|| format!("{text:?} is no date, month first")),
        Some(Dates::DayFirst) => read(c, b, a, 1).with_context(|| format!("{text:?} is no date, day first")),
        None => bail!("{text:?} does not say which is the month: give --dates month-first (Azure) or day-first"),
    }
}

/// The time of day, and what stands behind it. None, and it is midnight.
fn clock(rest: &str) -> Option<(Time, &str)> {
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    if clock.is_empty() {
        return Some((Time::midnight(), zone));
    }
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let number = |part: &str| (1..=2).contains(&part.len()).then(|| part.parse::<i8>().ok())?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] if fraction.is_empty() => (number(hour)?, number(minute)?, 0),
        [hour, minute, second] => (number(hour)?, number(minute)?, number(second)?),
        _ => return None,
    };
    // the clock of twelve hours, as spreadsheets write it
    let zone = zone.trim();
    let word = zone.get(..2).map(str::to_ascii_uppercase);
    let (hour, zone) = match word.as_deref() {
        Some("AM") if (1..=12).contains(&hour) => (hour % 12, &zone[2..]),
        Some("PM") if (1..=12).contains(&hour) => (hour % 12 + 12, &zone[2..]),
        _ => (hour, zone),
    };
    // further than microseconds nothing counts, and rounding could reach the next month
    let micros: i32 = format!("{:0<6}", &fraction[..fraction.len().min(6)]).parse().ok()?;
    Time::new(hour, minute, second, micros * 1000).ok().map(|time| (time, zone))
}

/// The moment that a clock in a zone shows.
fn at(civil: DateTime, zone: &str) -> anyhow::Result<Timestamp> {
    let name = zone.trim();
    let (offset, bracketed) = match name.split_once('[') {
        Some((offset, name)) => (offset.trim(), Some(name.strip_suffix(']').context("a bracket is never closed")?)),
        None => (name, None),
    };
    let fixed = fixed(offset);
    if let Some(fixed) = fixed {
        let moment = fixed.to_timestamp(civil)?;
        if let Some(name) = bracketed {
            let shown = named(name)?.to_datetime(moment);
            anyhow::ensure!(shown == civil, "the zone {name:?} has another offset than {offset} then");
        }
        return Ok(moment);
    }
    let name = match (offset, bracketed) {
        ("", None) => return Ok(Offset::UTC.to_timestamp(civil)?),
        ("", Some(name)) => name,
        (name, None) => name,
        (name, Some(_)) => bail!("the zone {name:?} cannot be told"),
    };
    let ambiguous = named(name)?.to_ambiguous_timestamp(civil);
    ambiguous.unambiguous().with_context(|| format!("clocks in {name} show that time twice, or never"))
}

/// An offset: `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`, `UTC+2`.
fn fixed(zone: &str) -> Option<Offset> {
    let upper = zone.to_ascii_uppercase();
    let rest = ["UTC", "GMT", "Z"].iter().find_map(|name| upper.strip_prefix(name));
    let rest = match rest {
        Some("") => return Some(Offset::UTC),
        Some(rest) if !upper.starts_with('Z') => rest.trim(),
        Some(_) => return None,
        None => upper.as_str(),
    };
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() == 4 => digits.split_at(2),
        None => (digits, "0"),
    };
    let number = |text: &str| (1..=2).contains(&text.len()).then(|| text.parse::<i32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 18 && minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

/// A zone by its name in the tz database. Shortenings are no names: CST is three zones.
fn named(name: &str) -> anyhow::Result<TimeZone> {
    if !name.contains('/') {
        bail!("the zone {name:?} cannot be told: names are UTC, +02:00 and such as Europe/Berlin");
    }
    TimeZone::get(name).with_context(|| format!("the zone {name:?} is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        time(text, None).map(|time| time.to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn l6_times_are_read_as_each_provider_writes_them() {
        for text in [
            "2024-09-18T22:00:00Z",
            "2024-09-18T22:00Z",
            "2024-09-18T22:00:00.000Z",
            "2024-09-18 22:00:00",
            "2024-09-18 22:00:00.000",
            "2024-09-18 22:00:00 UTC",
            "2024-09-18 22:00:00.000000 UTC",
            "2024-09-18 22:00:00+00",
            "2024-09-18T22:00:00+0000",
            "2024-09-18T22:00:00+00:00",
            "2024-09-19T00:00:00+02:00",
            "2024-09-19T00:00:00+02:00[Europe/Berlin]",
            "2024-09-19T00:00:00[Europe/Berlin]",
            "2024-09-19 00:00:00 Europe/Berlin",
            "2024-09-18 10:00:00 PM",
            "2024-09-18 15:00:00 America/Los_Angeles",
            " 2024-09-18t22:00:00z ",
        ] {
            assert_eq!(read(text).as_deref(), Ok("2024-09-18T22:00:00Z"), "{text}");
        }
        assert_eq!(read("2024-09-18").as_deref(), Ok("2024-09-18T00:00:00Z"));
        assert_eq!(read("2024-09-18 12:00 AM").as_deref(), Ok("2024-09-18T00:00:00Z"));
    }

    #[test]
    fn l6_a_zone_that_cannot_be_told_is_refused_by_its_name() {
        for (text, zone) in [
            ("2024-09-18 22:00:00 PST", "PST"),
            ("2024-09-18 22:00:00 CEST", "CEST"),
            ("2024-09-18T22:00:00[Mars/Base]", "Mars/Base"),
            ("2024-09-18T22:00:00+01:00[Europe/Berlin]", "Europe/Berlin"),
            ("2024-10-27 02:30:00 Europe/Berlin", "Europe/Berlin"),
            ("2024-03-31 02:30:00 Europe/Berlin", "Europe/Berlin"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(zone), "{text}: {said}");
        }
    }

    #[test]
    fn l6_what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "18.09.2024",
            "2024-9-18",
            "2024-09-31",
            "2024-09-18T24:00:00Z",
            "2024-09-18T23:59:60Z",
            "2024-09-18T22",
            "20240918T220000Z",
            "1726696800",
            "2024-09-18 13:00 PM",
            "2024/09/18",
            "2024-09-18T22:00:00Zulu",
            "2024-09-18T22:00:00+25:00",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn l6_a_date_with_slashes_is_not_guessed() {
        assert!(read("09/10/2024 22:00").unwrap_err().contains("--dates"));
        let with = |text, dates| time(text, Some(dates)).map(|time| time.to_string()).ok();
        assert_eq!(with("9/10/2024", Dates::MonthFirst).as_deref(), Some("2024-09-10T00:00:00Z"));
        assert_eq!(with("09/10/2024 1:00:00 PM", Dates::DayFirst).as_deref(), Some("2024-10-09T13:00:00Z"));
        assert_eq!(with("18/09/2024", Dates::MonthFirst), None);
    }

    #[test]
    fn the_last_moment_of_a_month_stays_in_it() {
        for text in
            ["2024-09-30 23:59:59.9999999", "2024-09-30T23:59:59.99999999999999Z", "2024-10-01T01:59:59.999999999+02"]
        {
            assert_eq!(read(text).as_deref(), Ok("2024-09-30T23:59:59.999999Z"), "{text}");
        }
    }
}

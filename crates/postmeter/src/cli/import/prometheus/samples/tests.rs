use super::*;

const INTERVAL: SignedDuration = SignedDuration::from_secs(30);

fn t(text: &str) -> Timestamp {
    format!("2024-09-18T{text}Z").parse().unwrap()
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// From nine to eleven.
fn read(kind: Kind) -> Samples {
    Samples::new(kind, INTERVAL, Hours { from: t("09:00:00"), until: t("11:00:00") })
}

/// A value every interval from one time until before another.
fn points(from: &str, until: &str, value: impl Fn(i64) -> String) -> Vec<(Timestamp, String)> {
    let (from, until) = (t(from), t(until));
    let count = (until.as_second() - from.as_second()) / 30;
    (0..count).map(|number| (from + INTERVAL * i32::try_from(number).unwrap(), value(number))).collect()
}

/// What the hours come to, in core-hours of a gauge or as a counter's growth.
fn hours(mut samples: Samples) -> Vec<(String, String)> {
    let unit = if samples.kind == Kind::Gauge { 3_600_000 } else { 1 };
    samples.settle(t("11:01:00"));
    let text = |sum: &Sum| sum.wrong.clone().unwrap_or_else(|| number::share(sum.total, unit, 6).unwrap().to_string());
    let sums = samples.finished(t("11:00:00"));
    sums.iter().map(|((hour, _), sum)| (hour.strftime("%H").to_string(), text(sum))).collect()
}

fn told(hours: &[(String, String)]) -> Vec<(&str, &str)> {
    hours.iter().map(|(hour, text)| (hour.as_str(), text.as_str())).collect()
}

fn constant(value: &'static str) -> impl Fn(i64) -> String {
    move |_| value.to_owned()
}

#[test]
fn l7_a_gauge_counts_for_the_time_that_it_was_there() {
    let mut samples = read(Kind::Gauge);
    // eight cores for ten minutes
    assert_eq!(samples.take(id(1), id(1), &points("09:20:07", "09:30:07", constant("8")), None), []);
    assert_eq!(told(&hours(samples)), [("09", "1.333333")]);
    // hours without a gap count whole, whatever the moments of scrapes are
    let mut samples = read(Kind::Gauge);
    samples.take(id(1), id(1), &points("08:59:17", "11:00:47", constant("8")), None);
    assert_eq!(told(&hours(samples)), [("09", "8"), ("10", "8")]);
}

#[test]
fn l7_a_series_that_goes_on_under_another_label_counts_once() {
    let mut samples = read(Kind::Gauge);
    samples.take(id(1), id(1), &points("08:59:30", "09:30:00", constant("4")), None);
    samples.take(id(1), id(2), &points("09:30:00", "10:00:30", constant("4")), None);
    assert_eq!(told(&hours(samples)), [("09", "4"), ("10", "0.033333")]);
}

#[test]
fn l7_a_gap_is_told_and_counts_for_nothing_over_an_hour_s_end_too() {
    let mut samples = read(Kind::Gauge);
    assert_eq!(samples.take(id(1), id(1), &points("08:59:30", "09:50:00", constant("6")), None), []);
    samples.settle(t("10:01:00"));
    let gaps = samples.take(id(1), id(1), &points("10:20:00", "11:01:00", constant("6")), None);
    assert_eq!(gaps, [Gap { from: t("09:50:00"), until: t("10:20:00"), grew: None }]);
    assert_eq!(told(&hours(samples)), [("09", "5"), ("10", "4")]);
    // a scrape that came late by less than half an interval is no gap
    let mut samples = read(Kind::Gauge);
    let mut late = points("09:00:00", "09:10:00", constant("6"));
    late[10].0 = late[9].0 + SignedDuration::from_secs(44);
    assert_eq!(samples.take(id(1), id(1), &late, None), []);
}

#[test]
fn l7_a_counter_counts_what_it_grew_by_and_begins_at_zero_after_a_reset() {
    let mut samples = read(Kind::Counter);
    let mut grows = points("08:59:30", "09:30:00", |n| (1_000_000 + n * 30).to_string());
    grows.extend(points("09:30:00", "11:00:30", |n| (n * 15 + 5).to_string()));
    assert_eq!(samples.take(id(1), id(1), &grows, None), []);
    // 59 steps of thirty until 09:29:30, five at the reset, sixty of fifteen until ten, then 120
    assert_eq!(told(&hours(samples)), [("09", "2675"), ("10", "1800")]);
    let mut samples = read(Kind::Counter);
    let mut gap = points("09:00:00", "09:10:00", |n| (n * 30).to_string());
    gap.extend(points("09:20:00", "09:30:00", |n| (2000 + n * 30).to_string()));
    let gaps = samples.take(id(1), id(1), &gap, None);
    let grew = Some(number::sample("1430").unwrap());
    assert_eq!(gaps, [Gap { from: t("09:09:30"), until: t("09:20:00"), grew }]);
    assert_eq!(told(&hours(samples)), [("09", "1140")]);
}

#[test]
fn l7_what_an_hour_comes_to_does_not_depend_on_where_reading_began_or_was_cut() {
    let all = points("08:00:11", "11:30:00", |n| (n % 7).to_string());
    for kind in [Kind::Gauge, Kind::Counter] {
        let mut whole = read(kind);
        whole.take(id(1), id(1), &all, None);
        let mut cut = read(kind);
        let near: Vec<_> = all.iter().filter(|(at, _)| *at > t("08:59:00")).cloned().collect();
        for part in near.chunks(13) {
            cut.take(id(1), id(1), part, None);
            cut.settle(part.last().unwrap().0);
        }
        assert_eq!(hours(cut), hours(whole));
    }
}

#[test]
fn l7_another_interval_than_the_samples_have_is_refused() {
    for (seconds, fits) in [(15, false), (20, true), (30, true), (45, true), (46, false), (3600, false)] {
        let mut samples = read(Kind::Gauge);
        let usual = Some(SignedDuration::from_secs(seconds));
        samples.take(id(1), id(1), &points("09:00:00", "09:01:00", constant("1")), usual);
        let hours = hours(samples);
        assert_eq!(hours[0].1.contains("apart, and --interval says 30s"), !fits, "{seconds}: {hours:?}");
    }
    // what the last sample before an hour's end counts for after it is not counted either
    let mut samples = read(Kind::Gauge);
    samples.take(id(1), id(1), &points("09:59:00", "10:00:00", constant("1")), Some(INTERVAL * 2));
    samples.last.get_mut(&id(1)).unwrap().at += SignedDuration::from_secs(20);
    let hours = hours(samples);
    assert!(hours.iter().all(|(_, text)| text.contains("apart")), "{hours:?}");
    let (a, b) = (points("09:00:00", "09:05:00", constant("1")), points("09:00:00", "09:00:30", constant("1")));
    assert_eq!(usual([a.as_slice(), b.as_slice()].into_iter()), [Some(INTERVAL), Some(INTERVAL)]);
    assert_eq!(usual(std::iter::once(b.as_slice())), [None]);
}

#[test]
fn l7_a_sample_that_is_no_number_spoils_its_hour_alone() {
    let mut samples = read(Kind::Gauge);
    let mut odd = points("08:59:30", "11:00:30", constant("2"));
    // one is the marker of a series' end, as VictoriaMetrics shows it, and no sample
    odd[4].1 = "NaN".to_owned();
    odd[20].1 = "NaN".to_owned();
    let mut marked = read(Kind::Gauge);
    let gaps = marked.take(id(1), id(1), &odd, None);
    assert_eq!((gaps.len(), told(&hours(marked))), (2, vec![("09", "1.966667"), ("10", "2")]));
    odd[5].1 = "NaN".to_owned();
    samples.take(id(1), id(1), &odd, None);
    let hours = hours(samples);
    assert!(hours[0].1.contains("is NaN"), "{hours:?}");
    assert_eq!(hours[1].1, "2");
}

#[test]
fn l7_a_series_that_is_told_twice_counts_once_or_not_at_all() {
    for kind in [Kind::Gauge, Kind::Counter] {
        let all = points("08:59:30", "10:00:30", |n| (7 + n).to_string());
        let once = |mut samples: Samples| {
            samples.take(id(1), id(1), &all, None);
            samples
        };
        // two lines of one series in an answer, or one that is out of order
        let mut twice = once(read(kind));
        twice.take(id(1), id(1), &all, None);
        assert!(hours(twice)[0].1.contains("behind another one"), "{kind:?}");
        let mut odd = all.clone();
        odd.swap(20, 21);
        let mut samples = read(kind);
        samples.take(id(1), id(1), &odd, None);
        assert!(hours(samples)[0].1.contains("behind another one"), "{kind:?}");
        // two values at one time
        let mut two = all.clone();
        two.insert(20, (all[20].0, "1".to_owned()));
        let mut samples = read(kind);
        samples.take(id(1), id(1), &two, None);
        assert!(hours(samples)[0].1.contains("behind another one"), "{kind:?}");
        // the very same sample, and a line that goes on where another one ends
        let mut same = read(kind);
        for (at, text) in &all {
            same.take(id(1), id(1), &[(*at, text.clone()), (*at, text.clone())], None);
        }
        assert_eq!(hours(same), hours(once(read(kind))), "{kind:?}");
    }
}

//! Catalogue files from text to plan, without a database.

use jiff::Timestamp;
use outbox::catalogue::{Canonical, Kind, Stored};
use serde_json::Value;

use super::check::{check, metered, ranges};
use super::plan::{Plan, Step, plan, stored_entry};
use super::read::{Entry, read};
use super::{apply, render};

const NOW: &str = "2024-10-10T10:20:00Z";

const FILE: &str = r#"
[[destination]]
name = "aws"
kind = "aws"
settings = { region = "us-east-1" }
[[dimension]]
destination = "aws"
product = "storage"
metric = "gb"
name = "units"
factor = "1/4"
valid_from = "2024-09"
[[subscription]]
org = "acme"
product = "storage"
destination = "aws"
identity = { product_code = "p", customer_aws_account_id = "111122223333" }
valid_from = 2024-09-01T00:00:00Z
covers = { gb = "100" }
[[exempt]]
org = "ours"
reason = "tests"
"#;

fn entries(text: &str) -> Vec<Entry> {
    let (entries, problems) = read(text);
    assert!(problems.is_empty(), "{problems:?}");
    entries
}

/// What a database holds after a file was applied to an empty one; `in_use`: and usage was counted.
fn stored(text: &str, in_use: bool) -> Vec<Stored> {
    let (plan, _) = planned(text, Vec::new(), false);
    let readings = check(&plan).readings;
    let canonical = |entry: &Entry| {
        let named = |name: &serde_json::Map<String, Value>| {
            name.iter().all(|(field, value)| entry.fields.get(field) == Some(value))
        };
        let reading = readings.iter().find(|(name, _)| entry.kind == Kind::Subscription && named(name));
        reading.map(|(_, canonical): &(_, Canonical)| canonical.clone())
    };
    let store = |(id, change): (i64, &super::plan::Change)| Stored {
        kind: change.entry.kind,
        id,
        fields: change.entry.fields.clone(),
        in_use,
        is_counting: in_use,
        canonical: canonical(&change.entry),
        invalid: None,
    };
    (1..).zip(&plan.changes).map(store).collect()
}

fn planned(text: &str, stored: Vec<Stored>, prune: bool) -> (Plan, Vec<String>) {
    let (plan, problems) = plan(entries(text), stored, prune, NOW.parse::<Timestamp>().unwrap());
    (plan, problems.iter().map(ToString::to_string).collect())
}

/// Everything that a file is refused for, read and checked against what is stored.
fn refused(text: &str, stored: Vec<Stored>) -> Vec<String> {
    let (entries, mut problems) = read(text);
    let (plan, refused) = plan(entries, stored, false, NOW.parse().unwrap());
    problems.extend(refused);
    problems.extend(check(&plan).problems);
    problems.iter().map(ToString::to_string).collect()
}

/// That a change of the file is refused with one sentence of this beginning.
fn refuses(from: &str, to: &str, stored: Vec<Stored>, beginning: &str) {
    assert!(FILE.contains(from), "{from}");
    let problems = refused(&FILE.replace(from, to), stored);
    let [problem] = problems.as_slice() else { panic!("{to}: {problems:?}") };
    let said = problem.split_once(": ").map_or(problem.as_str(), |(_, rest)| rest);
    assert!(said.starts_with(beginning), "{to}: {problem}");
}

#[test]
fn the_documented_example_is_a_catalogue() {
    let page = include_str!("../../../../../docs/catalogue.md");
    let example = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let (plan, problems) = planned(example, Vec::new(), false);
    assert_eq!((problems, check(&plan).problems), (vec![], vec![]));
    let said: usize = plan.standing.iter().map(|standing| standing.entry.lines.len() - 1).sum();
    let known: usize = Kind::ALL.iter().map(|kind| super::spec::fields(*kind).len()).sum();
    assert!(said >= known, "every field is shown: {said} of {known}");
    let defaults = example
        .split("# What follows may be left out.")
        .nth(1)
        .and_then(|rest| rest.split("[[").next())
        .expect("defaults");
    for line in defaults.lines().filter(|line| line.contains(" = ")) {
        let without = example.replace(line, "");
        assert_eq!(
            planned(&without, stored(example, false), false).0.changes.len(),
            0,
            "the default is as documented: {line}"
        );
    }
}

#[test]
fn k13_a_limit_that_holds_everything_or_nothing_is_refused_by_its_field() {
    let with = |field: &str| format!("factor = \"1/4\"\n{field}");
    for (field, beginning) in [
        ("max_quantity = 0", "dimension aws, storage, gb, 2024-09: max_quantity must be more than 0"),
        ("times_usual = 1", "dimension aws, storage, gb, 2024-09: times_usual must be more than 1"),
        ("hour_alert = \"0.0\"", "dimension aws, storage, gb, 2024-09: hour_alert must be more than 0"),
        ("max_quantity = 1.5", "dimension aws, storage, gb, 2024-09: max_quantity must be written in quotes"),
        ("times_usual = \"-3\"", "dimension aws, storage, gb, 2024-09: times_usual must not be negative"),
        ("max_quantity = \"10000000000000000\"", "dimension aws, storage, gb, 2024-09: max_quantity"),
    ] {
        refuses("factor = \"1/4\"", &with(field), Vec::new(), beginning);
    }
    // on a metered month they may come, change and go
    let file = FILE.replace("factor = \"1/4\"", &with("max_quantity = 100\ntimes_usual = \"2.5\""));
    let (plan, problems) = planned(&file, stored(FILE, true), false);
    assert_eq!((problems, check(&plan).problems, ranges(&plan).len()), (vec![], vec![], 0));
    assert_eq!(
        render::diff(&plan),
        ["~ dimension aws, storage, gb, 2024-09: max_quantity \"none\" -> \"100\", times_usual \"none\" -> \"2.5\""]
    );
    let shadow = format!(
        "{FILE}\n[[destination]]\nname = \"trial\"\nkind = \"aws\"\nshadow_of = \"aws\"\nsettings = {{ region = \"us-east-1\" }}\n\
         [[dimension]]\ndestination = \"trial\"\nproduct = \"storage\"\nmetric = \"gb\"\nname = \"units\"\nmax_quantity = 100\n"
    );
    let [problem] = &refused(&shadow, Vec::new())[..] else { panic!("one problem") };
    assert!(problem.contains("max_quantity is for what is sent, and a shadow sends nothing"), "{problem}");
}

#[test]
fn k12_zero_is_refused_where_nobody_takes_it() {
    let sends = FILE.replace("factor = \"1/4\"", "zero = \"send\"");
    assert!(refused(&sends, Vec::new()).is_empty());
    let azure = sends
        .replace(
            "kind = \"aws\"\nsettings = { region = \"us-east-1\" }",
            "kind = \"azure\"\nsettings = { profile = \"main\" }",
        )
        .replace(
            "{ product_code = \"p\", customer_aws_account_id = \"111122223333\" }",
            "{ resource_id = \"11112222-3333-4444-5555-666677778888\", plan_id = \"gold\" }",
        );
    assert_eq!(
        refused(&azure, Vec::new()),
        [
            "line 11: dimension aws, storage, gb, 2024-09: zero cannot be send: the marketplace of aws takes no report of zero; leave it out"
        ]
    );
    refuses(
        "factor = \"1/4\"",
        "zero = \"always\"",
        Vec::new(),
        "dimension aws, storage, gb, 2024-09: zero must be one of skip, send",
    );
    let other = format!(
        "{sends}\n[[dimension]]\ndestination = \"aws\"\nproduct = \"storage\"\nmetric = \"tb\"\nname = \"units\"\nvalid_from = \"2024-09\"\n"
    );
    let [problem] = &refused(&other, Vec::new())[..] else { panic!("one problem") };
    assert!(problem.contains("and each hour of it is reported once"), "{problem}");
}

#[test]
fn d6_the_documented_google_part_is_a_catalogue_with_googles_defaults() {
    let guide = include_str!("../../../../../docs/catalogue.md");
    let (_, part) = guide.split_once("## Google").unwrap();
    let text = part.split_once("```toml").and_then(|(_, from)| from.split_once("```")).unwrap().0;
    assert_eq!(refused(text, Vec::new()), [""; 0]);
    let destination = &entries(text)[0].fields;
    let field = |name: &str| destination.get(name).map(ToString::to_string).unwrap_or_default();
    let defaults = ["zone", "age_limit", "month_cutoff", "closing_window", "memory", "records_max"].map(field);
    let expected = [r#""America/Los_Angeles""#, r#""2h""#, r#""1h""#, r#""1h""#, r#""1h""#, "1"];
    assert_eq!(defaults, expected);
    let more = |records: u32| text.replace("[[dimension]]", &format!("records_max = {records}\n[[dimension]]"));
    assert_eq!(refused(&more(100), Vec::new()), [""; 0]);
    assert_eq!(refused(&more(101), Vec::new()).len(), 1);
}

#[test]
fn applied_again_or_shown_and_applied_nothing_changes() {
    let (plan, _) = planned(FILE, stored(FILE, true), true);
    assert!(plan.changes.is_empty() && plan.kept.is_empty() && check(&plan).readings.is_empty());
    let shown: Vec<Entry> = stored(FILE, true).iter().map(stored_entry).collect();
    let (plan, _) = planned(&render::toml(&shown, true), stored(FILE, true), true);
    assert_eq!(render::diff(&plan), Vec::<String>::new());
}

#[test]
fn the_difference_shows_old_and_new() {
    let changed =
        FILE.replace("\"100\"", "50").replace("kind = \"aws\"", "kind = \"aws\"\ngrace = \"300s\"\nlead = \"1h\"");
    let (plan, _) = planned(&changed, stored(FILE, true), false);
    let lines = [
        "~ destination aws: lead \"30m\" -> \"1h\"",
        "~ subscription acme, storage, aws, 2024-09-01T00:00:00Z: covers { gb = \"100\" } -> { gb = \"50\" }",
    ];
    assert_eq!(render::diff(&plan), lines);
    let added = render::diff(&planned(FILE, Vec::new(), false).0);
    assert_eq!(added.first().map(String::as_str), Some("+ quota aws: calls_per_second \"10\""), "a quota of its own");
    assert_eq!(added.len(), 5);
}

#[test]
fn k3_another_contract_is_shown_and_counts_from_the_next_month_on() {
    let named = FILE.replace("covers =", "contract = \"gold\"\ncovers =");
    let (plan, _) = planned(&named, stored(FILE, true), false);
    let name = "subscription acme, storage, aws, 2024-09-01T00:00:00Z";
    assert_eq!(render::diff(&plan), [format!("~ {name}: contract \"none\" -> \"gold\"")]);
    let note = |from: &str, to: &str| {
        format!(
            "{name}: another contract, {to} instead of {from}, from the next month on: this month is metered already and \
             goes on with its cover and rounding"
        )
    };
    assert_eq!(check(&plan).notes.last(), Some(&note("that of its buyer", "\"gold\"")));
    let (plan, _) = planned(FILE, stored(&named, true), false);
    assert_eq!(check(&plan).notes.last(), Some(&note("\"gold\"", "that of its buyer")));
    let (plan, _) = planned(FILE, stored(&named, false), false);
    assert!(!check(&plan).notes.iter().any(|note| note.contains("contract")), "not metered: it counts at once");
    let long = "x".repeat(64);
    for wrong in ["", " ", "a/b", "#1", "-a", "a\u{202e}b", &long] {
        let line = format!("contract = \"{wrong}\"\ncovers =");
        refuses("covers =", &line, vec![], &format!("{name}: contract must be a name of 1 to 63 of A-Z, a-z, 0-9"));
    }
}

#[test]
fn what_the_file_does_not_mention_stays_unless_it_is_pruned() {
    let (short, _) = FILE.split_once("[[subscription]]").unwrap();
    let (plan, _) = planned(short, stored(FILE, true), false);
    assert_eq!((plan.changes.len(), plan.kept.len()), (0, 2));
    let (plan, problems) = planned(short, stored(FILE, true), true);
    let steps: Vec<_> = plan.changes.iter().map(|change| (change.step, change.entry.text("valid_until"))).collect();
    assert_eq!(steps, [(Step::End, "2024-10-10T11:00:00Z"), (Step::End, "2024-10-10T11:00:00Z")], "{problems:?}");
    let (plan, _) = planned(short, stored(FILE, false), true);
    assert_eq!(
        plan.changes.iter().map(|change| change.step).collect::<Vec<_>>(),
        [Step::Remove, Step::End],
        "never counted by"
    );
    let (_, problems) = planned("", stored(FILE, true), true);
    assert_eq!(problems.len(), 2, "destination and quota in use: {problems:?}");
}

#[test]
fn what_is_inconsistent_is_refused_by_name() {
    refuses("kind = \"aws\"", "kind = \"awz\"", vec![], "destination aws: kind is no marketplace; there are: aws");
    refuses("us-east-1", "US", vec![], "destination aws: settings.region is no region's name");
    refuses(
        "destination = \"aws\"\nproduct = \"storage\"\nmetric",
        "destination = \"was\"\nproduct = \"storage\"\nmetric",
        vec![],
        "dimension was, storage, gb, 2024-09: destination names no destination: \"was\"; did you mean \"aws\"?",
    );
    refuses("factor = \"1/4\"", "factor = 0.25", vec![], "dimension aws, storage, gb, 2024-09: factor must be a ratio");
    refuses(
        "factor = \"1/4\"",
        "factro = \"1/4\"",
        vec![],
        "dimension aws, storage, gb, 2024-09: factro is no field of a dimension; did you mean factor?",
    );
    refuses(
        "111122223333",
        "1111",
        vec![],
        "subscription acme, storage, aws, 2024-09-01T00:00:00Z: identity is refused: customer_aws_account_id",
    );
    refuses(
        "{ gb =",
        "{ gib =",
        vec![],
        "subscription acme, storage, aws, 2024-09-01T00:00:00Z: covers names metric \"gib\", for which \
         product storage has no dimension; did you mean \"gb\"?",
    );
    refuses("[[exempt]]", "[[exmpt]]", vec![], "[[exmpt]]: is no kind of entry; did you mean [[exempt]]?");
    refuses(
        "[[exempt]]",
        "[[quota]]\nname = \"x\"\n[[quota]]\nname = \"x\"\n[[exempt]]",
        vec![],
        "quota x: stands in the file twice, first in line 20",
    );
}

#[test]
fn f6_one_subscription_and_one_identity_form_in_an_hour() {
    let second = |org: &str, from: &str, identity: &str| {
        format!(
            "{FILE}[[subscription]]\norg = \"{org}\"\nproduct = \"storage\"\ndestination = \"aws\"\n\
             valid_from = {from}\nidentity = {identity}\n"
        )
    };
    let same = r#"{ product_code = "p", customer_aws_account_id = "111122223333" }"#;
    let legacy = r#"{ product_code = "p", customer_identifier = "111122223333" }"#;
    let problems = refused(&second("acme", "2025-01-01", same), vec![]);
    assert!(
        matches!(problems.as_slice(), [one] if one.contains("valid_from overlaps subscription acme")),
        "{problems:?}"
    );
    assert_eq!(refused(&second("other", "2025-01-01", same), vec![]), Vec::<String>::new(), "orgs may share a buyer");
    let problems = refused(&second("other", "2025-01-01", legacy), vec![]);
    assert!(matches!(problems.as_slice(), [one] if one.contains("the buyer would be billed twice")), "{problems:?}");
    let ended = second("acme", "2025-01-01", legacy).replace("covers", "valid_until = 2025-01-01T00:00:00Z\ncovers");
    assert_eq!(refused(&ended, vec![]), Vec::<String>::new(), "one form ends as the other begins");
}

#[test]
fn what_was_counted_by_is_not_changed_under_its_feet() {
    let used = || stored(FILE, true);
    refuses(
        "us-east-1",
        "us-west-2",
        used(),
        "subscription acme, storage, aws, 2024-09-01T00:00:00Z: destination now reads its buyer as",
    );
    refuses(
        "kind = \"aws\"",
        "kind = \"aws\"\nzone = \"America/Los_Angeles\"",
        used(),
        "destination aws: zone cannot change from \"UTC\"",
    );
    refuses(
        "customer_aws_account_id",
        "customer_identifier",
        used(),
        "subscription acme, storage, aws, 2024-09-01T00:00:00Z: identity cannot change its form from product_account",
    );
    assert_eq!(
        refused(&FILE.replace("us-east-1", "us-west-2"), stored(FILE, false)),
        Vec::<String>::new(),
        "nothing counted yet"
    );
}

#[test]
fn k4_factor_and_rounding_change_only_at_a_new_month() {
    let say = |text: &str| {
        let (plan, _) = planned(text, stored(FILE, true), false);
        let counted = ranges(&plan);
        // usage of September was metered: asked for a range that begins by then, the database names it
        let months = |counted: &super::check::Counted<'_>| {
            (counted.months.from.as_str() <= "2024-09").then(|| ("2024-09".to_owned(), "2024-09".to_owned()))
        };
        let months: Vec<_> = counted.iter().map(months).collect();
        metered(&counted, &months).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let changed = say(&FILE.replace("1/4", "1/2"));
    assert!(
        matches!(changed.as_slice(), [one] if one.contains("factor cannot change: usage of 2024-09 was metered")),
        "{changed:?}"
    );
    assert_eq!(say(&FILE.replace("2/8", "1/4")), Vec::<String>::new());
    let priced = FILE.replace("name = \"units\"", "name = \"units\"\nunit_price = \"1\"\ncurrency = \"USD\"");
    assert_eq!(say(&priced), Vec::<String>::new(), "a price is for information");
    let later = format!(
        "{FILE}[[dimension]]\ndestination = \"aws\"\nproduct = \"storage\"\nmetric = \"gb\"\n\
         name = \"units\"\nvalid_from = \"2024-10\"\n"
    );
    assert_eq!(say(&later), Vec::<String>::new(), "a new month, a new factor");
}

#[test]
fn b12_metrics_that_share_a_dimension_round_alike_in_every_month() {
    let second = |from: &str, rounding: &str| {
        format!(
            "{FILE}[[dimension]]\ndestination = \"aws\"\nproduct = \"storage\"\nmetric = \"mb\"\n\
             name = \"units\"\nrounding = {rounding:?}\nvalid_from = {from:?}\n"
        )
    };
    assert_eq!(refused(&second("2024-10", "up"), vec![]), Vec::<String>::new());
    let problems = refused(&second("2024-10", "down"), vec![]);
    assert!(
        matches!(problems.as_slice(), [one] if one.contains("rounding must be that of") && one.contains("2024-10")),
        "{problems:?}"
    );
}

#[test]
fn changes_carry_whole_entries_and_how_identities_read() {
    let (plan, _) = planned(FILE, Vec::new(), false);
    let changes = apply::changes(&plan, check(&plan).readings);
    assert_eq!((changes.add.len(), changes.change.len(), changes.remove.len()), (5, 0, 0));
    let [(name, canonical)] = changes.readings.as_slice() else { panic!("{:?}", changes.readings) };
    assert_eq!(
        (name.get("org"), canonical.buyer.as_str()),
        (Some(&Value::from("acme")), "aws/us-east-1/p/111122223333")
    );
}

const SHADOW: &str = r#"
[[destination]]
name = "trial"
kind = "aws"
shadow_of = "aws"
settings = { region = "us-east-1" }
[[dimension]]
destination = "trial"
product = "storage"
metric = "gb"
name = "units"
factor = "1/2"
[[subscription]]
org = "acme"
product = "storage"
destination = "trial"
identity = { product_code = "p", customer_aws_account_id = "111122223333" }
valid_from = 2024-09-01T00:00:00Z
"#;

#[test]
fn a_shadow_counts_beside_the_live_subscription_and_stays_a_shadow_that_never_calls() {
    let both = format!("{FILE}{SHADOW}");
    assert_eq!(refused(&both, vec![]), Vec::<String>::new(), "no overlap with the live subscription");
    assert!(planned(&both, stored(&both, true), false).0.changes.is_empty(), "and applied once");
    let (plan, _) = planned(&both, vec![], false);
    let shadow = plan
        .changes
        .iter()
        .find(|change| change.entry.text("name") == "trial" && change.entry.kind == Kind::Destination);
    assert_eq!(shadow.unwrap().entry.fields["dry_run"], true);
    let twice = both.replace("factor = \"1/2\"", "factor = \"1/2\"\n[[subscription]]\norg = \"acme\"\nproduct = \"storage\"\ndestination = \"trial\"\nidentity = { product_code = \"q\", customer_aws_account_id = \"111122223333\" }\nvalid_from = 2024-10-01T00:00:00Z");
    let wrong = |text: &str, old: Vec<Stored>, with: &str| {
        let problems = refused(text, old);
        assert!(matches!(problems.as_slice(), [one] if one.contains(with)), "{with}: {problems:?}");
    };
    wrong(&twice, vec![], "valid_from overlaps subscription acme");
    wrong(
        &both.replace("shadow_of = \"aws\"", "shadow_of = \"aw\""),
        vec![],
        "shadow_of names no destination: \"aw\"; did you mean \"aws\"?",
    );
    wrong(&both.replace("shadow_of = \"aws\"", "shadow_of = \"trial\""), vec![], "must name a live destination");
    wrong(&both.replace("shadow_of = \"aws\"", "shadow_of = \"aws\"\ndry_run = false"), vec![], "a shadow never calls");
    let third = format!(
        "{both}[[destination]]\nname = \"third\"\nkind = \"aws\"\nshadow_of = \"trial\"\nsettings = {{ region = \"us-east-1\" }}"
    );
    wrong(&third, vec![], "must name a live destination");
    let live = both.replace("shadow_of = \"aws\"\n", "");
    assert!(refused(&live, stored(&both, false)).iter().any(|one| one.contains("shadow_of cannot change")));
}

#[test]
fn h10_a_route_is_read_and_refused_by_its_field() {
    let text = format!("{FILE}[[route]]\nafter = \"ingress\"\nservice = \"puptoo\"\nwithin = \"10m\"\n");
    let route = entries(&text).into_iter().find(|entry| entry.kind == Kind::Route).expect("a route");
    assert_eq!((route.text("status"), route.text("within")), ("success", "10m"));
    assert_eq!(route.name(), "route ingress, success, puptoo");
    for (from, to, sentence) in [
        ("\"ingress\"", "\"Ingress\"", "after must be in lower case: \"ingress\""),
        ("\"puptoo\"", "\"ingress\"", "service must be another service than `after`"),
    ] {
        let (plan, _) = planned(&text.replacen(from, to, 1), Vec::new(), false);
        let problems: Vec<String> = check(&plan).problems.iter().map(ToString::to_string).collect();
        assert!(problems.iter().any(|problem| problem.ends_with(sentence)), "{problems:?}");
    }
}

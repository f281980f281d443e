//! Names beside the settings: variables that are somebody else's, and what a wrong name was meant to be.

/// Variables of tests, the demo, the command line itself, and of credentials whose profile a destination names.
const OTHERS: &[&str] = &["POSTMETER_CONFIG", "POSTMETER_CRASH", "POSTMETER_PG_BIN", "POSTMETER_SKIPS"];
const OTHER_FAMILIES: &[&str] = &[
    "POSTMETER_AZURE_",
    "POSTMETER_GOOGLE_",
    "POSTMETER_DEMO_",
    "POSTMETER_TEST_",
    "POSTMETER_CRASH_",
    "POSTMETER_PROMETHEUS_",
];

/// A variable that begins like ours and is none of our settings, yet no mistake: of tests and the demo, or what
/// Kubernetes puts in the environment of every pod beside a service called `postmeter`.
pub(super) fn is_foreign(name: &str) -> bool {
    let parts: Vec<&str> = name.split('_').collect();
    let is_link = name.ends_with("_PORT")
        || parts.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]))
        || parts.windows(3).any(|three| {
            matches!(three, ["PORT", number, "TCP" | "UDP" | "SCTP"] if number.bytes().all(|b| b.is_ascii_digit()))
        });
    is_link || OTHERS.contains(&name) || OTHER_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// The known name that is most like a wrong one, if any is alike.
pub(in crate::cli) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    // alike from the beginning, or a slip of the fingers apart
    let likeness = |name: &str| {
        let (name, slips) = (name.to_lowercase(), 1 + wrong.chars().count() / 4);
        let is_alike =
            strsim::jaro_winkler(&wrong, &name) > 0.75 || strsim::damerau_levenshtein(&wrong, &name) <= slips;
        is_alike.then(|| strsim::jaro_winkler(&wrong, &name))
    };
    let alike = known.into_iter().filter_map(|name| Some((likeness(name)?, name)));
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

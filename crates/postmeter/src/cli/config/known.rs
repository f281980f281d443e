//! The settings there are.

/// Sections with their settings; the environment's name of each is `POSTMETER_<SECTION>_<SETTING>`.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("database", &["url", "url_file", "direct_url", "direct_url_file", "tls_authority", "pooled", "connections_max"]),
    ("worker", &["name", "lease_seconds", "poll_ms", "fold_max", "cut_max", "stop_within_seconds"]),
    (
        "console",
        &[
            "listen",
            "body_bytes_max",
            "rows_max",
            "intake_at_once_max",
            "streams_at_once_max",
            "events_at_once_max",
            "static_dir",
            "requests_per_minute",
            "guesses_per_minute",
            "tracker_access",
            "tracker_requests_per_minute",
            "trusted_proxies",
            "archive_url",
            "archive_role",
            "kibana_url",
        ],
    ),
    ("log", &["level", "format"]),
];

/// Variables of tests, the demo, the command line itself, and of credentials whose profile a destination names.
const OTHERS: &[&str] = &["POSTMETER_CONFIG", "POSTMETER_CRASH", "POSTMETER_PG_BIN", "POSTMETER_SKIPS"];
const OTHER_FAMILIES: &[&str] = &["POSTMETER_AZURE_", "POSTMETER_DEMO_", "POSTMETER_TEST_", "POSTMETER_CRASH_"];

/// The environment's name of a setting.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("POSTMETER_{section}_{key}").to_ascii_uppercase()
}

/// The setting of a variable.
pub(super) fn setting(variable_name: &str) -> Option<(&'static str, &'static str)> {
    let all = SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(|key| (*section, *key)));
    all.into_iter().find(|(section, key)| variable(section, key) == variable_name)
}

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

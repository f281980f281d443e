//! `docs/configuration.md` against the settings there are.

use super::{read, root};

const BEGIN: &str = "<!-- the table of settings: written by `make schema` -->\n";
const END: &str = "<!-- its end -->\n";

#[test]
fn the_committed_settings_are_those_of_the_code() {
    let page = read("docs/configuration.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (table, after) = rest.split_once(END).expect("where it ends");
    let made = postmeter::cli::settings_reference();
    if std::env::var_os("POSTMETER_BLESS").is_some() {
        let page = format!("{before}{BEGIN}\n{made}\n{END}{after}");
        std::fs::write(root().join("docs/configuration.md"), page).expect("the page is written");
        return;
    }
    assert_eq!(table.trim(), made.trim(), "run `make schema`");
}

//! Migrations that were released stay as they are.

use std::collections::BTreeSet;

use outbox::migrate::MIGRATIONS;

const LIST: &str = include_str!("../../../sql/migrations/frozen.txt");

#[test]
fn f9_each_migration_is_what_the_list_of_frozen_ones_says() {
    let made: BTreeSet<String> = MIGRATIONS.iter().map(|m| format!("{}  {}.sql", m.checksum(), m.name)).collect();
    let listed: BTreeSet<String> = LIST.lines().map(str::to_owned).collect();
    assert_eq!(
        made, listed,
        "a migration on main never changes, and a new one has a line in sql/migrations/frozen.txt (sha256sum)"
    );
}

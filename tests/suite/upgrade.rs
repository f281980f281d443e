//! F9 and what an upgrade rests on: each migration states its locks, older programs work beside what only adds, and what
//! would break them waits.

mod adopt;
mod beside;
mod frozen;
mod locks;
mod rollout;
mod steps;

use outbox::migrate::{MIGRATIONS, Migration};

/// A migration of no release, as a later program would bring it.
fn later(version: i32, name: &'static str, head: &str, body: &str) -> Migration {
    let sql = format!(
        "-- {name}: rehearses an upgrade.\n{head}\n\n{body}\n\ninsert into postmeter.migration (version, name) values ({version}, '{name}');\n"
    );
    Migration { version, name, sql: Box::leak(sql.into_boxed_str()) }
}

/// The newest migration that this program knows.
fn newest() -> i32 {
    MIGRATIONS.last().expect("migrations").version
}

/// What a later program knows: all of ours, and more.
fn known_later(more: &[Migration]) -> Vec<Migration> {
    MIGRATIONS.iter().chain(more).copied().collect()
}

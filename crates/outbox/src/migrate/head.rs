//! What the head of a migration states: which programs work on the schema after it, and which locks it takes.
//!
//! ```text
//! -- 0042_pre_example: adds a column.
//! -- programs: from 0041
//! -- lock: access exclusive on delivery, for a moment: a column without a default
//! -- transaction: none
//! ```
//!
//! `programs: from` names the newest migration that a program must know at least; one that only adds keeps the number of
//! the one before it, one that takes away names the first release that no longer uses what goes. `lock: none` or a line
//! for each table that was there before and is locked against writers or readers. `transaction: none` only where one is
//! impossible (`create index concurrently`). A test runs every migration and compares.

/// What a migration's head states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Programs whose newest migration is this one or a later one work on the schema after it.
    pub programs_from: i32,
    /// It runs in one transaction, or statement by statement.
    pub is_transaction: bool,
    /// The locks against writers or readers that it takes on tables that were there before.
    pub locks: Vec<Lock>,
}

/// A lock that a migration takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// As Postgres calls it, in small letters: `access exclusive`.
    pub mode: String,
    /// The table or view, without schema; partitions go by their parent.
    pub table: String,
    /// It is held while the table is read or written whole; otherwise for a moment.
    pub grows: bool,
    /// What for.
    pub why: String,
}

/// How long a lock is held that does not depend on the table's size.
const MOMENT: &str = "for a moment";
/// How long one is held that does.
const GROWS: &str = "grows with its rows";

/// The modes that keep writers or readers out, as Postgres calls them.
const MODES: [&str; 4] = ["share", "share row exclusive", "exclusive", "access exclusive"];

impl Head {
    /// Reads the head of a migration's file.
    ///
    /// # Errors
    /// What is missing or malformed, in a sentence.
    pub fn read(sql: &str) -> Result<Self, String> {
        let (mut programs, mut is_transaction, mut locks, mut none) = (None, true, Vec::new(), false);
        for line in sql.lines().skip(1).map_while(|line| line.strip_prefix("-- ")) {
            let Some((word, rest)) = line.split_once(": ") else { continue };
            match word {
                "programs" => {
                    let number = rest.strip_prefix("from ").and_then(|number| number.parse().ok());
                    programs = Some(number.ok_or_else(|| format!("`{line}` should read `programs: from 0041`"))?);
                }
                "transaction" if rest == "none" => is_transaction = false,
                "transaction" => return Err(format!("`{line}`: only `transaction: none` is said")),
                "lock" if rest == "none" => none = true,
                "lock" => locks.push(Lock::read(rest)?),
                _ => {}
            }
        }
        if none != locks.is_empty() {
            return Err("its head must say `-- lock: none`, or one line for each lock".to_owned());
        }
        let programs_from = programs.ok_or("its head must say which programs work on it: `-- programs: from 0041`")?;
        Ok(Self { programs_from, is_transaction, locks })
    }
}

impl Lock {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`lock: {text}` should read `lock: MODE on TABLE, {MOMENT} (or {GROWS}): why`");
        let (mode, rest) = text.split_once(" on ").ok_or_else(wrong)?;
        let (table, rest) = rest.split_once(", ").ok_or_else(wrong)?;
        let (how_long, why) = rest.split_once(": ").ok_or_else(wrong)?;
        if !MODES.contains(&mode) || ![MOMENT, GROWS].contains(&how_long) || why.trim().is_empty() {
            return Err(wrong());
        }
        Ok(Self { mode: mode.to_owned(), table: table.to_owned(), grows: how_long == GROWS, why: why.to_owned() })
    }
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how_long = if self.grows { GROWS } else { MOMENT };
        write!(f, "{} on {}, {how_long}: {}", self.mode, self.table, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let line = "access exclusive on delivery, for a moment: a column without a default";
        let sql = format!("-- 0042_pre_x: adds a column.\n-- programs: from 0041\n-- lock: {line}\n\nselect 1;");
        let head = Head::read(&sql).unwrap();
        assert_eq!((head.programs_from, head.is_transaction), (41, true));
        assert_eq!(head.locks.iter().map(ToString::to_string).collect::<Vec<_>>(), [line]);
        let sql = "-- 0043_pre_x: an index.\n-- programs: from 0041\n-- transaction: none\n-- lock: none\nselect 1;";
        assert!(!Head::read(sql).unwrap().is_transaction);
    }

    #[test]
    fn what_a_head_lacks_is_said() {
        let refused = |head: &str| Head::read(&format!("-- 0042_pre_x: adds a column.\n{head}\n")).unwrap_err();
        assert!(refused("-- lock: none").contains("programs: from"));
        assert!(refused("-- programs: from 0041").contains("-- lock: none"));
        assert!(refused("-- programs: 0041\n-- lock: none").contains("should read"));
        assert!(refused("-- programs: from 0041\n-- lock: row share on due, for a moment: x").contains("should read"));
        assert!(
            refused("-- programs: from 0041\n-- lock: none\n-- lock: share on due, for a moment: x").contains("or")
        );
        assert!(refused("-- programs: from 0041\n-- lock: none\n-- transaction: one").contains("only"));
    }
}

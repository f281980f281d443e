//! A migration without a transaction: statement by statement, each harmless when it is run again.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{Migration, sign};
use crate::Error;

/// Applies a migration that says `transaction: none`. If it fails in the middle, the next run begins at its first
/// statement, so each is written to do nothing the second time; an index that a failed build left behind is dropped first,
/// because `if not exists` would take it for done.
pub(super) async fn apply(client: &mut Client, migration: &Migration) -> Result<(), Error> {
    let statements = statements(migration.sql);
    let Some((last, before)) = statements.split_last() else {
        return Err(Error::Schema(format!("migration {} is empty", migration.name)));
    };
    for statement in before {
        if let Some(index) = concurrent_index(statement) {
            if !statement.to_lowercase().contains(" if not exists ") {
                return Err(Error::Schema(format!(
                    "migration {}: index {index} is built without a transaction and needs `if not exists`",
                    migration.name
                )));
            }
            drop_invalid(client, index).await?;
        }
        // alone in its message: several together would be a transaction
        client.batch_execute(statement).await?;
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(last).await?;
    sign(&transaction, migration).await?;
    Ok(transaction.commit().await?)
}

/// Its statements, without comments. Each ends with a semicolon at a line's end, and bodies in dollar quotes have no
/// place here.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n");
    code.split(";\n").map(|part| part.trim().trim_end_matches(';').to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The index that a statement builds without blocking writers.
fn concurrent_index(statement: &str) -> Option<&str> {
    let mut words = statement.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("concurrently")).skip(1);
    let is_index = statement.to_lowercase().starts_with("create");
    words
        .find(|word| !["if", "not", "exists"].contains(&word.to_lowercase().as_str()))
        .filter(|_| is_index)
        .map(|name| name.trim_start_matches("postmeter."))
}

/// Drops an index that an earlier, failed build left invalid.
async fn drop_invalid(client: &Client, index: &str) -> Result<(), Error> {
    let invalid = client
        .query_typed(
            "select quote_ident(c.relname) from pg_index i join pg_class c on c.oid = i.indexrelid
             join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'postmeter' and c.relname = $1 and not i.indisvalid",
            &[(&index, Type::TEXT)],
        )
        .await?;
    for row in invalid {
        let name: &str = row.try_get(0)?;
        tracing::warn!(index = name, "a build of this index failed before: it is dropped and built again");
        client.batch_execute(&format!("drop index concurrently if exists postmeter.{name}")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_and_indexes_are_named() {
        let sql = "-- 0042_pre_x: y; z\n-- lock: none\n\ncreate index concurrently if not exists due_by\n  on postmeter.due (id);\nselect 1;\n";
        let found = statements(sql);
        assert_eq!(found.len(), 2);
        assert_eq!(concurrent_index(&found[0]), Some("due_by"));
        assert_eq!(concurrent_index(&found[1]), None);
        assert_eq!(concurrent_index("drop index concurrently x"), None);
    }
}

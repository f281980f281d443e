//! A whole ledger written straight into the tables, small for plans and large for times.

use tokio_postgres::Client;

/// How large a ledger is. Each org has two metrics and a remittance of each an hour.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Orgs, named `org-1` and so on.
    pub orgs: u32,
    /// Hours, up to [`Ledger::UNTIL`].
    pub hours: u32,
    /// Attempts of each remittance; the last is accepted, but for one in a thousand.
    pub tries: u32,
    /// Usages in each remittance.
    pub usages: u32,
}

impl Ledger {
    /// Where its clock stands.
    pub const UNTIL: &'static str = "2024-09-28T12:00:00Z";

    /// Writes it into an empty, migrated database, and lets the server look at it.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn write(self, client: &Client) {
        let Self { orgs, hours, tries, usages } = self;
        let mut sql = include_str!("ledger.sql").replace("{until}", Self::UNTIL);
        for (name, number) in [("{orgs}", orgs), ("{hours}", hours), ("{tries}", tries), ("{usages}", usages)] {
            sql = sql.replace(name, &number.to_string());
        }
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("the ledger: {error:?}"));
        client.batch_execute("vacuum analyze").await.expect("statistics");
    }
}

//! The proof of the balance from what was written since the last one, and everything read again in turn.
//!
//! Whoever writes says so in its own transaction (`balance_moved`, `usage_moved`): a proof costs what was written,
//! however large the ledger is. What no writer says, such as a row that was altered by hand, is found when its turn
//! has come. Each share is a transaction of its own: a proof that dies goes on where it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::{Round, Share, Trying};
use crate::state::Mode;
use crate::{Database, Error, gate};

const MOVED_METERS: Query = query!("balance_moved_meters", [INT8, INT4]);
const PROVE_MOVED: Query = query!("balance_prove_moved", [INT8_ARRAY]);
const ANEW_METERS: Query = query!("balance_anew_meters", [INT8, INT4]);
const PROVE_ANEW: Query = query!("balance_prove_anew", [INT8_ARRAY, INT4]);
const MOVED_SLICES: Query = query!("balance_moved_slices", [TEXT, INT4]);
const PROVE_SLICES: Query = query!("balance_prove_slices", [TEXT_ARRAY]);
const OPEN_SLICES: Query = query!("balance_open_slices", []);
const PROVE_USAGE: Query = query!("balance_prove_usage", [TEXT, TEXT]);
const PROVE_CARRIED: Query = query!("balance_prove_carried", []);
const ASK_OPEN: Query = query!("balance_ask_open", []);
const ASK_METERS: Query = query!("balance_ask_meters", [INT4]);
const NEXT_USAGE: Query = query!("balance_next_usage", [INT4]);
const READ_USAGE: Query = query!("balance_read_usage", [TEXT]);
const ROUND: Query = query!("balance_round", []);
const ROUND_TOOK: Query = query!("balance_round_took", [FLOAT8]);
const ROUND_OVER: Query = query!("balance_round_over", []);
const FOUND: Query = query!("balance_found", []);
const PROVE_ALL: Query = query!("balance_prove_all", []);
const MONTHS: Query = query!("balance_months", []);
const LEFT: Query = query!("balance_left", []);

/// Meters, or slices of usage, of one transaction at most.
const PAGE: i32 = 500;
/// Remittances of a meter that one transaction reads again at most.
const REMITTANCES: i32 = 1000;
/// Meters whose turn comes at once.
const IN_TURN: i32 = 50;
/// About so many usages are read again in one transaction.
const USAGES: i32 = 100_000;
/// Nobody is waited for longer than that.
const LIMITS: &str = "set local statement_timeout = '20s'; set local lock_timeout = '1s'";

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    /// Meters that were proven.
    pub meters: i64,
    /// Remittances that were read for that.
    pub remittances: i64,
    /// Orgs' metrics that were added up, once for each run of slices.
    pub orgs: i64,
    /// Everything has been read again: the turn is over.
    pub is_whole: bool,
}

/// What does not close.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Meters and orgs' metrics that do not close, and what could not be proven.
    pub open: i64,
    /// One of them.
    pub example: Option<String>,
}

/// A proof under way.
pub struct Proof<'a> {
    database: &'a Database,
    until: Instant,
    read: Read,
    /// By what it is, why not.
    unproven: BTreeMap<String, String>,
}

/// One transaction's work on some members.
trait Prove<M> {
    async fn prove(&self, tx: &Tx<'_>, part: &[M], read: &mut Read) -> Result<(), Error>;
    fn name(&self, member: &M) -> String;
}

struct Moved;
struct Anew;
struct Slices;

impl Prove<i64> for Moved {
    async fn prove(&self, tx: &Tx<'_>, part: &[i64], read: &mut Read) -> Result<(), Error> {
        add(tx.rows(&PROVE_MOVED, &[&part]).await?, read)
    }

    fn name(&self, member: &i64) -> String {
        format!("meter {member}")
    }
}

impl Prove<i64> for Anew {
    async fn prove(&self, tx: &Tx<'_>, part: &[i64], read: &mut Read) -> Result<(), Error> {
        add(tx.rows(&PROVE_ANEW, &[&part, &REMITTANCES]).await?, read)
    }

    fn name(&self, member: &i64) -> String {
        format!("meter {member}")
    }
}

impl Prove<String> for Slices {
    async fn prove(&self, tx: &Tx<'_>, part: &[String], read: &mut Read) -> Result<(), Error> {
        for row in tx.rows(&PROVE_SLICES, &[&part]).await? {
            read.orgs += row.try_get::<_, i64>(0)?;
        }
        Ok(())
    }

    fn name(&self, member: &String) -> String {
        format!("usage of the slice {member}")
    }
}

fn add(rows: Vec<tokio_postgres::Row>, read: &mut Read) -> Result<(), Error> {
    for row in rows {
        read.remittances += row.try_get::<_, i64>(0)?;
        read.meters += row.try_get::<_, i64>(1)?;
    }
    Ok(())
}

impl<'a> Proof<'a> {
    /// A proof that ends after `within`, at a place from where the next goes on.
    #[must_use]
    pub fn new(database: &'a Database, within: Duration) -> Self {
        Self { database, until: Instant::now() + within, read: Read::default(), unproven: BTreeMap::new() }
    }

    /// Gives it so long from now on.
    pub fn go_on_for(&mut self, within: Duration) {
        self.until = Instant::now() + within;
    }

    /// What was read so far.
    #[must_use]
    pub const fn read(&self) -> Read {
        self.read
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Proves what was written since it was proven. False: the time was over before all of it was.
    ///
    /// # Errors
    /// What all of it would have met.
    pub async fn prove_moved(&mut self) -> Result<bool, Error> {
        self.database.one(&ASK_OPEN, &[]).await?;
        // a table that is locked for the one half is no reason to leave out the other
        let meters = self.pages(&Moved, &MOVED_METERS, i64::MIN).await;
        let slices = self.pages(&Slices, &MOVED_SLICES, String::new()).await;
        Ok(meters? && slices? && self.open_slices().await?)
    }

    /// Reads again what is asked for: meters of which a proof did not close, those whose turn it is, or all.
    /// False: the time was over before.
    ///
    /// # Errors
    /// As [`Proof::prove_moved`].
    pub async fn prove_asked(&mut self) -> Result<bool, Error> {
        self.pages(&Anew, &ANEW_METERS, i64::MIN).await
    }

    /// Reads again as much of the ledger as is due by now. `all`: everything that is left of this turn.
    ///
    /// # Errors
    /// As [`Proof::prove_moved`].
    pub async fn read_again(&mut self, all: bool) -> Result<(), Error> {
        while !self.is_late() && !self.read.is_whole {
            let rows = self.database.one(&ROUND, &[]).await?;
            let row = rows.first().expect("one row");
            if !all && row.try_get::<_, f64>("seconds")? <= 0.0 {
                return Ok(());
            }
            let began = Instant::now();
            let mut is_done = true;
            if row.try_get("has_meters")? {
                self.database.one(&ASK_METERS, &[&IN_TURN]).await?;
                is_done = self.prove_asked().await?;
            } else if row.try_get("has_usage")? {
                self.usage_again().await?;
            } else {
                self.database.one(&PROVE_CARRIED, &[]).await?;
                self.read.is_whole = true;
            }
            self.database.one(&ROUND_TOOK, &[&began.elapsed().as_secs_f64()]).await?;
            if !is_done {
                return Ok(());
            }
        }
        if self.read.is_whole {
            self.database.one(&ROUND_OVER, &[]).await?;
        }
        Ok(())
    }

    /// What does not close, by all proofs that there are.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn found(self) -> Result<Found, Error> {
        let rows = self.database.one(&FOUND, &[]).await?;
        let row = rows.first().expect("one row");
        let example: Option<String> = row.try_get("example")?;
        let unproven = self.unproven.first_key_value().map(|(what, why)| format!("{what} cannot be proven: {why}"));
        let many = i64::try_from(self.unproven.len()).unwrap_or(i64::MAX);
        Ok(Found { open: row.try_get::<_, i64>("open")? + many, example: example.or(unproven) })
    }

    async fn pages<M>(&mut self, work: &impl Prove<M>, page: &Query, mut after: M) -> Result<bool, Error>
    where
        M: Clone + PartialEq + Sync + tokio_postgres::types::ToSql + for<'r> tokio_postgres::types::FromSql<'r>,
    {
        let mut share = Share::of(usize::try_from(PAGE).expect("few"));
        loop {
            let rows = self.database.one(page, &[&after, &PAGE]).await?;
            let members = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<M>, _>>()?;
            let Some(last) = members.last().cloned() else { return Ok(true) };
            if !self.page(work, members, &mut share).await? {
                return Ok(false);
            }
            after = last;
        }
    }

    async fn page<M: Clone + PartialEq>(
        &mut self,
        work: &impl Prove<M>,
        members: Vec<M>,
        share: &mut Share,
    ) -> Result<bool, Error> {
        let mut trying = Trying::of(members);
        let mut is_late = false;
        while let Some(part) = trying.next(share) {
            is_late = self.is_late();
            if is_late {
                break;
            }
            let since = Instant::now();
            let result = self.share(work, &part).await.map(|()| Vec::new());
            let is_locked = result.as_ref().is_err_and(|error| error.blame() == Blame::Lock);
            if part.len() == 1
                && is_locked
                && trying.is_in_vain()
                && let Some(shut) = gate::table_kept(self.database).await
            {
                trying.give_up(shut);
                break;
            }
            trying.tried(part, result, since.elapsed(), share);
        }
        let Round { skipped, failed, broken, .. } = trying.end();
        if let Some(error) = broken {
            return Err(gate::named(self.database, error).await);
        }
        let locked = skipped.iter().map(|member| (member, "another session locks what it needs".to_owned()));
        for (member, why) in locked.chain(failed.iter().map(|(member, error)| (member, error.to_string()))) {
            self.unproven.insert(work.name(member), why);
        }
        Ok(!is_late)
    }

    async fn share<M>(&mut self, work: &impl Prove<M>, part: &[M]) -> Result<(), Error> {
        let mut session = self.database.session().await?;
        let tx = Tx::begin_as(&mut session, Mode::Proof, LIMITS).await?;
        let mut read = self.read;
        let result = work.prove(&tx, part, &mut read).await;
        tx.end(result).await?;
        self.read = read;
        Ok(())
    }

    async fn open_slices(&mut self) -> Result<bool, Error> {
        for row in self.database.one(&OPEN_SLICES, &[]).await? {
            if self.is_late() {
                return Ok(false);
            }
            self.usage(row.try_get(0)?, row.try_get(1)?, false).await?;
        }
        Ok(true)
    }

    async fn usage_again(&mut self) -> Result<(), Error> {
        let rows = self.database.one(&NEXT_USAGE, &[&USAGES]).await?;
        let row = rows.first().expect("one row");
        let (first, last): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        if let (Some(first), Some(last)) = (first, last) {
            self.usage(first, last, true).await?;
        }
        Ok(())
    }

    /// Proves a run of slices; `in_turn`: and notes that they had their turn, also if they cannot be proven.
    async fn usage(&mut self, first: String, last: String, in_turn: bool) -> Result<(), Error> {
        let mut session = self.database.session().await?;
        let tx = Tx::begin_as(&mut session, Mode::Proof, LIMITS).await?;
        let result = tx.rows(&PROVE_USAGE, &[&first, &last]).await;
        match tx.end(result).await {
            Ok(rows) => self.read.orgs += rows.first().expect("one row").try_get::<_, i64>(0)?,
            Err(error) if error.blame() == Blame::Step => return Err(error),
            Err(error) => {
                self.unproven.insert(format!("usage from {first} to {last}"), error.to_string());
            }
        }
        if in_turn {
            self.database.one(&READ_USAGE, &[&last]).await?;
        }
        Ok(())
    }
}

/// Takes every proof back: all meters and all usage are to be read again. Returns how many meters.
///
/// # Errors
/// As Postgres says.
pub async fn take_back(database: &Database) -> Result<i64, Error> {
    let rows = database.one(&PROVE_ALL, &[]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// The proofs of a destination's month. Times are texts, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Month {
    /// The destination.
    pub destination: String,
    /// Such as 2024-09.
    pub month: String,
    /// How many meters.
    pub meters: i64,
    /// Of these, proven, and not written to since.
    pub proven: i64,
    /// Of these, written to since they were proven.
    pub moved: i64,
    /// Of these, being read again whole.
    pub anew: i64,
    /// Of these, those that do not close.
    pub open: i64,
    /// The oldest proof of a meter.
    pub proven_from: Option<String>,
    /// The newest.
    pub proven_until: Option<String>,
    /// When the meter that waits longest for its turn was read whole.
    pub read_from: Option<String>,
}

/// The proofs that there are, by month and destination.
///
/// # Errors
/// As Postgres says.
pub async fn months(database: &Database) -> Result<Vec<Month>, Error> {
    let rows = database.one(&MONTHS, &[]).await?;
    let month = |row: &tokio_postgres::Row| -> Result<Month, tokio_postgres::Error> {
        Ok(Month {
            destination: row.try_get("destination")?,
            month: row.try_get("month")?,
            meters: row.try_get("meters")?,
            proven: row.try_get("proven")?,
            moved: row.try_get("moved")?,
            anew: row.try_get("anew")?,
            open: row.try_get("open")?,
            proven_from: row.try_get("proven_from")?,
            proven_until: row.try_get("proven_until")?,
            read_from: row.try_get("read_from")?,
        })
    };
    Ok(rows.iter().map(month).collect::<Result<_, _>>()?)
}

/// What is left to be read again in this turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Meters.
    pub meters: i64,
    /// Of so many.
    pub of_meters: i64,
    /// Usage that was recorded up to this time has been read, in UTC; `None`: none yet, or all.
    pub usage_until: Option<String>,
}

/// What is left to be read again in this turn.
///
/// # Errors
/// As Postgres says.
pub async fn left(database: &Database) -> Result<Left, Error> {
    let rows = database.one(&LEFT, &[]).await?;
    let row = rows.first().expect("one row");
    Ok(Left {
        meters: row.try_get("meters")?,
        of_meters: row.try_get("of_meters")?,
        usage_until: row.try_get("usage_until")?,
    })
}

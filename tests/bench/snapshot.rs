//! The same work with and without somebody's snapshot held open: dead rows stay, and nobody may walk over them again
//! and again. Deadlines are mixed, and every fifth call has to be made again.

use crate::dispatch::{dispatch, mean};
use crate::folding::fold;
use crate::ground::Ground;
use crate::report::{Report, Target, scaled};

const CALLS: usize = 80_000;
const ENTRIES: usize = 500_000;
const METERS: usize = 10_000;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let (mut sent, mut folded) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    // without, with, with, without: drift of the machine meets both alike
    for (round, hold) in [false, true, true, false].into_iter().enumerate() {
        sent[usize::from(hold)].push(dispatch(&ground, &format!("sent_{round}"), scaled(CALLS), 5, hold).await);
        let name = format!("folded_{round}");
        folded[usize::from(hold)].push(fold(&ground, &name, scaled(ENTRIES), scaled(METERS), hold).await.rate);
    }
    for (what, unit, rates) in [("dispatch", "calls/s", sent), ("fold", "usages/s", folded)] {
        let [without, with] = rates.map(|rates| mean(&rates));
        report.note("snapshot", format!("{what}, no snapshot held"), without, unit, Target::None);
        report.note("snapshot", format!("{what}, snapshot held"), with, unit, Target::None);
        report.note("snapshot", format!("{what}, ratio"), with / without, "", Target::AtLeast(0.9));
    }
}

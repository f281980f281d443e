//! What the kernel says of this process.

use crate::names;
use crate::page::Page;

/// Ticks of a second in `/proc`: the same on every machine that this program runs on.
const TICKS: f64 = 100.0;
/// Bytes of a page there.
const PAGE: f64 = 4096.0;

/// Puts what can be read; where there is no `/proc`, nothing.
pub fn put(page: &mut Page) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // the second field may hold spaces and brackets; the third begins after the last one
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let field = |number: usize| rest.split_whitespace().nth(number - 3).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        page.sum(&names::PROCESS_CPU, [], (user + system) / TICKS);
    }
    let set = |gauge: &crate::Gauge<0>, value: Option<f64>| value.into_iter().for_each(|value| gauge.set([], value));
    set(&names::PROCESS_THREADS, field(20));
    set(&names::PROCESS_MEMORY, field(24).map(|pages| pages * PAGE));
    set(&names::PROCESS_START, booted().zip(field(22)).map(|(booted, ticks)| booted + ticks / TICKS));
    // the listing holds one open itself
    let open = std::fs::read_dir("/proc/self/fd").map(|listed| listed.count().saturating_sub(1));
    set(&names::PROCESS_FDS, open.ok().map(|open| u32::try_from(open).unwrap_or(u32::MAX).into()));
    set(&names::PROCESS_MAX_FDS, limit());
}

fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn limit() -> Option<f64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

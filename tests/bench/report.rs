//! The table at the end: figure, target, reached or not.

/// How much of the full size is run: `POSTMETER_BENCH_SCALE=0.1`.
pub fn scaled(full: usize) -> usize {
    let scale: f64 = std::env::var("POSTMETER_BENCH_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    ((full as f64 * scale) as usize).max(1)
}

/// What a figure must be.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    Below(f64),
    /// For information.
    None,
}

struct Line {
    bench: &'static str,
    what: String,
    figure: f64,
    unit: &'static str,
    target: Target,
}

#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
    skipped: Vec<String>,
}

impl Report {
    /// Notes a figure, and says it at once: a run is long.
    pub fn note(
        &mut self,
        bench: &'static str,
        what: impl Into<String>,
        figure: f64,
        unit: &'static str,
        target: Target,
    ) {
        let line = Line { bench, what: what.into(), figure, unit, target };
        println!("{}", line.text());
        self.lines.push(line);
    }

    /// Notes what could not be measured.
    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("SKIPPED {name}: {reason}");
        self.skipped.push(format!("{name}: {reason}"));
    }

    pub fn print(&self) {
        println!("\n{:<10} {:<62} {:>12} {:<10} {:>10}", "bench", "what", "figure", "", "target");
        for line in &self.lines {
            println!("{}", line.text());
        }
        for skipped in &self.skipped {
            println!("SKIPPED {skipped}");
        }
        let missed = self.lines.iter().filter(|line| line.reached() == Some(false)).count();
        let judged = self.lines.iter().filter(|line| line.reached().is_some()).count();
        println!("{} of {judged} targets reached, {missed} missed", judged - missed);
    }
}

impl Line {
    fn reached(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.figure >= least),
            Target::Below(limit) => Some(self.figure < limit),
            Target::None => None,
        }
    }

    fn text(&self) -> String {
        let target = match self.target {
            Target::AtLeast(least) => format!(">= {}", number(least)),
            Target::Below(limit) => format!("< {}", number(limit)),
            Target::None => String::new(),
        };
        let verdict = self.reached().map_or("", |reached| if reached { "ok" } else { "MISSED" });
        let (bench, what, figure, unit) = (self.bench, &self.what, number(self.figure), self.unit);
        format!("{bench:<10} {what:<62} {figure:>12} {unit:<10} {target:>10} {verdict}")
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

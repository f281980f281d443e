//! Kinds of metrics. Each carries its name and labels, so that it cannot be used with others.

use std::time::Duration;

use metrics::{Label, counter, gauge, histogram};

/// How Prometheus treats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, until the process ends.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How many observations were below which bound.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where its value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This process counts it: add up over processes.
    Process,
    /// Read from the database at each scrape: every process gives the same value, so take the largest.
    Database,
}

/// A metric as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// How Prometheus treats it.
    pub kind: Kind,
    /// Where its value comes from.
    pub source: Source,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Upper bounds of a histogram.
    pub bounds: &'static [f64],
    /// What it means, in a sentence.
    pub help: &'static str,
}

fn labels<const N: usize>(names: [&'static str; N], values: [&str; N]) -> Vec<Label> {
    names.into_iter().zip(values).map(|(name, value)| Label::new(name, value.to_owned())).collect()
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $source:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<const N: usize> {
            pub(crate) name: &'static str,
            pub(crate) labels: [&'static str; N],
        }

        impl<const N: usize> $name<N> {
            /// Its kind.
            pub(crate) const KIND: Kind = Kind::$kind;
            /// Where it comes from.
            pub(crate) const SOURCE: Source = Source::$source;

            pub(crate) const fn new(name: &'static str, labels: [&'static str; N]) -> Self {
                Self { name, labels }
            }

            /// Its name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                self.name
            }
        }
    )+};
}

kinds! {
    /// A counter of this process.
    Counter: Counter, Process;
    /// A gauge of this process.
    Gauge: Gauge, Process;
    /// A histogram of this process.
    Histogram: Histogram, Process;
    /// A gauge that is read at each scrape.
    Reading: Gauge, Database;
    /// A counter that the database keeps.
    Total: Counter, Database;
    /// A counter with fractions that another part keeps for this process.
    Sum: Counter, Process;
}

impl<const N: usize> Counter<N> {
    /// Counts so many. With none it only shows that there is such a series: a counter that begins at its first event
    /// hides that event from `increase()`.
    pub fn add(&self, values: [&str; N], count: u64) {
        counter!(self.name, labels(self.labels, values)).increment(count);
    }
}

impl<const N: usize> Gauge<N> {
    /// It is so much now.
    pub fn set(&self, values: [&str; N], value: f64) {
        gauge!(self.name, labels(self.labels, values)).set(value);
    }
}

impl<const N: usize> Histogram<N> {
    /// It took so long.
    pub fn observe(&self, values: [&str; N], took: Duration) {
        histogram!(self.name, labels(self.labels, values)).record(took.as_secs_f64());
    }
}

//! The day: usage of many customers, as a FOCUS 1.0 export that we make ourselves, and the catalogue that goes with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

/// How many customers.
pub const CUSTOMERS: u64 = 40;

/// What the demo reads.
pub struct Files {
    /// The usage of the day.
    pub usage: PathBuf,
    /// Who buys what where.
    pub catalogue: PathBuf,
}

/// The day begins: in mid-month, on a date of its own, whatever the date is.
pub fn midnight() -> Timestamp {
    "2026-06-16T00:00:00Z".parse().expect("a date")
}

/// The metrics: unit in the export, dimension at the marketplace, factor, rounding, decimals, month's end.
const METRICS: [(&str, &str, &str, &str, u32); 3] = [
    ("vCPU-Hours", "compute", "1", "down", 6),
    ("GB-Hours", "storage", "1/720", "down", 6),
    ("Requests", "thousand_requests", "1/1000", "up", 0),
];

/// Writes both files.
pub fn write(folder: &Path, endpoint: &str) -> std::io::Result<Files> {
    let files = Files { usage: folder.join("usage.csv"), catalogue: folder.join("catalogue.toml") };
    std::fs::write(&files.usage, usage())?;
    std::fs::write(&files.catalogue, catalogue(endpoint))?;
    Ok(files)
}

/// Name of a customer.
pub fn org(customer: u64) -> String {
    format!("customer-{customer:02}")
}

fn catalogue(endpoint: &str) -> String {
    let mut text = format!(
        "[[quota]]\nname = \"aws\"\ncalls_per_second = 10\n\n\
         [[destination]]\nname = \"aws\"\nkind = \"aws\"\nquota = \"aws\"\nretry_first = \"1s\"\ngrace = \"10s\"\n\
         settings = {{ region = \"us-east-1\", endpoint = \"{endpoint}\" }}\n"
    );
    for (unit, dimension, factor, rounding, decimals) in METRICS {
        let metric = crate::focus::metric_tag(unit);
        let _ = write!(
            text,
            "\n[[dimension]]\ndestination = \"aws\"\nproduct = \"helios-database\"\nmetric = \"{metric}\"\nname = \"{dimension}\"\n\
             factor = \"{factor}\"\nrounding = \"{rounding}\"\ndecimals = {decimals}\nmonth_end = \"drop\"\n"
        );
    }
    // uses nothing that day: the examples of the documents record for it
    for (metric, dimension) in [("hours", "hours"), ("core-hours", "core_hours")] {
        let _ = write!(
            text,
            "\n[[dimension]]\ndestination = \"aws\"\nproduct = \"compute\"\nmetric = \"{metric}\"\nname = \"{dimension}\"\n\
             rounding = \"down\"\ndecimals = 6\nmonth_end = \"drop\"\n"
        );
    }
    text.push_str(
        "\n[[subscription]]\norg = \"acme\"\nproduct = \"compute\"\ndestination = \"aws\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n\
         identity = { product_code = \"shop-compute\", customer_aws_account_id = \"111122223333\" }\n",
    );
    for customer in 0..CUSTOMERS {
        let _ = write!(
            text,
            "\n[[subscription]]\norg = \"{}\"\nproduct = \"helios-database\"\ndestination = \"aws\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n\
             identity = {{ product_code = \"helios-db\", customer_aws_account_id = \"{}\" }}\n",
            org(customer),
            111_100_000_000 + customer
        );
    }
    text
}

/// Rows of every hour: a few per customer, with fractions, more by day than by night.
fn usage() -> String {
    let mut text = String::from(
        "\"Id\",\"SubAccountId\",\"ServiceName\",\"ConsumedUnit\",\"ConsumedQuantity\",\"ChargePeriodStart\",\"ChargePeriodEnd\",\"ProviderName\",\"RegionId\"\n",
    );
    let mut draw = Draw(0x5eed);
    let mut id = 0;
    for hour in 0..24_i64 {
        let start = midnight() + SignedDuration::from_hours(hour);
        let busy = if (8..20).contains(&hour) { 3 } else { 1 };
        for customer in 0..CUSTOMERS {
            for (unit, ..) in METRICS {
                for _ in 0..draw.below(busy + 1) + u64::from(customer % 3 == 0) {
                    id += 1;
                    let quantity = match unit {
                        "Requests" => draw.below(4000).to_string(),
                        _ => format!("{}.{:09}", draw.below(20), draw.below(1_000_000_000)),
                    };
                    let (from, to) = (plain(start), plain(start + SignedDuration::from_hours(1)));
                    let _ = writeln!(
                        text,
                        "{id},\"{}\",\"Helios Database\",\"{unit}\",{quantity},\"{from}\",\"{to}\",\"Helios\",\"eu-central-1\"",
                        org(customer)
                    );
                }
            }
        }
    }
    text
}

fn plain(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The same day every time: a splitmix64, which is all the chance that a demo needs.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

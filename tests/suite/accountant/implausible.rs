//! Usage beyond what is plausible for its metric: held by name, until somebody has judged it.

use rand::RngExt;

use super::books::Usage;
use super::moves::Run;

/// More hundredths than this in one usage are implausible.
pub const PLAUSIBLE: i64 = 50_000;

impl Run {
    /// Nobody is billed for more than what is plausible before a person has said so.
    pub async fn limit(&mut self, metric: &str) {
        self.sql(format!(
            "update postmeter.dimension set max_quantity = {} where metric = '{metric}'",
            PLAUSIBLE / 100
        ))
        .await;
    }

    /// Somebody asks the services about what is held as implausible: it is right, is corrected, or is given up.
    pub async fn judge_usages(&mut self) {
        let held = "select u.event_id || ' ' || u.id from postmeter.held h join postmeter.usage u on u.id = h.usage_id
                    where h.reason = 'implausible' and u.corrects is null order by u.id";
        for line in self.stage.column(held).await {
            let (event, id) = line.split_once(' ').unwrap();
            let number: usize = event[1..].parse().unwrap();
            let filter = format!("{{\"usage\": \"{id}\"}}");
            let left = self.left_here(number);
            let Usage { waits, given_up, .. } = self.books.usages[number];
            // what was judged before is judged so again
            let judged = if given_up {
                0
            } else if waits {
                self.draw.random_range(0..4)
            } else {
                3
            };
            match judged {
                0 => {
                    self.sql(format!("select postmeter.write_off_held('{filter}', 'ada', 'a test', false)")).await;
                    self.books.usages[number].given_up = true;
                    continue;
                }
                1 | 2 if left > 1 => {
                    let taken = if self.draw.random_bool(0.3) { left } else { left - left % 1000 };
                    let usage =
                        Usage { hundredths: -taken, corrects: Some(number), ..self.books.usages[number].clone() };
                    self.record(usage).await;
                }
                _ => {}
            }
            self.sql(format!("select postmeter.retry_held('{filter}', 'ada', 'as it is now it is right', false)"))
                .await;
            self.books.usages[number].waits = false;
        }
    }
}

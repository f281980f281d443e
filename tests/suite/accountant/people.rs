//! What people do about what stands still: they resume, look up at the marketplace, correct, and judge.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rust_decimal::Decimal;

use super::moves::Run;

impl Run {
    /// Somebody resumes what is paused.
    pub async fn resume(&mut self) {
        self.sql("select postmeter.set_paused('aws', false, 'ada', 'looked at it')".to_owned()).await;
    }

    /// Somebody looks up at the marketplace what may have been billed, and how much they hold.
    pub async fn resolve(&mut self) {
        let unknown = "select d.id || ' ' || d.key from postmeter.delivery d
             where d.maybe_billed and d.status in ('unknown', 'held') or d.status = 'conflict'
                or d.id in (select x.delivery_id from postmeter.doubt x where x.decision_id is null)";
        for line in self.stage.column(unknown).await {
            let (id, key) = line.split_once(' ').unwrap();
            let quantity = self.they_hold(key);
            // what was withheld waits until each hour with which it may have gone is settled
            self.attempt(format!("select postmeter.resolve_quantity({id}, {quantity}, 'ada', 'looked it up')")).await;
        }
        self.judge().await;
    }

    /// How much they hold under a key.
    pub fn they_hold(&self, key: &str) -> Decimal {
        let theirs = self.stage.aws.record();
        theirs.iter().filter(|accepted| tests::canonical(&accepted.key) == key).map(|accepted| accepted.quantity).sum()
    }

    /// Somebody judges what the marketplace says otherwise, by what it holds.
    pub async fn judge(&mut self) {
        let open = "select concat_ws(' ', c.id, c.delivery_id, c.says, c.is_earlier, d.status, d.key)
             from postmeter.contradiction_list c join postmeter.delivery d on d.id = c.delivery_id where c.is_open order by c.id";
        for line in self.stage.column(open).await {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, delivery, says, is_earlier, status, key] = words[..] else { panic!("{line}") };
            let is_held = !self.they_hold(key).is_zero();
            let judge = |counts: &str| format!("select postmeter.judge({id}, '{counts}', 'ada', 'looked it up')");
            if is_earlier == "f" {
                let counts = if is_held == (says != "not_held") { "theirs" } else { "ours" };
                self.attempt(judge(counts)).await;
            } else if status != "open" {
                // they speak of what was sent under this key before: sent again, it turns out how much they hold
                self.attempt(judge("ours")).await;
                let filter = format!("{{\"delivery\": {delivery}}}");
                self.attempt(format!("select postmeter.retry('{filter}', 'ada', 'they hold it', false)")).await;
            }
        }
    }

    /// Somebody does something about dead letters: sends them again, bills them with another hour, or counts them anew.
    pub async fn dead_letters(&mut self) {
        let verb = ["retry", "release", "recount", "recount"].choose(&mut self.draw).unwrap();
        let late = if *verb == "recount" { format!(", {}", self.draw.random_bool(0.3)) } else { String::new() };
        let filter = "{\"destination\": \"aws\"}";
        self.attempt(format!("select postmeter.{verb}('{filter}', 'ada', 'mended', false{late})")).await;
        // nothing was lost with those commits
        self.attempt(
            "select postmeter.retry_held('{\"reason\": \"lost_time\"}', 'ada', 'not billed', false)".to_owned(),
        )
        .await;
    }
}

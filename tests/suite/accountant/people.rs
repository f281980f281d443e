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
             where (d.maybe_billed and d.status in ('unknown', 'held') or d.status = 'conflict'
                    or d.id in (select x.delivery_id from postmeter.doubt x where x.decision_id is null))
               and d.id not in (select w.delivery_id from postmeter.withheld w)";
        for line in self.stage.column(unknown).await {
            let (id, key) = line.split_once(' ').unwrap();
            let quantity = self.they_hold(key);
            self.attempt(format!("select postmeter.resolve_quantity({id}, {quantity}, 'ada', 'looked it up')")).await;
        }
        // what they called a duplicate may be of another quantity
        let unconfirmed = "select d.id || ' ' || d.key from postmeter.unconfirmed u
             join postmeter.delivery d on d.id = u.delivery_id";
        for line in self.stage.column(unconfirmed).await {
            let (id, key) = line.split_once(' ').unwrap();
            let rows = format!("[{{\"delivery\": {id}, \"quantity\": \"{}\"}}]", self.they_hold(key));
            self.attempt(format!("select postmeter.resolve_rows('{rows}', 'ada', 'their report', false)")).await;
        }
        self.judge().await;
        self.settle_lost_time().await;
        if self.restored.as_ref().is_none_or(|restored| restored.is_settled) {
            self.let_go().await;
        }
    }

    /// What was withheld, or is late, was not billed in the time that was lost.
    async fn let_go(&mut self) {
        let withheld = "select d.id::text from postmeter.withheld w join postmeter.delivery d on d.id = w.delivery_id
             where d.status = 'held' and d.maybe_billed
                or d.id in (select x.delivery_id from postmeter.doubt x where x.decision_id is null)";
        for id in self.stage.column(withheld).await {
            // it waits until each hour with which it may have gone is settled
            self.attempt(format!("select postmeter.resolve_unknown({id}, false, 'ada', 'not in their report')")).await;
        }
        let late = "select postmeter.retry_held('{\"reason\": \"lost_time\"}', 'ada', 'not billed', false)";
        self.attempt(late.to_owned()).await;
    }

    /// How much they hold under a key.
    pub fn they_hold(&self, key: &str) -> Decimal {
        let theirs = self.stage.aws.record();
        theirs.iter().filter(|accepted| tests::canonical(&accepted.key) == key).map(|accepted| accepted.quantity).sum()
    }

    /// Somebody judges what the marketplace says otherwise, by what it holds.
    pub async fn judge(&mut self) {
        let open = "select concat_ws(' ', c.id, c.delivery_id, c.says, c.is_earlier, d.status, d.key)
             from postmeter.contradiction_list c join postmeter.delivery d on d.id = c.delivery_id
             where c.is_open order by c.id";
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
    }
}

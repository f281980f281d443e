//! Mistyped identities: the marketplace refuses what is sent under them, somebody mends the catalogue, and what was
//! refused is counted again.

use rand::RngExt;
use rand::seq::IndexedRandom;
use simulator::Subscription;
use tests::Stage;

use super::books::{ACCOUNTS, ORGS};
use super::moves::{Run, licence_arn, orgs_of};
use crate::recount::rules;

/// What is right, and how it is mistyped.
pub struct Typo {
    contract: usize,
    right: String,
    wrong: String,
}

/// By what else than its account a contract's meters may be named, once it was mistyped when the month began.
pub fn mistyped_account(contract: usize) -> String {
    format!("9{}", &ACCOUNTS[contract][1..])
}

/// The marketplace knows the buyers by product code and by licence, and nobody else.
pub fn known_buyers_only(stage: &Stage) {
    let buyers = ACCOUNTS.iter().enumerate().flat_map(|(contract, account)| {
        let account = Some((*account).to_owned());
        let by_product = Subscription {
            customer_aws_account_id: account.clone(),
            product_code: Some("prod-db".to_owned()),
            ..Subscription::default()
        };
        let by_licence = Subscription {
            customer_aws_account_id: account,
            license_arn: Some(licence_arn(contract)),
            ..Subscription::default()
        };
        [by_product, by_licence]
    });
    let buyers = buyers.collect();
    rules(stage, |aws| {
        aws.product_codes = Some(["prod-db".to_owned()].into());
        aws.subscriptions = Some(buyers);
    });
}

impl Run {
    /// A contract is entered by a mistaken product code, account or licence: from the beginning, or by an edit.
    pub async fn mistype(&mut self) {
        let contract = self.draw.random_range(0..ACCOUNTS.len());
        if self.typos.iter().any(|typo| typo.contract == contract) {
            return;
        }
        let arn = licence_arn(contract);
        let forms = [
            ("prod-db".to_owned(), "prod-bd".to_owned()),
            (ACCOUNTS[contract].to_owned(), mistyped_account(contract)),
            (arn.clone(), arn.replace(":l-0", ":l-9")),
        ];
        let (right, wrong) = forms.choose(&mut self.draw).unwrap().clone();
        let orgs: Vec<&str> = ORGS.iter().filter(|(_, of)| *of == contract).map(|(org, _)| *org).collect();
        // where the month began under the right name, one org of a contract may be mistyped by itself
        let is_metered = format!(
            "select exists (select from postmeter.meter where buyer like '%{}%' and month = '2024-09-01')::text",
            ACCOUNTS[contract]
        );
        let is_metered = self.stage.value(&is_metered).await == "true";
        let orgs = if is_metered && self.draw.random_bool(0.5) { &orgs[orgs.len() - 1..] } else { &orgs };
        let edit = format!(
            "update postmeter.subscription set identity = replace(identity::text, '{right}', '{wrong}')::jsonb
             where org in ('{}') and valid_until is null and identity::text like '%{right}%'",
            orgs.join("', '")
        );
        if self.attempt(edit).await {
            self.typos.push(Typo { contract, right, wrong });
        }
        self.stage.worker.reload().await.unwrap();
    }

    /// Somebody mends the catalogue, and as a rule counts again what was refused.
    pub async fn mend(&mut self) {
        if self.typos.is_empty() {
            return;
        }
        for Typo { contract, right, wrong } in std::mem::take(&mut self.typos) {
            let edit = format!(
                "update postmeter.subscription set identity = replace(identity::text, '{wrong}', '{right}')::jsonb
                 where identity::text like '%{wrong}%' and org in ({})",
                orgs_of(contract)
            );
            if !self.attempt(edit).await {
                self.typos.push(Typo { contract, right, wrong });
            }
        }
        self.stage.worker.reload().await.unwrap();
        if self.draw.random_bool(0.7) {
            let late = self.draw.random_bool(0.5);
            let filter = "{\"destination\": \"aws\"}";
            self.attempt(format!("select postmeter.recount('{filter}', 'ada', 'mistyped', false, {late})")).await;
        }
    }
}

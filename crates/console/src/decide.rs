//! What people decide. Each leaves a decision with the caller's name and reason; the rules are the schema's, so that a
//! person with psql and a program here meet the same ones.

mod catalogue;
mod corrections;
mod destinations;
mod months;
mod requests;

pub(crate) use catalogue::{__path_apply_catalogue, __path_show_catalogue, apply_catalogue, show_catalogue};
pub(crate) use corrections::{
    __path_hold, __path_recount, __path_release, __path_resolve, __path_retry, __path_write_off, hold, recount,
    release, resolve, retry, write_off,
};
pub(crate) use destinations::{__path_pause, __path_probe, __path_resume, pause, probe, resume};
pub(crate) use months::{
    __path_close_month, __path_reopen_month, __path_report_month, close_month, reopen_month, report_month,
};
pub(crate) use requests::{__path_close_request, close_request};

use crate::auth::{Caller, Operate};
use crate::problem::Problem;

/// Characters of a person's name at most.
const NAME_MAX: usize = 200;

/// Who decides: the token, and the person it acts for, if it says so.
fn who(caller: &Caller<Operate>, on_behalf_of: Option<&str>) -> Result<String, Problem> {
    let token = &caller.token.name;
    match on_behalf_of.map(str::trim) {
        None => Ok(token.clone()),
        Some(person) if person.is_empty() || person.chars().count() > NAME_MAX || person.contains(char::is_control) => {
            let detail = format!("on_behalf_of must be a name of 1 to {NAME_MAX} printable characters");
            Err(Problem::parameter("on_behalf_of", detail))
        }
        Some(person) => Ok(format!("{token} for {person}")),
    }
}

/// Nothing is changed by accident.
const fn yes() -> bool {
    true
}

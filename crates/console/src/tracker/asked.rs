//! What a list was asked for. Checked in the order of the original, so that clients see the error they know: paging,
//! `sort_by`, `sort_dir`, timestamps. Unknown parameters are ignored.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use jiff::Timestamp;
use outbox::requests::{Page, Span};

use super::refusal::Refusal;
use crate::app::App;
use crate::extract::InPath;
use crate::requests::{LAST, before};

/// Rows of a page at most.
const PAGE_SIZE_MAX: i64 = 10_000;

/// The id in a path.
pub(super) struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let InPath(id) = InPath::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// Parameters as they came; of a repeated one the first counts, and an empty one is none.
pub(super) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad(rejection.body_text()))?;
        if pairs.iter().any(|(_, value)| value.contains('\0')) {
            return Err(Refusal::bad("a parameter contains the character U+0000"));
        }
        Ok(Self(pairs))
    }
}

impl Asked {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Services, sources and statuses are kept in lower case.
    pub fn lower(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_lowercase)
    }

    fn number(&self, name: &str, default: i64, from: i64, to: i64) -> Result<i64, Refusal> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (from..=to).contains(number));
        number.ok_or_else(|| Refusal::bad(format!("{name} must be a whole number from {from} to {to}")))
    }

    /// Page, sort and direction.
    pub fn page<S: Copy>(&self, sorts: &[(&str, S)], default: S) -> Result<Page<S>, Refusal> {
        let page = self.number("page", 0, 0, 100_000_000)?;
        let limit = self.number("page_size", 10, 1, PAGE_SIZE_MAX)?;
        let sort = self.sort(sorts, default)?;
        Ok(Page { sort, descending: self.is_descending()?, offset: page * limit, limit })
    }

    /// `sort_by`.
    pub fn sort<S: Copy>(&self, sorts: &[(&str, S)], default: S) -> Result<S, Refusal> {
        let Some(word) = self.get("sort_by") else { return Ok(default) };
        let known = sorts.iter().find(|(name, _)| *name == word);
        known.map(|(_, sort)| *sort).ok_or_else(|| {
            let names: Vec<&str> = sorts.iter().map(|(name, _)| *name).collect();
            Refusal::bad(format!("sort_by must be one of {}", names.join(", ")))
        })
    }

    /// `sort_dir`.
    pub fn is_descending(&self) -> Result<bool, Refusal> {
        match self.get("sort_dir") {
            None | Some("desc") => Ok(true),
            Some("asc") => Ok(false),
            Some(_) => Err(Refusal::bad("sort_dir must be one of asc, desc")),
        }
    }

    /// `{name}_lt`, `_lte`, `_gt`, `_gte`, all of them together.
    pub fn span(&self, name: &str) -> Result<Span, Refusal> {
        let mut span = Span::default();
        for (bound, is_later, inclusive) in
            [("lt", false, false), ("lte", false, true), ("gt", true, false), ("gte", true, true)]
        {
            let Some(text) = self.get(&format!("{name}_{bound}")) else { continue };
            let at = moment(text)?;
            if is_later { span.after(at, inclusive) } else { span.before(at, inclusive) }
        }
        Ok(span)
    }
}

impl Asked {
    /// The same with the start of the last time of a length, if `last` gives one: `24h`, `7d`.
    pub async fn recent(&self, app: &App, name: &str) -> Result<Span, Refusal> {
        let mut span = self.span(name)?;
        if let Some(length) = self.get("last") {
            let now = outbox::maintain::clock(&app.database).await?;
            span.after(before(now, length).ok_or_else(|| Refusal::bad(LAST))?, true);
        }
        Ok(span)
    }
}

/// RFC 3339. A plus sign that nobody escaped has become a space on its way.
fn moment(text: &str) -> Result<Timestamp, Refusal> {
    let parsed = text.parse().or_else(|_| text.replace(' ', "+").parse());
    parsed.map_err(|_| Refusal::bad("invalid timestamp format provided"))
}

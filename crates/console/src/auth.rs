//! Who asks: bearer tokens and their scopes.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header;
use http::request::Parts;
use outbox::tokens::{self, Token};
use outbox::{Database, Error};
use rand::RngExt as _;

use crate::app::App;
use crate::problem::Problem;

/// How long a token is believed without asking the database: a revoked one is refused after this.
const BELIEVED: Duration = Duration::from_secs(5);
/// Hashes remembered at most; when there are more, all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// A new token: 256 random bits, recognisable for scanners of leaked secrets by its beginning.
#[must_use]
pub fn new_token() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    format!("pmt_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// What a token may be allowed to do.
pub(crate) trait Scope: Send + Sync + 'static {
    /// The scope's word.
    const WORD: &'static str;
}

/// Record usage and request statuses.
pub(crate) struct Intake;
/// Read the ledger.
pub(crate) struct Read;
/// Decide; reads, too.
pub(crate) struct Operate;

impl Scope for Intake {
    const WORD: &'static str = "intake";
}
impl Scope for Read {
    const WORD: &'static str = "read";
}
impl Scope for Operate {
    const WORD: &'static str = "operate";
}

/// A caller whose token has the scope `S`: a handler that takes one cannot be reached without it.
pub(crate) struct Caller<S> {
    pub token: Arc<Token>,
    scope: PhantomData<S>,
}

impl<S> Caller<S> {
    /// The org that the caller is limited to, if any.
    pub fn org(&self) -> Option<&str> {
        self.token.org.as_deref()
    }
}

impl<S: Scope> FromRequestParts<Arc<App>> for Caller<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = app.tokens.of(parts, app).await?;
        app.limits.admit(token.id)?;
        let allowed = |word: &str| token.scopes.iter().any(|scope| scope == word);
        if allowed(S::WORD) || (S::WORD == Read::WORD && allowed(Operate::WORD)) {
            return Ok(Self { token, scope: PhantomData });
        }
        Err(Problem::forbidden(format!(
            "the token {:?} has {}; this needs {}",
            token.name,
            token.scopes.join(", "),
            S::WORD
        )))
    }
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// When a token was asked for, and what the database knew of it.
type Seen = (Instant, Option<Arc<Token>>);

/// Tokens that were asked for lately.
#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<HashMap<[u8; 32], Seen>>,
}

impl Tokens {
    /// The token of a request.
    pub(crate) async fn of(&self, parts: &Parts, app: &App) -> Result<Arc<Token>, Problem> {
        let given = parts.headers.get(header::AUTHORIZATION).ok_or_else(|| {
            Problem::unauthenticated("send the header Authorization: Bearer TOKEN; postmeter token create makes one")
        })?;
        let token = given.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = token.ok_or_else(|| Problem::unauthenticated("the header Authorization must be: Bearer TOKEN"))?;
        let (hash, peer) = (tokens::hash(token), peer(parts));
        // a token that was good when last seen is no guess: its owner may share an address with whoever guesses
        if !self.was_good(&hash) {
            peer.map_or(Ok(()), |peer| app.limits.may_guess(peer))?;
        }
        let found = self.find(&hash, &app.database).await?;
        found.ok_or_else(|| {
            if let Some(peer) = peer {
                app.limits.guessed(peer);
            }
            Problem::unauthenticated("nobody knows this token, or it was revoked")
        })
    }

    fn was_good(&self, hash: &[u8; 32]) -> bool {
        let known = self.known.lock().expect("no panic while locked");
        known.get(hash).is_some_and(|(_, token)| token.is_some())
    }

    async fn find(&self, hash: &[u8; 32], database: &Database) -> Result<Option<Arc<Token>>, Error> {
        if let Some((asked, token)) = self.known.lock().expect("no panic while locked").get(hash)
            && asked.elapsed() < BELIEVED
        {
            return Ok(token.clone());
        }
        let asked = Instant::now();
        let token = tokens::find(database, hash).await?.map(Arc::new);
        let mut known = self.known.lock().expect("no panic while locked");
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(*hash, (asked, token.clone()));
        Ok(token)
    }
}

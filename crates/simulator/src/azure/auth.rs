//! Tokens: Entra ID's client credentials grant in its two forms, and the metadata service of a machine.
//!
//! A token here is a random text that the simulator remembers. Its life is real time, as is the client's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Refusal;
use super::settings::AzureSettings;
use crate::state::State;

/// The metering API as a token's audience.
const RESOURCE: &str = "20e940b3-4c77-4b0b-9a53-9e16a1b010a7";
/// The client of tokens from the metadata service.
pub(crate) const MANAGED_IDENTITY: &str = "managed-identity";
/// Tokens that are remembered at most.
const KEPT: usize = 10_000;

/// Who a token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) tenant: String,
    pub(crate) client: String,
    secret: String,
    ends_at: Instant,
}

/// The tokens that were issued.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<String, Grant>);

/// Where tokens are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Desk<'a> {
    /// `/<tenant>/oauth2/token`: the audience in `resource`, numbers as texts in the answer.
    V1(&'a str),
    /// `/<tenant>/oauth2/v2.0/token`: the audience in `scope`.
    V2(&'a str),
    /// `/metadata/identity/oauth2/token` of the instance metadata service.
    Metadata,
}

impl Desk<'_> {
    pub(crate) fn at(path: &str) -> Option<Desk<'_>> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match parts.as_slice() {
            ["metadata", "identity", "oauth2", "token"] => Some(Desk::Metadata),
            [tenant, "oauth2", "token"] => Some(Desk::V1(tenant)),
            [tenant, "oauth2", "v2.0", "token"] => Some(Desk::V2(tenant)),
            _ => None,
        }
    }

    /// Issues a token, or says in the words of RFC 6749 why not.
    pub(crate) fn answer(
        &self,
        state: &mut State,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response<Body> {
        let granted = match self {
            Desk::Metadata => metadata(method, uri, headers),
            Desk::V1(tenant) | Desk::V2(tenant) => {
                grant(&state.settings.azure, tenant, method, body, matches!(self, Desk::V2(_)))
            }
        };
        let life = state.settings.azure.token_seconds;
        match granted {
            Err(refused) => respond(refused.status, &refused.body()),
            Ok((tenant, client, secret)) => {
                let ends_at = Instant::now() + Duration::from_secs(life);
                let token = state.azure.tokens.issue(Grant { tenant, client, secret, ends_at });
                respond(200, &self.token(&token, life))
            }
        }
    }

    fn token(&self, token: &str, life: u64) -> Value {
        match self {
            Desk::V2(_) => json!({ "token_type": "Bearer", "expires_in": life, "access_token": token }),
            _ => json!({
                "token_type": "Bearer", "expires_in": life.to_string(), "resource": RESOURCE, "access_token": token
            }),
        }
    }
}

struct Refused {
    status: u16,
    error: &'static str,
    number: u32,
    description: &'static str,
}

impl Refused {
    fn body(&self) -> Value {
        let description = format!("AADSTS{}: {}", self.number, self.description);
        json!({ "error": self.error, "error_description": description, "error_codes": [self.number] })
    }
}

type Granted = Result<(String, String, String), Refused>;

/// The client credentials grant. Numbers of refusals: Entra ID's list of AADSTS errors.
fn grant(settings: &AzureSettings, tenant: &str, method: &Method, body: &[u8], is_v2: bool) -> Granted {
    let refused = |status, error, number, description| Err(Refused { status, error, number, description });
    let form = std::str::from_utf8(body).ok().and_then(|text| fields(&format!("/?{text}").parse().ok()?));
    let Some(form) = form.filter(|_| method == Method::POST) else {
        return refused(400, "invalid_request", 900_144, "the body must be a form");
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != "client_credentials" {
        return refused(400, "unsupported_grant_type", 70_003, "only client_credentials is known");
    }
    let (audience_fits, error) = if is_v2 {
        (field("scope") == format!("{RESOURCE}/.default"), "invalid_scope")
    } else {
        (field("resource") == RESOURCE, "invalid_resource")
    };
    if !audience_fits {
        return refused(400, error, 500_011, "the resource was not found in the tenant");
    }
    let (client, secret) = (field("client_id"), field("client_secret"));
    if client.is_empty() || secret.is_empty() {
        return refused(401, "invalid_client", 7_000_218, "client_id and client_secret are required");
    }
    if !settings.clients.is_empty() {
        let known = settings.clients.get(client);
        match known.filter(|known| known.tenant.as_deref().is_none_or(|own| own == tenant)) {
            None => return refused(400, "unauthorized_client", 700_016, "the application was not found"),
            Some(known) if known.secret != secret => {
                return refused(401, "invalid_client", 7_000_215, "the client secret is not valid");
            }
            Some(_) => {}
        }
    }
    Ok((tenant.to_owned(), client.to_owned(), secret.to_owned()))
}

/// The metadata service asks for its header, so that a page tricked into asking gets nothing.
fn metadata(method: &Method, uri: &Uri, headers: &HeaderMap) -> Granted {
    let refused = |description| Err(Refused { status: 400, error: "invalid_request", number: 0, description });
    if method != Method::GET || headers.get("metadata").is_none_or(|value| value != "true") {
        return refused("Required metadata header not specified");
    }
    let asked = fields(uri).unwrap_or_default();
    if asked.get("resource").is_none_or(|resource| resource != RESOURCE) || !asked.contains_key("api-version") {
        return refused("api-version and resource are required");
    }
    Ok((String::new(), MANAGED_IDENTITY.to_owned(), String::new()))
}

impl Tokens {
    fn issue(&mut self, grant: Grant) -> String {
        let now = Instant::now();
        if self.0.len() >= KEPT {
            self.0.retain(|_, grant| grant.ends_at > now);
            if self.0.len() >= KEPT {
                self.0.clear();
            }
        }
        let token = format!("sim.{}.{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.0.insert(token.clone(), grant);
        token
    }

    /// Who calls. 401: no token, none of ours, or one that is over. 403: not of the offer.
    pub(crate) fn caller(&self, settings: &AzureSettings, authorization: &str) -> Result<Grant, Refusal> {
        let denied = |message: &str| Err(Refusal::new(401, "Unauthorized", message));
        let Some(token) = authorization.strip_prefix("Bearer ") else { return denied("No bearer token was sent.") };
        let Some(grant) = self.0.get(token) else { return denied("The token is not valid.") };
        let known = settings.clients.get(&grant.client);
        let is_machine = grant.client == MANAGED_IDENTITY;
        let revoked =
            !settings.clients.is_empty() && !is_machine && known.is_none_or(|known| known.secret != grant.secret);
        if revoked || grant.ends_at <= Instant::now() {
            return denied("The token has expired.");
        }
        if settings.offer_clients.as_ref().is_some_and(|clients| !clients.contains(&grant.client)) {
            let message = "The application is not authorized for this resource: it is not in the offer's technical configuration.";
            return Err(Refusal::new(403, "Forbidden", message));
        }
        Ok(grant.clone())
    }
}

/// The fields of a query.
pub(crate) fn fields(uri: &Uri) -> Option<HashMap<String, String>> {
    Query::try_from_uri(uri).ok().map(|Query(fields)| fields)
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

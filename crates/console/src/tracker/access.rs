//! Who may read the tracker: holders of a token, whoever a trusted proxy lets through, or, on loopback alone, anybody.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::StatusCode;
use http::request::Parts;

use super::refusal::Refusal;
use crate::app::App;
use crate::auth::{Caller, Read};
use crate::options::Options;

/// How the tracker is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// A token with the scope read.
    #[default]
    Token,
    /// Only the addresses in `trusted_proxies` may connect; they have checked who asks, and their `x-rh-identity` counts.
    TrustedProxy,
    /// Anybody who can connect; on loopback only.
    Open,
}

/// Refuses an open tracker that others could reach.
pub(crate) fn check(options: &Options, address: SocketAddr) -> std::io::Result<()> {
    if options.tracker_access == Access::Open && !address.ip().is_loopback() {
        return Err(std::io::Error::other(format!(
            "tracker_access is open, and {address} is no loopback address: anybody could read every org. \
             Listen on loopback, or set tracker_access to token or trusted-proxy"
        )));
    }
    Ok(())
}

/// Somebody who may read.
pub(super) struct Visitor {
    /// The only org they see, if they are limited to one.
    pub org: Option<String>,
    /// The connection is a trusted proxy's, so its identity header counts.
    pub is_vouched_for: bool,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
        let is_proxy = peer.is_some_and(|peer| app.options.trusted_proxies.contains(&peer));
        let client = peer.map(|peer| if is_proxy { forwarded(parts).unwrap_or(peer) } else { peer });
        if let Some(client) = client {
            app.limits.visit(client)?;
        }
        match app.options.tracker_access {
            Access::Open => Ok(Self { org: None, is_vouched_for: false }),
            Access::TrustedProxy if is_proxy => Ok(Self { org: None, is_vouched_for: true }),
            Access::TrustedProxy => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "only a trusted proxy may ask; see trusted_proxies"))
            }
            Access::Token => {
                let caller = Caller::<Read>::from_request_parts(parts, app).await?;
                Ok(Self { org: caller.org().map(str::to_owned), is_vouched_for: false })
            }
        }
    }
}

/// The client that the nearest proxy saw: the last address of the header, since those before it are hearsay.
fn forwarded(parts: &Parts) -> Option<IpAddr> {
    let last = parts.headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

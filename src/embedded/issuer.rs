//! The development issuer: one RS256 key, a real key set, and tokens in the format of both production
//! issuers, so that the production verifiers run. It exists only if no other issuer is configured, and never
//! with `NODE_ENV=production`.

use std::{
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::{
    Json,
    extract::{ConnectInfo, Path as UrlPath, Request, State},
    http::{HeaderMap, HeaderName, Version, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet},
};
use serde::Deserialize;

use super::Embedded;
use crate::config::Config;
use gateway::http::request::Json as JsonBody;
use identity::auth::{
    config::{CognitoConfig, DjangoConfig},
    minting::{Claims, Token},
};
use model::person::{PersonId, Side};
use protocol::error::Error;

/// Key id in tokens and in the key set.
const KEY_ID: &str = "development";
/// Lifetime of a token that a page requests.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Issues tokens without authentication.
pub(crate) struct Issuer {
    base: String,
    key: EncodingKey,
    set: JwkSet,
}

/// Makes the node its own issuer if none is configured, and points the verifiers at it.
pub(crate) fn stand_in(config: &mut Config, port: u16) -> anyhow::Result<Option<Issuer>> {
    if !config.development_issuer() {
        return Ok(None);
    }
    let host = if config.host.is_unspecified() { [127, 0, 0, 1].into() } else { config.host };
    let issuer = Issuer::open(&config.data_dir, SocketAddr::new(host, port))?;
    config.tokens.cognito =
        Some(CognitoConfig { issuer: issuer.url_of(Side::Contact), client_ids: Vec::new() });
    let dentists = issuer.url_of(Side::Desk);
    config.tokens.django = Some(DjangoConfig {
        secret: None,
        jwks_url: Some(format!("{dentists}/.well-known/jwks.json")),
        issuer: Some(dentists),
    });
    Ok(Some(issuer))
}

impl Issuer {
    fn open(data_dir: &Path, address: SocketAddr) -> anyhow::Result<Self> {
        super::make_data_dir(data_dir)?;
        let path = data_dir.join("issuer.pem");
        let pem = match fs::read(&path) {
            Ok(pem) => pem,
            Err(_) => new_key(&path)?,
        };
        let key = EncodingKey::from_rsa_pem(&pem).with_context(|| {
            format!(
                "{}: not a private key; delete the file, and the node generates a new one",
                path.display()
            )
        })?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        public.common.key_id = Some(KEY_ID.to_owned());
        Ok(Self { base: format!("http://{address}/dev"), key, set: JwkSet { keys: vec![public] } })
    }

    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    fn url_of(&self, kind: Side) -> String {
        format!("{}/{}", self.base, side(kind))
    }

    pub(crate) fn issue(&self, ask: &Ask, lifetime: Duration) -> Result<Token, Error> {
        let claims = Claims {
            kind: ask.kind,
            id: &ask.id,
            admin: ask.admin,
            issuer: Some(&self.url_of(ask.kind)),
            client_id: "development",
        };
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::RS256) };
        claims.sign(lifetime, &header, &self.key).map_err(|error| {
            tracing::error!(%error, "development token not signed");
            Error::Internal
        })
    }
}

/// Last part of the issuer's URL for this kind of person.
fn side(kind: Side) -> &'static str {
    match kind {
        Side::Contact => "customers",
        Side::Desk => "dentists",
    }
}

/// Creates a key that only this user can read, and saves it, so that tokens remain valid after a restart.
fn new_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pair =
        KeyPair::generate(KeySize::Rsa2048).context("the development key can't be generated")?;
    let der: Pkcs8V1Der<'_> = pair.as_der().context("the development key can't be encoded")?;
    let text = BASE64_STANDARD.encode(der.as_ref());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    let mut options = fs::OpenOptions::new();
    let mut file = super::for_this_user_only(options.write(true).truncate(true)).open(path)?;
    file.write_all(pem.as_bytes())?;
    Ok(pem.into_bytes())
}

/// Headers in which a proxy names its client, beside all that begin with [`FORWARDED`].
const PROXIED: [&str; 13] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "x-azure-clientip",
    "cf-connecting-ip",
    "cf-ray",
    "true-client-ip",
    "fastly-client-ip",
    "cdn-loop",
];
const FORWARDED: &str = "x-forwarded-";

/// Limits the issuer to this machine, because it needs no authentication. Other machines are allowed by
/// `DEV_ISSUER`. Requests through a proxy are refused even from this machine: their client is unknown.
pub(crate) async fn guard(
    State(embedded): State<Arc<Embedded>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let is_near = peer.is_some_and(|peer| peer.is_loopback());
    if !is_near && !embedded.development.beyond_loopback {
        return Err(Error::Forbidden(
            "development tokens are issued only to the node's own machine",
        ));
    }
    // By default nginx sends HTTP/1.0 to a node, without a header that names the client.
    if is_proxied(request.headers()) || request.version() < Version::HTTP_11 {
        return Err(Error::Forbidden("development tokens are not issued through a proxy"));
    }
    // The page alone reveals nothing, and it shows why it gets no token.
    let is_page = !request.uri().path().starts_with("/dev/");
    if !is_page && !is_by_own_name(request.headers()) {
        return Err(Error::Forbidden(
            "no development tokens under this host name, which anyone may point here: open the page by \
             localhost or by the node's IP address (from other machines with DEV_ISSUER=yes and HOST), or \
             set up an issuer",
        ));
    }
    if is_from_here(request.headers()) {
        Ok(next.run(request).await)
    } else {
        Err(Error::OriginRefused)
    }
}

fn is_proxied(headers: &HeaderMap) -> bool {
    let is_of_proxy = |name: &str| name.starts_with(FORWARDED) || PROXIED.contains(&name);
    headers.keys().any(|name| is_of_proxy(name.as_str()))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether `Host` is `localhost` or an IP address. A page from elsewhere may point a host name of its own at
/// this node (DNS rebinding).
fn is_by_own_name(headers: &HeaderMap) -> bool {
    let authority: Option<Authority> =
        text(headers, header::HOST).and_then(|host| host.parse().ok());
    let name = authority.as_ref().map_or("", |authority| authority.host().trim_matches(['[', ']']));
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

/// Whether `Origin` is absent or this node, so that no page from elsewhere sends the request.
fn is_from_here(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST).unwrap_or_default();
    text(headers, header::ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

/// Person for whom a token is requested.
#[derive(Deserialize)]
pub(crate) struct Ask {
    pub(crate) kind: Side,
    pub(crate) id: PersonId,
    #[serde(default)]
    pub(crate) admin: bool,
}

/// `POST /dev/token {kind, id, admin?}`
pub(crate) async fn token(
    State(embedded): State<Arc<Embedded>>,
    JsonBody(ask): JsonBody<Ask>,
) -> Result<Json<Token>, Error> {
    let issuer = embedded.issuer.as_ref().ok_or(Error::RouteNotFound)?;
    if ask.admin && !embedded.development.admins {
        return Err(Error::Forbidden("an admin's development token needs DEV_ADMIN=yes"));
    }
    issuer.issue(&ask, LIFETIME).map(Json)
}

/// `GET /dev/customers/.well-known/jwks.json`, and the same for dentists.
pub(crate) async fn jwks(
    State(embedded): State<Arc<Embedded>>,
    UrlPath(asked): UrlPath<String>,
) -> Result<Json<JwkSet>, Error> {
    let known = [Side::Contact, Side::Desk].map(side);
    match &embedded.issuer {
        Some(issuer) if known.contains(&asked.as_str()) => Ok(Json(issuer.set.clone())),
        _ => Err(Error::RouteNotFound),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn b20_a_proxy_is_known_by_what_it_adds() {
        let headers = |name: &'static str| {
            let value = HeaderValue::from_static("203.0.113.9");
            HeaderMap::from_iter([(HeaderName::from_static(name), value)])
        };
        for name in ["x-forwarded-for", "x-forwarded-proto", "forwarded", "via", "x-real-ip"] {
            assert!(is_proxied(&headers(name)), "{name}");
        }
        for name in ["host", "origin", "x-request-id", "user-agent", "x-forward"] {
            assert!(!is_proxied(&headers(name)), "{name}");
        }
    }

    #[test]
    fn b17_a_page_from_elsewhere_gets_no_development_token() {
        let ask = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_by_own_name(&headers) && is_from_here(&headers)
        };
        assert!(ask("localhost:3000", None) && ask("127.0.0.1:3000", None));
        assert!(ask("localhost:3000", Some("http://localhost:3000")));
        assert!(ask("[::1]:3000", Some("http://[::1]:3000")));
        for (host, origin) in [
            ("localhost:3000", Some("https://evil.example")),
            ("localhost:3000", Some("http://localhost:8080")),
            ("localhost:3000", Some("null")),
            ("rebind.evil.example:3000", None),
            ("rebind.evil.example:3000", Some("http://rebind.evil.example:3000")),
            ("localhost.evil.example", None),
            ("", None),
        ] {
            assert!(!ask(host, origin), "{host} {origin:?}");
        }
    }
}

//! Stand-ins for services that are not configured: a database in a file, an S3 server, a token issuer, and a
//! demo page. A build without the cargo feature `embedded` has none of them.

pub(crate) mod issuer;
pub(crate) mod s3;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use axum::{
    Router, extract,
    http::header,
    middleware,
    response::{IntoResponse, Redirect},
    routing::{get, post},
};

use crate::config::Config;
use chat::store::sqlite::Sqlite;
use identity::auth::config::DevelopmentConfig;
use protocol::error::Error;

/// Name of the database file in the data directory.
const DATABASE: &str = "frontdesk.db";

/// The stand-ins of one node that answer requests.
pub(crate) struct Embedded {
    /// The S3 server, if no bucket is configured.
    pub(crate) images: Option<s3::Server>,
    /// The token issuer, if no other is configured.
    pub(crate) issuer: Option<issuer::Issuer>,
    /// Uses of the issuer that are allowed.
    pub(crate) development: DevelopmentConfig,
}

/// Opens the embedded database. Creates its directory if it is missing.
pub(crate) fn database(data_dir: &Path) -> anyhow::Result<Sqlite> {
    make_data_dir(data_dir)?;
    lock(data_dir)?;
    let path = data_dir.join(DATABASE);
    // SQLite gives its other files the permissions of this one.
    for_this_user_only(fs::OpenOptions::new().append(true))
        .open(&path)
        .with_context(|| format!("DATA_DIR: can't write {}", path.display()))?;
    Sqlite::open(&path)
}

/// Creates the data directory for this user only: it holds patients' conversations and a key.
fn make_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("DATA_DIR: can't create {}", data_dir.display()))
}

/// Options that create a missing file which only this user can read.
fn for_this_user_only(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    options.create(true).mode(0o600)
}

/// Locks the data directory. Two processes on one database would not receive each other's messages, so the
/// second one does not start.
fn lock(data_dir: &Path) -> anyhow::Result<()> {
    let path = data_dir.join("frontdesk.lock");
    let file = fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock()
        .with_context(|| format!("DATA_DIR: another process is using {}", data_dir.display()))?;
    // The lock lasts as long as the process: the system releases it however the process ends.
    std::mem::forget(file);
    Ok(())
}

/// Services that are not configured, with their stand-ins.
pub(crate) fn stand_ins(config: &Config, embedded: &Embedded) -> Vec<(&'static str, String)> {
    let mut stand_ins = Vec::new();
    if config.postgres.is_none() {
        let path = config.data_dir.join(DATABASE);
        let path = std::path::absolute(&path).unwrap_or(path);
        stand_ins.push(("database (POSTGRES_HOST)", format!("SQLite in {}", path.display())));
    }
    if config.redis.is_none() {
        stand_ins.push(("bus (REDIS_HOST)", "none: this is the only node".to_owned()));
    }
    if config.mysql.is_none() {
        let names = "neutral names, and those in people.json of the data directory";
        stand_ins.push(("directory (MYSQL_HOST)", names.to_owned()));
    }
    if config.s3.is_none() {
        let pictures = "an S3 server on the data directory, which no other node shares".to_owned();
        stand_ins.push(("pictures (S3_BUCKET)", pictures));
    }
    if let Some(issuer) = &embedded.issuer {
        let tokens = format!("a development issuer at {}", issuer.url());
        stand_ins.push(("tokens (COGNITO_USER_POOL_ID, DJANGO_JWT_SECRET)", tokens));
    }
    stand_ins
}

/// Routes of the stand-ins of this node.
pub(crate) fn routes(embedded: &Arc<Embedded>) -> Router {
    let mut router = Router::new();
    if embedded.issuer.is_some() {
        router = router.merge(routes_of_issuer(embedded));
    }
    if embedded.images.is_some() {
        // The path of a bucket, because the signature covers the whole path.
        let object = get(s3::object).put(s3::object);
        router = router.route("/frontdesk-images/{session}/{name}", object);
    }
    router.with_state(Arc::clone(embedded))
}

/// Routes of the demo page and of the issuer.
fn routes_of_issuer(embedded: &Arc<Embedded>) -> Router<Arc<Embedded>> {
    Router::new()
        .route("/", get(async || Redirect::to("/demo/")))
        .route("/demo/", get(async || page("index.html")))
        .route("/demo/{file}", get(async |extract::Path(file): extract::Path<String>| page(&file)))
        .route("/dev/token", post(issuer::token))
        .route("/dev/{side}/.well-known/jwks.json", get(issuer::jwks))
        .route_layer(middleware::from_fn_with_state(Arc::clone(embedded), issuer::guard))
}

/// One file of the demo page.
macro_rules! file {
    ($name:literal, $content_type:literal) => {
        ($name, concat!($content_type, "; charset=utf-8"), include_str!(concat!("../web/", $name)))
    };
}

/// The demo page: name, content type and text of each file.
const PAGE: [(&str, &str, &str); 16] = [
    file!("index.html", "text/html"),
    file!("style.css", "text/css"),
    file!("conversation.css", "text/css"),
    file!("demo.js", "text/javascript"),
    file!("pane.js", "text/javascript"),
    file!("api.js", "text/javascript"),
    file!("chat.js", "text/javascript"),
    file!("rail.js", "text/javascript"),
    file!("conversation.js", "text/javascript"),
    file!("line.js", "text/javascript"),
    file!("composer.js", "text/javascript"),
    file!("drafts.js", "text/javascript"),
    file!("search.js", "text/javascript"),
    file!("images.js", "text/javascript"),
    file!("people.js", "text/javascript"),
    file!("dom.js", "text/javascript"),
];

/// Everything comes from this node except avatars, whose URLs come from the directory.
const PAGE_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob: data: http: https:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

fn page(name: &str) -> Result<impl IntoResponse + use<>, Error> {
    let file = PAGE.into_iter().find(|(file, ..)| *file == name);
    let (_, content_type, text) = file.ok_or(Error::RouteNotFound)?;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, PAGE_SECURITY_POLICY),
    ];
    Ok((headers, text))
}

//! `/docs`: a page to browse and try `/openapi.json` with. All of it is in the binary.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::Path,
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use crate::{
    error::Error,
    openapi::problems::{Anyone, NoRoute, Problems},
};

/// Nothing comes from elsewhere and nothing is inline; its icons are `data:` in its styles.
const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page reads, wherever a proxy has put it; nobody else is asked what they think of it.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(
        Config::from("../openapi.json")
            .validator_url("none")
            .deep_linking(true)
            .filter(true)
            .use_base_layout(),
    )
});

/// To the page.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 303, description = "To `/docs/`.", headers(("Location" = String))), Problems<(Anyone,)>)
)]
pub(crate) async fn docs() -> Redirect {
    // Relative, as a proxy may have put it elsewhere.
    Redirect::to("docs/")
}

/// The page.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 200, body = String, content_type = "text/html", description = "The page."), Problems<(Anyone,)>)
)]
pub(crate) async fn page() -> Result<Response, Error> {
    file(Path(String::new())).await
}

/// A file of the page, compressed.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    params(("file" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "The file.", content(
            (String = "text/css"), (String = "text/html"), (String = "text/javascript"), (Vec<u8> = "image/png"),
        )),
        Problems<(Anyone, NoRoute)>,
    )
)]
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Error> {
    let file = serve(&name, Arc::clone(&CONFIG)).ok().flatten().ok_or(Error::RouteNotFound)?;
    let SwaggerFile { bytes, content_type, gzpipped: is_gzip, .. } = file;
    let changes = name.is_empty() || name == "swagger-initializer.js";
    let cache = if changes { "no-cache" } else { "public, max-age=3600" };
    let headers = [
        (header::CONTENT_TYPE, content_type.as_str()),
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::CACHE_CONTROL, cache),
    ];
    let mut response = (headers, bytes.into_owned()).into_response();
    if is_gzip {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

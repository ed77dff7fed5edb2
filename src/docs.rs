//! `/docs`: a page to browse and try `/openapi.json`. All of it is in the binary.

use std::{
    io::Read,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use flate2::read::GzDecoder;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use protocol::{
    error::Error,
    problems::{Anyone, NoRoute, Problems},
};

/// Everything comes from this node and nothing is inline. Icons are `data:` URLs in the styles.
const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Configuration of the page. The path is relative, for proxies with a prefix. No external validator is used.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(
        Config::from("../openapi.json")
            .validator_url("none")
            .deep_linking(true)
            .filter(true)
            .use_base_layout(),
    )
});

/// Redirects to the page.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 303, description = "Redirect to `/docs/`.", headers(("Location" = String))), Problems<(Anyone,)>)
)]
pub(crate) async fn docs() -> Redirect {
    // Relative, because a proxy may add a prefix.
    Redirect::to("docs/")
}

/// The page for browsing this API.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 200, body = String, content_type = "text/html", description = "The page."), Problems<(Anyone,)>)
)]
pub(crate) async fn page(headers: HeaderMap) -> Result<Response, Error> {
    file(Path(String::new()), headers).await
}

/// A file of the page, compressed if the client accepts it.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    params(("file" = String, Path, description = "The file's name.")),
    responses(
        (status = 200, description = "The file.", content(
            (String = "text/css"), (String = "text/html"), (String = "text/javascript"), (Vec<u8> = "image/png"),
        )),
        Problems<(Anyone, NoRoute)>,
    )
)]
pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    let file = serve(&name, Arc::clone(&CONFIG)).ok().flatten().ok_or(Error::RouteNotFound)?;
    let SwaggerFile { bytes, content_type, gzpipped: is_gzip, .. } = file;
    let changes = name.is_empty() || name == "swagger-initializer.js";
    let cache = if changes { "no-cache" } else { "public, max-age=3600" };
    let takes_gzip = headers.get_all(header::ACCEPT_ENCODING).iter().any(names_gzip);
    let headers = [
        (header::VARY, "accept-encoding"),
        (header::CONTENT_TYPE, content_type.as_str()),
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::CACHE_CONTROL, cache),
    ];
    if is_gzip && !takes_gzip {
        let mut plain = Vec::new();
        GzDecoder::new(&*bytes).read_to_end(&mut plain).map_err(|_| Error::Internal)?;
        return Ok((headers, plain).into_response());
    }
    let mut response = (headers, bytes.into_owned()).into_response();
    if is_gzip {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

/// Whether a list of encodings accepts gzip.
fn names_gzip(list: &HeaderValue) -> bool {
    let list = list.to_str().unwrap_or_default().to_ascii_lowercase();
    list.split(',').map(|item| item.replace(' ', "")).any(|item| {
        let (name, weight) = item.split_once(";q=").unwrap_or((&item, "1"));
        matches!(name, "gzip" | "*") && weight.parse().is_ok_and(|weight: f32| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_takes_no_gzip_gets_the_file_as_it_is() {
        let ask = async |accepted: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(accepted.map(|it| (header::ACCEPT_ENCODING, it.parse().unwrap())));
            let (head, body) = page(headers).await.unwrap().into_parts();
            assert_eq!(head.headers[header::VARY], "accept-encoding");
            let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            (head.headers.contains_key(header::CONTENT_ENCODING), bytes.starts_with(&[0x1f, 0x8b]))
        };
        for gzip in ["gzip", "br, gzip;q=0.5", "*"] {
            assert_eq!(ask(Some(gzip)).await, (true, true), "{gzip}");
        }
        for other in [None, Some("identity"), Some("br"), Some("gzip;q=0, *;q=0"), Some("")] {
            assert_eq!(ask(other).await, (false, false), "{other:?}");
        }
    }
}

//! `/openapi.json`: the HTTP API, generated from its handlers and types.
//!
//! A route and its documentation are one line of `router.rs` or of the gateway ([`platform::openapi::at`]), so neither exists without the other. A
//! handler documents its input and output. Its errors are lists of [`protocol::problems`], with the texts of the one
//! table of errors.

use std::sync::LazyLock;

use axum::{body::Bytes, response::IntoResponse};
use serde_json::json;
use utoipa::{
    OpenApi,
    openapi::{
        RefOr, Schema,
        path::{Operation, Parameter},
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use platform::openapi::{each_operation, header, json_document, schema};
use protocol::{
    problem::Problem,
    problems::{Anyone, Problems},
};

/// Description of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "frontdesk",
        description = "Real-time chat between an organisation's customers and its professionals.\n\n\
            Errors are `application/problem+json` (RFC 9457) with a stable `code` and the `requestId`, which \
            is in `X-Request-Id` too. A request may bring its own: 1 to 64 characters of `A-Z a-z 0-9 - _ .`. \
            Answers with 429 and 503 have `Retry-After`, in seconds. Lists are `{items, nextCursor}`; \
            `nextCursor` is null at the end. Every write is safe to retry. Ignore unknown fields; the server \
            ignores them too.\n\n\
            The events on sockets are in [asyncapi.json](/asyncapi.json). A node with its own issuer, storage \
            or page has routes for them that are not listed here.",
    ),
    tags(
        (name = "chats", description = "Sessions: the conversations of one customer and one dentist."),
        (name = "messages", description = "The messages of a session."),
        (name = "images", description = "Pictures. Presigned URLs transfer them without the node."),
        (name = "admin", description = "For tokens with `\"role\": \"admin\"`, `\"is_staff\": true`, or the group `admin` of Cognito."),
        (name = "tenants", description = "The organisations on this installation, for its operator. Without `PLATFORM_API_KEY` these routes are 404."),
        (name = "issuers", description = "The issuers of a tenant's tokens."),
        (name = "node", description = "For machines and operators."),
        (name = "sockets", description = "Handshakes of sockets. The events on sockets are in asyncapi.json."),
        (name = "documents", description = "This document and the document of events."),
    ),
    components(schemas(Problem)),
    security(("bearer" = [])),
)]
struct Whole;

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());

/// The document of all routes.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = Whole::openapi();
    document.merge(gateway::routes::routes().split_for_parts().1);
    document.merge(crate::router::routes().split_for_parts().1);
    for item in document.paths.paths.values_mut() {
        each_operation(item, complete);
    }
    let components = document.components.get_or_insert_default();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description =
        Some("A token of AWS Cognito (customers) or Django (dentists).".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let key = ApiKeyValue::with_description("X-API-Key", "`PLATFORM_API_KEY` of the node.");
    components.add_security_scheme("platform", SecurityScheme::ApiKey(ApiKey::Header(key)));
    if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem") {
        let codes = schema(&json!({ "type": "string", "enum": protocol::error::codes() }));
        problem.properties.insert("code".to_owned(), codes);
    }
    document
}

/// Adds the parts that types can't declare.
fn complete(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter {
            description,
            schema: Some(RefOr::T(Schema::Object(schema))),
            ..
        }) = parameter
            && description.is_none()
        {
            *description = schema.description.take();
        }
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let id = header("Id of the request, as in the log.", &json!({ "type": "string" }));
            response.headers.insert("X-Request-Id".to_owned(), id.into());
        }
    }
}

/// This document, as JSON.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 200, body = Value, description = "OpenAPI 3.1"), Problems<(Anyone,)>)
)]
pub(crate) async fn openapi() -> impl IntoResponse {
    json_document(DOCUMENT.clone())
}

/// AsyncAPI description of the events on sockets, as JSON.
#[utoipa::path(
    get, path = "", tag = "documents", security(()),
    responses((status = 200, body = Value, description = "AsyncAPI 3.0"), Problems<(Anyone,)>)
)]
pub(crate) async fn asyncapi() -> impl IntoResponse {
    json_document(protocol::asyncapi::json())
}

#[cfg(test)]
mod tests;

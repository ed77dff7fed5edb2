//! `/openapi.json`: the HTTP API, generated from its handlers and types.
//!
//! A route and its documentation are one line of `router.rs` ([`at`]), so neither exists without the other. A
//! handler documents its input and output. Its errors are lists of [`problems`], with the texts of the one
//! table of errors.

pub(crate) mod problems;

use std::sync::{Arc, LazyLock};

use axum::{body::Bytes, http::header, response::IntoResponse};
use serde_json::{Value, json};
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        header::{Header, HeaderBuilder},
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::{app::App, http::problem::Problem};

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
        (name = "node", description = "For machines and operators."),
        (name = "sockets", description = "Handshakes of sockets. The events on sockets are in asyncapi.json."),
        (name = "documents", description = "This document and the document of events."),
    ),
    components(schemas(Problem)),
    security(("bearer" = [])),
)]
struct Whole;

/// A route: its path, and handlers with their documentation ([`utoipa_axum::routes`]), which name no path.
pub(crate) fn at(
    path: &str,
    (schemas, mut paths, handlers): UtoipaMethodRouter<Arc<App>>,
) -> UtoipaMethodRouter<Arc<App>> {
    let items = std::mem::take(&mut paths.paths);
    for mut item in items.into_values() {
        each_operation(&mut item, name);
        paths.paths.insert(path.to_owned(), item);
    }
    (schemas, paths, handlers)
}

/// Names an operation by noun and verb, because handlers of different nouns have the same name.
fn name(operation: &mut Operation) {
    let noun = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    let verb = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{noun}_{verb}"));
}

fn each_operation(item: &mut PathItem, mut tell: impl FnMut(&mut Operation)) {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten().for_each(&mut tell);
}

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());

/// The document of all routes.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let (_, routes) = crate::router::routes().split_for_parts();
    let mut document = Whole::openapi();
    document.merge(routes);
    for item in document.paths.paths.values_mut() {
        each_operation(item, complete);
    }
    let components = document.components.get_or_insert_default();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description =
        Some("A token of AWS Cognito (customers) or Django (dentists).".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem") {
        let codes = schema(&json!({ "type": "string", "enum": crate::error::codes() }));
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
    responses((status = 200, body = Value, description = "OpenAPI 3.1"), problems::Problems<(problems::Anyone,)>)
)]
pub(crate) async fn openapi() -> impl IntoResponse {
    json_document(DOCUMENT.clone())
}

/// A document that changes only with the node's version.
pub(crate) fn json_document(json: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
}

/// A schema written by hand.
pub(crate) fn schema(written: &Value) -> RefOr<Schema> {
    serde_json::from_value(written.clone()).map_or_else(|_| Schema::default().into(), RefOr::T)
}

/// A reference to a type's schema.
pub(crate) fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// A type of the code, by which a document refers to it and describes it.
pub(crate) struct Documented {
    schemas: fn(&mut Schemas),
    reference: fn() -> RefOr<Schema>,
}

/// Schemas by their names.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

impl Documented {
    pub(crate) const fn of<T: ToSchema>() -> Self {
        let schemas = |schemas: &mut Schemas| {
            schemas.push((T::name().into(), T::schema()));
            T::schemas(schemas);
        };
        Self { schemas, reference: reference::<T> }
    }

    /// Adds the type's schema and the schemas inside it, and returns a reference.
    pub(crate) fn tell(&self, schemas: &mut Schemas) -> RefOr<Schema> {
        (self.schemas)(schemas);
        (self.reference)()
    }
}

/// Schema of a `seq` or a revision from a client: a number of 64 bits.
pub(crate) fn count() -> RefOr<Schema> {
    schema(&json!({ "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX }))
}

pub(crate) fn header(description: &str, written: &Value) -> Header {
    HeaderBuilder::new().schema(Some(schema(written))).description(Some(description)).build()
}

/// Schema of a message id.
pub(crate) fn message_id() -> RefOr<Schema> {
    schema(&json!({ "type": "string", "format": "uuid" }))
}

/// A parameter in the path.
pub(crate) fn in_path(name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

#[cfg(test)]
mod tests;

//! Schemas and parameters for the documents of an API.

use axum::{body::Bytes, http::header, response::IntoResponse};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        header::{Header, HeaderBuilder},
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
    },
};
use utoipa_axum::router::UtoipaMethodRouter;

/// A document that changes only with the node's version.
pub fn json_document(json: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
}

/// A schema written by hand.
pub fn schema(written: &Value) -> RefOr<Schema> {
    serde_json::from_value(written.clone()).map_or_else(|_| Schema::default().into(), RefOr::T)
}

/// A reference to a type's schema.
pub fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// A type of the code, by which a document refers to it and describes it.
pub struct Documented {
    schemas: fn(&mut Schemas),
    reference: fn() -> RefOr<Schema>,
}

/// Schemas by their names.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

impl Documented {
    /// This type.
    pub const fn of<T: ToSchema>() -> Self {
        let schemas = |schemas: &mut Schemas| {
            schemas.push((T::name().into(), T::schema()));
            T::schemas(schemas);
        };
        Self { schemas, reference: reference::<T> }
    }

    /// Adds the type's schema and the schemas inside it, and returns a reference.
    pub fn tell(&self, schemas: &mut Schemas) -> RefOr<Schema> {
        (self.schemas)(schemas);
        (self.reference)()
    }
}

/// Schema of a `seq` or a revision from a client: a number of 64 bits.
pub fn count() -> RefOr<Schema> {
    schema(&json!({ "type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX }))
}

/// A header of an answer.
pub fn header(description: &str, written: &Value) -> Header {
    HeaderBuilder::new().schema(Some(schema(written))).description(Some(description)).build()
}

/// A parameter in the path.
pub fn in_path(name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A route: its path, and handlers with their documentation ([`utoipa_axum::routes`]), which name no path.
pub fn at<S>(
    path: &str,
    (schemas, mut paths, handlers): UtoipaMethodRouter<S>,
) -> UtoipaMethodRouter<S> {
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

/// Visits each operation of a path.
pub fn each_operation(item: &mut PathItem, mut tell: impl FnMut(&mut Operation)) {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten().for_each(&mut tell);
}

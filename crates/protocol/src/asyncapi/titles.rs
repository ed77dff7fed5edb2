//! Titles of the schemas. Generators of code name their types by them.

use serde_json::Value;

/// Keywords of a schema that becomes a type of its own.
const COMPOSITE: [&str; 6] = ["properties", "oneOf", "anyOf", "allOf", "enum", "const"];

/// Gives this title to a schema, and titles below it to the types inside. Titles that are there stay.
pub(super) fn entitle(schema: &mut Value, title: &str) {
    if let Value::Object(keywords) = schema
        && !keywords.contains_key("$ref")
    {
        keywords.entry("title").or_insert_with(|| title.into());
    }
    entitle_inside(schema, title);
}

fn entitle_inside(schema: &mut Value, title: &str) {
    let Value::Object(keywords) = schema else { return };
    // A title that was there is the prefix of those inside.
    let title = keywords.get("title").and_then(Value::as_str).unwrap_or(title).to_owned();
    for (keyword, inside) in keywords {
        match (keyword.as_str(), inside) {
            ("properties", Value::Object(properties)) => {
                for (name, schema) in properties {
                    entitle_type(schema, &format!("{title}{}", in_pascal_case(name)));
                }
            }
            ("items" | "additionalProperties", schema @ Value::Object(_)) => {
                entitle_type(schema, &format!("{title}Item"));
            }
            ("items" | "oneOf" | "anyOf" | "allOf", Value::Array(schemas)) => {
                for (number, schema) in (1..).zip(schemas) {
                    let name = variant(schema).unwrap_or_else(|| number.to_string());
                    entitle_type(schema, &format!("{title}{name}"));
                }
            }
            _ => {}
        }
    }
}

/// A scalar needs no title, because it is no type of its own.
fn entitle_type(schema: &mut Value, title: &str) {
    if is_type(schema) { entitle(schema, title) } else { entitle_inside(schema, title) }
}

fn is_type(schema: &Value) -> bool {
    let is_tuple = schema.get("items").is_some_and(Value::is_array);
    is_tuple
        || schema.get("type").is_some_and(|of| of == "object")
        || COMPOSITE.iter().any(|keyword| schema.get(keyword).is_some())
}

/// Name of a variant: the only value of one of its properties.
fn variant(schema: &Value) -> Option<String> {
    let properties = schema.get("properties").and_then(Value::as_object)?;
    let mut values = properties.values().filter_map(|property| {
        let values = property.get("enum").and_then(Value::as_array)?;
        values.first().filter(|_| values.len() == 1)?.as_str()
    });
    values.next().map(in_pascal_case)
}

/// `message.new` and `sessionId` become `MessageNew` and `SessionId`.
pub(super) fn in_pascal_case(name: &str) -> String {
    let words = name.split(['.', ':', '_', '-']).map(|word| {
        let mut letters = word.chars();
        let first = letters.next().into_iter().flat_map(char::to_uppercase);
        first.chain(letters).collect::<String>()
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// Finds types without a title, and different types with the same title.
    fn check(path: &str, schema: &Value, titles: &mut BTreeMap<String, Value>) {
        if let Some(title) = schema.get("title").and_then(Value::as_str) {
            let other = titles.entry(title.to_owned()).or_insert_with(|| schema.clone());
            assert_eq!(other, schema, "{path} is called {title} too");
        } else {
            assert!(!is_type(schema), "{path} has no title");
        }
        match schema {
            Value::Object(inside) => {
                for (name, inside) in inside {
                    check(&format!("{path}/{name}"), inside, titles);
                }
            }
            Value::Array(inside) => {
                for (number, inside) in inside.iter().enumerate() {
                    check(&format!("{path}/{number}"), inside, titles);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn no_type_in_the_document_of_events_is_anonymous() {
        let mut document = crate::asyncapi::document();
        let components = &mut document["components"];
        let mut titles = BTreeMap::new();
        for (name, schema) in components["schemas"].as_object().unwrap() {
            assert_eq!(schema["title"], **name);
            check(name, schema, &mut titles);
        }
        for (key, message) in components["messages"].as_object().unwrap() {
            assert!(message["payload"]["title"].is_string(), "{key}");
            check(key, &message["payload"], &mut titles);
        }
        let titles: Vec<_> = titles.keys().map(String::as_str).collect();
        for title in ["NativeMessageSendRequest", "SocketIoMessageNewEvent", "PostText"] {
            assert!(titles.contains(&title), "{titles:?}");
        }
    }

    #[test]
    fn types_are_named_by_their_place_and_scalars_are_not() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "last_seen": { "oneOf": [{ "type": "null" }, { "$ref": "#/x" }] },
                "parts": { "type": "array", "items": { "type": "object", "title": "Own" } },
            },
            "oneOf": [{ "properties": { "kind": { "enum": ["text"] } } }, { "allOf": [] }],
        });
        entitle(&mut schema, "Outer");
        let titled = json!({
            "title": "Outer",
            "type": "object",
            "properties": {
                "id": { "type": "string" },
                "last_seen": {
                    "title": "OuterLastSeen", "oneOf": [{ "type": "null" }, { "$ref": "#/x" }],
                },
                "parts": { "type": "array", "items": { "type": "object", "title": "Own" } },
            },
            "oneOf": [
                {
                    "title": "OuterText",
                    "properties": { "kind": { "title": "OuterTextKind", "enum": ["text"] } },
                },
                { "title": "Outer2", "allOf": [] },
            ],
        });
        assert_eq!(schema, titled);
    }
}

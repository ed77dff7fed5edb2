use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use platform::openapi::Schemas;
use protocol::{ClientEvent, requests::REQUESTS, server_events::EVENTS};

/// Methods by path, read from the router's debug output.
fn answered<S>(router: &axum::Router<S>) -> BTreeMap<String, BTreeSet<String>> {
    let told = format!("{router:?}");
    let (told, _) = told.split_once("fallback_router").expect("it tells its fallback");
    let (handlers, paths) = told.split_once("node: Node").expect("it tells its paths");
    let methods = |id: &str| {
        let (_, of) = handlers.split_once(&format!("{id}: MethodRouter")).expect("a handler");
        let (_, of) = of.split_once("allow_header: Bytes(b\"").expect("its methods");
        let (methods, _) = of.split_once('"').expect("their end");
        // HEAD comes with GET.
        methods.split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect()
    };
    let paths = paths.split("RouteId").skip(1).map(|entry| {
        let (id, path) = entry.split_once(": \"").expect("an id and a path");
        (path.split('"').next().unwrap_or_default().to_owned(), methods(&format!("RouteId{id}")))
    });
    paths.collect()
}

fn documented(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
    paths.map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn every_route_is_documented_and_every_documented_one_is_there() {
    let (router, _) = crate::router::routes().split_for_parts();
    let (of_clients, _) = gateway::routes::routes().split_for_parts();
    let document = json!(document());
    let mut answered = answered(&router);
    answered.extend(self::answered(&of_clients));
    assert!(answered.len() > 20 && answered["/api/chats"].len() == 2, "{answered:?}");
    assert_eq!(answered, documented(&document));
    // A route outside the document is noticed.
    let more = router.route("/more", axum::routing::put(async || ()));
    assert!(self::answered(&more)["/more"].contains("PUT"));
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn every_operation_says_what_it_is_takes_and_gives() {
    let document = json!(document());
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(operation["summary"].is_string(), "{name}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id}");
        let path = name.split_once(' ').unwrap().1;
        let in_path = |part: &&str| part.starts_with('{');
        for part in path.split('/').filter(in_path) {
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            let name = part.trim_matches(['{', '}']);
            assert!(parameters.any(|parameter| parameter["name"] == name), "{path}: {name}");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.values().all(|of| of["headers"]["X-Request-Id"].is_object()), "{name}");
        let is_probe = path == "/health/live" || path == "/health/ready";
        assert!(is_probe || responses.contains_key("429"), "{name}");
        if operation["security"].is_null() {
            assert!(responses.contains_key("401") && responses.contains_key("403"), "{name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_both_documents_mean_the_same_by_a_name() {
    for document in [json!(document()), protocol::asyncapi::document()] {
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert!(!text.contains("[`"), "a link that leads nowhere");
    }
    let mut known = BTreeMap::new();
    let mut schemas = Schemas::new();
    for request in REQUESTS {
        request.data.tell(&mut schemas);
        request.answer.tell(&mut schemas);
    }
    for event in EVENTS {
        event.data.tell(&mut schemas);
    }
    let whole = document();
    let http = whole.components.unwrap().schemas.into_iter().filter(|(name, _)| name != "Problem");
    for (name, schema) in schemas.into_iter().chain(http) {
        let schema = json!(schema);
        assert_eq!(*known.entry(name.clone()).or_insert_with(|| schema.clone()), schema, "{name}");
    }
}

#[test]
fn every_event_is_in_the_document_of_events() {
    let document = protocol::asyncapi::document();
    for framing in ["native", "socketio"] {
        for request in REQUESTS {
            let key = request.name.replace(':', ".");
            assert!(document["operations"][format!("{framing}.{key}")].is_object(), "{key}");
            // Every listed event is known to the parser.
            assert!(!matches!(
                ClientEvent::parse(request.name, None),
                Err(protocol::error::Error::UnknownEvent)
            ));
        }
        for event in EVENTS {
            let key = format!("{framing}.{}.told", event.name.replace(':', "."));
            assert!(document["components"]["messages"][key].is_object(), "{}", event.name);
        }
        let close = document["channels"][framing]["x-close-codes"].as_array().unwrap();
        assert!(close.iter().any(|why| why["code"] == 4408) && close.len() == 9);
    }
    let codes = &document["components"]["schemas"]["WireError"]["properties"]["code"]["enum"];
    assert!(codes.as_array().unwrap().len() >= 30, "{codes}");
}

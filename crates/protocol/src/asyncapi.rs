//! `/asyncapi.json`: the events on sockets, in both framings, generated from the Rust types.
//!
//! Events come from [`REQUESTS`] and [`EVENTS`], codes from the tables of errors and of close codes.

mod titles;

use std::sync::LazyLock;

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use crate::{CloseCode, Framing, error::WireError, requests::REQUESTS, server_events::EVENTS};
use platform::openapi::{Documented, Schemas, count};
use titles::{entitle, in_pascal_case};

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec(&document()).unwrap_or_default().into());

/// The document, as JSON.
pub fn json() -> Bytes {
    DOCUMENT.clone()
}

/// The document.
pub fn document() -> Value {
    let mut parts = Parts::default();
    for framing in [Framing::Native, Framing::SocketIo] {
        for request in REQUESTS {
            parts.request(framing, request.name, &request.data, &request.answer);
        }
        for event in EVENTS {
            parts.event(framing, event.name, event.receivers, &event.data);
        }
    }
    let Parts { schemas, messages, operations } = parts;
    let mut schemas: Map<_, _> =
        schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    if let Some(code) =
        schemas.get_mut("WireError").and_then(|of| of.pointer_mut("/properties/code"))
    {
        *code = json!({ "type": "string", "enum": crate::error::codes() });
    }
    for (name, schema) in &mut schemas {
        entitle(schema, name);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "frontdesk: events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "defaultContentType": "application/json",
        "servers": { "node": {
            "host": "{host}",
            "protocol": "wss",
            "description": "Any node, through any load balancer, without sticky sessions.",
            "variables": { "host": { "default": "chat.example" } },
            "security": TOKENS.map(|name| json!({ "$ref": format!("#/components/securitySchemes/{name}") })),
        } },
        "channels": {
            "native": channel("native", "/ws", NATIVE, &messages, &json!({ "ws": {
                "method": "GET",
                "query": { "title": "NativeQuery", "type": "object", "properties": { "token": { "type": "string" } } },
                "bindingVersion": "0.1.0",
            } })),
            "socketio": channel("socketio", "/socket.io/", SOCKETIO, &messages, &json!({})),
        },
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": security_schemes(),
        },
    })
}

const ABOUT: &str = "The events on frontdesk's sockets. Both framings have the same events, answers and rules. \
    An operation with the action `receive` is an event from a client to a node, one with `send` is an event from a \
    node to a client. A node starts requests in their order, and may answer them in another order. Ignore unknown \
    fields. The HTTP API is in `/openapi.json`.";

const NATIVE: &str = "Each text frame is one JSON object. A request without `id` is processed and gets no answer. \
    An answer has the `id` of its request. An error leaves the connection open. `x-close-codes` lists the reasons \
    for the end of a connection.";

const SOCKETIO: &str = "Socket.IO 4 (Engine.IO 4), by `websocket` or `polling` with upgrade. A payload follows the \
    type of its packet: the name and the data of an event, or the only argument of an acknowledgement. An invalid \
    token is answered with CONNECT_ERROR and `data: {code, detail}`. At the end of a connection the WebSocket is \
    closed with a code of `x-close-codes`, or polling ends.";

const TOKENS: [&str; 4] = ["bearer", "subprotocol", "query", "auth"];

fn security_schemes() -> Value {
    json!({
        "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
        "subprotocol": {
            "type": "httpApiKey", "in": "header", "name": "Sec-WebSocket-Protocol",
            "description": "On `/ws`: the client offers `bearer, <token>`, and the server selects `bearer`.",
        },
        "query": { "type": "httpApiKey", "in": "query", "name": "token" },
        "auth": {
            "type": "apiKey", "in": "password",
            "description": "On `/socket.io/`: `auth: {token}` of the CONNECT packet.",
        },
    })
}

fn channel(
    name: &str,
    address: &str,
    description: &str,
    messages: &Map<String, Value>,
    bindings: &Value,
) -> Value {
    let prefix = format!("{name}.");
    let own = messages.keys().filter_map(|key| Some((key, key.strip_prefix(&prefix)?)));
    let own: Map<_, _> = own
        .map(|(key, short)| {
            (short.to_owned(), json!({ "$ref": format!("#/components/messages/{key}") }))
        })
        .collect();
    let close = CloseCode::iter().map(|why| json!({ "code": why.code(), "reason": why.reason() }));
    json!({
        "address": address,
        "description": description,
        "messages": own,
        "bindings": bindings,
        "x-close-codes": close.collect::<Vec<_>>(),
    })
}

/// Parts of the document, collected event by event.
#[derive(Default)]
struct Parts {
    schemas: Schemas,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

impl Parts {
    fn request(&mut self, framing: Framing, name: &str, data: &Documented, answer: &Documented) {
        let (channel, key) = (channel_of(framing), key(name));
        let title = title_of(framing, name);
        let data = json!(data.tell(&mut self.schemas));
        let payload = match framing {
            Framing::Native => json!({
                "type": "object",
                "required": ["event"],
                "properties": {
                    "id": json!(count()), "event": { "const": name }, "data": data,
                },
            }),
            Framing::SocketIo => arguments(&[json!({ "const": name }), data]),
        };
        self.message(channel, &key, name, &format!("{title}Request"), payload);
        let mut operation = operation("receive", channel, &key);
        let data = json!(answer.tell(&mut self.schemas));
        let error = json!(Documented::of::<WireError>().tell(&mut self.schemas));
        let answer_key = format!("{key}.answer");
        let payload = answered(framing, &title, &data, &error);
        self.message(channel, &answer_key, name, &format!("{title}Answer"), payload);
        let reply = json!({
            "channel": { "$ref": format!("#/channels/{channel}") },
            "messages": [{ "$ref": format!("#/channels/{channel}/messages/{answer_key}") }],
        });
        operation.insert("reply".to_owned(), reply);
        self.operations.insert(format!("{channel}.{key}"), operation.into());
    }

    fn event(&mut self, framing: Framing, name: &str, receivers: &str, data: &Documented) {
        let (channel, key) = (channel_of(framing), format!("{}.told", key(name)));
        let data = json!(data.tell(&mut self.schemas));
        let payload = match framing {
            Framing::Native => json!({
                "type": "object",
                "required": ["event", "data"],
                "properties": { "event": { "const": name }, "data": data },
            }),
            Framing::SocketIo => arguments(&[json!({ "const": name }), data]),
        };
        let title = format!("{}Event", title_of(framing, name));
        self.message(channel, &key, name, &title, payload);
        let mut operation = operation("send", channel, &key);
        operation.insert("description".to_owned(), receivers.into());
        self.operations.insert(format!("{channel}.{key}"), operation.into());
    }

    fn message(&mut self, channel: &str, key: &str, name: &str, title: &str, mut payload: Value) {
        entitle(&mut payload, title);
        let message = json!({ "name": name, "payload": payload });
        self.messages.insert(format!("{channel}.{key}"), message);
    }
}

fn channel_of(framing: Framing) -> &'static str {
    match framing {
        Framing::Native => "native",
        Framing::SocketIo => "socketio",
    }
}

/// Prefix of the titles of an event's schemas.
fn title_of(framing: Framing, name: &str) -> String {
    let framing = match framing {
        Framing::Native => "Native",
        Framing::SocketIo => "SocketIo",
    };
    format!("{framing}{}", in_pascal_case(name))
}

/// Key of an event in the document. Keys have no colons.
fn key(name: &str) -> String {
    name.replace(':', ".")
}

fn operation(action: &str, channel: &str, key: &str) -> Map<String, Value> {
    let message = json!({ "$ref": format!("#/channels/{channel}/messages/{key}") });
    Map::from_iter([
        ("action".to_owned(), action.into()),
        ("channel".to_owned(), json!({ "$ref": format!("#/channels/{channel}") })),
        ("messages".to_owned(), json!([message])),
    ])
}

fn arguments(items: &[Value]) -> Value {
    json!({ "type": "array", "items": items, "minItems": items.len() })
}

fn answered(framing: Framing, title: &str, data: &Value, error: &Value) -> Value {
    let one_of = |ok: bool, outcome: &str, name: &str, value: &Value| match framing {
        Framing::Native => json!({
            "title": format!("{title}{outcome}"),
            "type": "object",
            "required": ["id", "ok", name],
            "properties": { "id": json!(count()), "ok": { "const": ok }, name: value },
        }),
        Framing::SocketIo => json!({
            "title": format!("{title}{outcome}"),
            "type": "object",
            "required": ["ok", name],
            "properties": { "ok": { "const": ok }, name: value },
        }),
    };
    let done = one_of(true, "Done", "data", data);
    let refused = one_of(false, "Refused", "error", error);
    match framing {
        Framing::Native => json!({ "oneOf": [done, refused] }),
        // In Socket.IO the fields of `data` are repeated at the top level.
        Framing::SocketIo => {
            let done = json!({ "title": format!("{title}DoneWithFields"), "allOf": [done, data] });
            let title = format!("{title}Result");
            arguments(&[json!({ "title": title, "oneOf": [done, refused] })])
        }
    }
}

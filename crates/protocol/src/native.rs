//! The native framing: one JSON object in each text frame, as described in `docs/protocol.md`.

use std::borrow::Cow;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ClientEvent, CloseCode, Incoming, is_object, whole_or_none};
use crate::error::{Error, WireError};

/// A client's request, without the parsing of its data.
#[derive(Debug, Deserialize)]
struct Request<'a> {
    /// The id for the answer; without it there is no answer.
    #[serde(default, deserialize_with = "whole_or_none")]
    id: Option<u64>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Parses one frame. A frame that is not a request ends its connection.
pub fn parse(frame: &str) -> Incoming {
    if !is_object(frame.as_bytes()) {
        return Incoming::End(CloseCode::BadFrame);
    }
    let Ok(Request { id, event, data }) = serde_json::from_str(frame) else {
        return Incoming::End(CloseCode::BadFrame);
    };
    Incoming::Request { id, event: ClientEvent::parse(&event, data) }
}

#[derive(Serialize)]
struct Failed {
    id: u64,
    ok: bool,
    error: WireError,
}

/// The answer to the request with this id.
pub fn answer(id: u64, result: Result<&RawValue, &Error>) -> Utf8Bytes {
    match result {
        // `concat` allocates the exact size: a growing string may have twice the capacity.
        Ok(data) => [&format!(r#"{{"id":{id},"ok":true,"data":"#), data.get(), "}"].concat(),
        Err(error) => json(&Failed { id, ok: false, error: error.to_wire() }),
    }
    .into()
}

/// A server event.
pub fn push(event: &str, data: &RawValue) -> Utf8Bytes {
    [r#"{"event":"#, &json(&event), r#","data":"#, data.get(), "}"].concat().into()
}

fn json(value: &impl Serialize) -> String {
    // These values can't fail to serialize: they have only string keys, and no fallible
    // `Serialize`.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_has_an_event_and_may_have_an_id_and_data() {
        let frame = r#"{"id":7,"event":"auth:refresh","data":{"token":"t"}}"#;
        let request = parse(frame);
        let Incoming::Request { id: Some(7), event: Ok(ClientEvent::AuthRefresh(refresh)) } =
            request
        else {
            panic!("{request:?}")
        };
        assert_eq!(refresh.token, "t");
        assert!(matches!(parse(r#"{"event":"x"}"#), Incoming::Request { id: None, event: Err(_) }));
    }

    #[test]
    fn b31_b36_b37_what_is_no_request_is_a_bad_frame() {
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"id":-1,"event":"x"}"#,
            r#"{"id":1e999,"event":"x"}"#,
            r#"{"id":99999999999999999999,"event":"x"}"#,
            r#"{"event":{"toString":"x"}}"#,
            r#"{"event":"x","event":"y"}"#,
            r#"{"event":"x","data":NaN}"#,
            r#"[7,"session:leave",{}]"#,
        ] {
            assert!(matches!(parse(bad), Incoming::End(CloseCode::BadFrame)), "{bad}");
        }
    }

    #[test]
    fn b37_data_that_is_nested_too_deep_is_refused_and_its_connection_lives() {
        let deep = format!("{}1{}", "[".repeat(9_999), "]".repeat(9_999));
        for data in
            [deep.clone(), format!(r#"{{"sessionId":{deep}}}"#), format!(r#"{{"x":{deep}}}"#)]
        {
            let frame = format!(r#"{{"event":"message:send","data":{data}}}"#);
            let Incoming::Request { event: Err(refused), .. } = parse(&frame) else { panic!() };
            assert_eq!(refused.code(), "invalid_request");
        }
    }

    #[test]
    fn i14_what_is_wrong_is_told_without_a_word_of_what_was_sent() {
        fn refused<T: serde::de::DeserializeOwned>(sent: &str) -> String {
            crate::object::<T>(sent.as_bytes()).err().unwrap().to_string()
        }
        // An unknown field may have any name.
        for broken in [r#"{"secret":nul}"#, r#"{"secret""#, r#"{"token":"secret",x"#] {
            assert!(refused::<crate::AuthRefresh>(broken).starts_with("request: is not JSON"));
        }
        for odd in [r#"{"sessionId":"secret"}"#, r#"{"sessionId":"0193c3a0-!000"}"#] {
            assert_eq!(refused::<crate::Join>(odd), "sessionId: must be a UUID");
        }
        let odd = refused::<crate::AuthRefresh>(r#"{"token":["secret"]}"#);
        assert_eq!(odd, "token: expected a string");
    }

    proptest! {
        #[test]
        fn no_frame_makes_the_parser_panic(frame in ".{0,200}") {
            drop(parse(&frame));
        }
    }
}

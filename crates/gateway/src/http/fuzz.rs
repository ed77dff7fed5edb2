//! Properties of the parsers of HTTP bodies and queries, for any input.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a finding is a panic")]

use std::str::from_utf8;

use axum::{extract::Query, http::Uri};
use serde::de::DeserializeOwned;

use super::{
    chats,
    cursor::{self, of_offset, of_range, of_session, to_offset, to_range, to_session},
    images, messages, participants,
    platform::{issuers, tenants},
    search,
};
use chat::store::PAGE_MAX;
use model::person::Side;
use protocol::{
    Post,
    error::Error,
    fuzz::{is_plain, posted},
    object,
};

/// A JSON body, parsed as by every handler.
pub fn bodies(bytes: &[u8]) {
    read::<chats::Open>(bytes);
    read::<chats::Change>(bytes);
    read::<images::Ask>(bytes);
    read::<messages::Edit>(bytes);
    read::<messages::Read>(bytes);
    read::<participants::Professional>(bytes);
    read::<tenants::New>(bytes);
    read::<tenants::Change>(bytes);
    if let Err(error) = object::<issuers::New>(bytes).and_then(|new| new.parsed(true)) {
        is_plain(&error);
    }
    match object::<Post>(bytes).and_then(Post::into_content) {
        Err(error) => is_plain(&error),
        Ok((content, visibility)) => {
            let post = posted(&content, visibility);
            let again = object::<Post>(post.to_string().as_bytes()).and_then(Post::into_content);
            let (content, visibility) = again.expect("a body of our own");
            assert_eq!(posted(&content, visibility), post);
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) {
    if let Err(error) = object::<T>(bytes) {
        is_plain(&error);
    }
}

/// A query string, and a cursor on its own. An accepted cursor is one that this server can have written.
pub fn queries(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    is_ours(text);
    let Ok(uri) = Uri::builder().path_and_query(format!("/?{text}")).build() else { return };
    if let Ok(Query(history)) = Query::<messages::History>::try_from_uri(&uri) {
        told(history.range());
    }
    if let Ok(Query(list)) = Query::<chats::List>::try_from_uri(&uri) {
        for side in [Side::Contact, Side::Desk] {
            told(list.page(side));
        }
    }
    if let Ok(Query(search)) = Query::<search::Search>::try_from_uri(&uri)
        && let Some((query, offset, limit)) = told(search.wanted())
    {
        assert!(!query.trim().is_empty() && query.chars().count() <= 200);
        assert!(limit <= PAGE_MAX && (limit == 0 || offset + limit <= 1_000));
    }
}

fn is_ours(text: &str) {
    if let Some(place) = told(to_session(text)) {
        assert_eq!(of_session(place), text);
    }
    if let Some(range) = told(to_range(text)) {
        assert_eq!(of_range(range), text);
    }
    if let Some(offset) = told(to_offset(text)) {
        assert_eq!(of_offset(offset), text);
    }
    if let Some(limit) = told(cursor::limit(Some(text))) {
        assert!((1..=PAGE_MAX).contains(&limit));
    }
}

fn told<T>(read: Result<T, Error>) -> Option<T> {
    read.inspect_err(is_plain).ok()
}

//! Properties of the checks of pictures and of names from people, for any input.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a finding is a panic"
)]

use std::str::from_utf8;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::{
    disposition::disposition,
    format::{Detected, Format, detect},
    metadata::erase,
    origin::Origin,
    thumbnails::{SIDE, render},
};
use model::image::{FileName, ImageKey, ObjectKey};

/// An uploaded picture.
pub fn pictures(bytes: &[u8]) {
    let Detected::Picture(format, ..) = detect(bytes) else { return };
    // The first bytes decide the format: later bytes can't change it.
    let first = detect(bytes.get(..bytes.len() / 2).unwrap_or_default());
    assert!(!matches!(first, Detected::Picture(other, ..) if other != format));
    let mut erased = bytes.to_vec();
    if erase(&mut erased, format).is_ok() {
        assert_eq!(erased.len(), bytes.len());
        assert!(!erase(&mut erased, format).unwrap_or(false), "the second time nothing is left");
    }
    let Ok(thumbnail) = render(bytes, format) else { return };
    let Detected::Picture(Format::Jpeg, width, height) = detect(&thumbnail) else {
        panic!("a thumbnail is a JPEG")
    };
    assert!((1..=SIDE).contains(&width) && (1..=SIDE).contains(&height));
    assert!(!thumbnail.windows(6).any(|part| part == b"Exif\0\0"));
}

/// Names of pictures and of files, and the name of a host.
pub fn names(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    of_pictures(text);
    if let Ok(host) = HeaderValue::from_str(text)
        && let Some(origin) = Origin::of(&HeaderMap::from_iter([(header::HOST, host)]))
    {
        assert_eq!(origin.0, format!("http://{text}"));
    }
}

fn of_pictures(text: &str) {
    if let Ok(key) = text.parse::<ImageKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Some(key) = ObjectKey::parse(text) {
        assert!([key.original(), key.thumbnail()].iter().any(|written| written == text));
    }
    let Ok(name) = FileName::try_from(text.to_owned()) else { return };
    for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Heic, Format::Gif] {
        let header = disposition(Some(&name), format);
        assert!(HeaderValue::from_str(&header).is_ok_and(|value| value.to_str().is_ok()));
        assert_eq!(header.matches('"').count(), 2, "{header}");
        let ends = header.to_ascii_lowercase();
        let mut ends = format.extensions().iter().map(|extension| ends.ends_with(extension));
        assert!(ends.any(|ends| ends), "{header}");
    }
}

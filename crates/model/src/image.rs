//! Names of pictures: random ones of their objects, and those of the senders' files.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::ids::SessionId;

/// Random name of a picture within one session: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub struct ImageKey(u128);

/// Error for a text that is no image key.
#[derive(Debug, thiserror::Error)]
#[error("must be an imageKey from this service")]
pub struct InvalidImageKey;

impl ImageKey {
    /// A key of random bits.
    pub fn new(random: u128) -> Self {
        Self(random)
    }
}

impl FromStr for ImageKey {
    type Err = InvalidImageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(plain) {
            return Err(InvalidImageKey);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidImageKey)
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// Law I14: a key never reaches a log, not even by `{:?}`.
impl fmt::Debug for ImageKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ImageKey")
    }
}

/// Key of a picture's object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    session_id: SessionId,
    image: ImageKey,
}

/// Suffix of the thumbnail's key after the picture's key.
const THUMBNAIL: &str = "-320";

impl ObjectKey {
    /// The key of a picture of this session.
    pub fn new(session_id: SessionId, image: ImageKey) -> Self {
        Self { session_id, image }
    }

    /// Parses a key as [`ObjectKey::original`] or [`ObjectKey::thumbnail`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, image) = text.split_once('/')?;
        let image = image.strip_suffix(THUMBNAIL).unwrap_or(image);
        let session_id = SessionId(session.parse().ok()?);
        let key = Self::new(session_id, image.parse().ok()?);
        [key.original(), key.thumbnail()].iter().any(|written| written == text).then_some(key)
    }

    /// Name within the session.
    pub fn image(&self) -> &ImageKey {
        &self.image
    }

    /// Key of the picture itself.
    pub fn original(&self) -> String {
        format!("{}/{}", self.session_id.0, self.image)
    }

    /// Key of its thumbnail.
    pub fn thumbnail(&self) -> String {
        format!("{}/{}{THUMBNAIL}", self.session_id.0, self.image)
    }
}

/// Name of the sender's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    min_length = 1,
    pattern = r"^[^/\\\u0000-\u001f\u007f-\u009f]*[^\s/\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*$"
)]
pub struct FileName(String);

/// Maximum length of a file name, in Unicode scalar values. The database enforces it too.
const FILE_NAME_MAX: usize = 200;
/// Characters kept from the end of a longer name: the extension is there.
const FILE_NAME_END: usize = 20;

/// Error for a text that is no file name.
#[derive(Debug, thiserror::Error)]
#[error("must have at least one character, no control characters and no slashes")]
pub struct InvalidFileName;

impl FileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FileName {
    type Error = InvalidFileName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bad = |letter: char| letter.is_control() || matches!(letter, '/' | '\\');
        if text.trim().is_empty() || text.contains(bad) {
            return Err(InvalidFileName);
        }
        let length = text.chars().count();
        if length <= FILE_NAME_MAX {
            return Ok(Self(text));
        }
        let beginning = text.chars().take(FILE_NAME_MAX - FILE_NAME_END - 1);
        let end = text.chars().skip(length - FILE_NAME_END);
        Ok(Self(beginning.chain(['…']).chain(end).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b51_a_key_is_read_as_it_was_written_and_no_other_way() {
        let key = ObjectKey::new(SessionId(uuid::Uuid::from_u128(8)), ImageKey::new(u128::MAX));
        assert_eq!(ObjectKey::parse(&key.original()), Some(key.clone()));
        assert_eq!(ObjectKey::parse(&key.thumbnail()), Some(key.clone()));
        let (session, image) = (key.session_id.0, &key.image);
        for other in [
            format!("{session}/../{image}"),
            format!("../{session}/{image}"),
            format!("{session}/{}", image.to_string().to_uppercase()),
            format!("{}/{image}", session.simple()),
            format!("{session}/{image}-320-320"),
            format!("{session}/+{}", &image.to_string()[1..]),
            format!("{session}//{image}"),
            format!("{session}"),
            String::new(),
        ] {
            assert_eq!(ObjectKey::parse(&other), None, "{other}");
        }
        assert_eq!(format!("{image:?}"), "ImageKey");
    }

    #[test]
    fn a_file_has_a_name_and_no_path() {
        let name = |text: &str| FileName::try_from(text.to_owned());
        for good in ["x.jpg", "Röntgen (2).png", &"ä".repeat(200)] {
            assert_eq!(name(good).unwrap().as_str(), good);
        }
        for bad in ["", "  ", "../x", "a\\b", "a\r\nb", "a\0b"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        let shortened = name(&format!("{}.jpg", "ä".repeat(300))).unwrap();
        assert_eq!(shortened.as_str().chars().count(), 200);
        assert!(shortened.as_str().ends_with("ä.jpg") && shortened.as_str().contains('…'));
    }
}

//! Parts of a person's profile that come from the directory.

use std::{fmt, str::FromStr};

use serde::Serialize;
use utoipa::ToSchema;

/// URL of a person's picture: `http(s)`, at most 2,000 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(max_length = 2000, pattern = "^https?://")]
pub struct AvatarUrl(String);

/// Error for a text that is no such URL.
#[derive(Debug, thiserror::Error)]
#[error("must be an http(s) URL of at most 2,000 characters")]
pub struct InvalidAvatarUrl;

impl AvatarUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AvatarUrl {
    type Err = InvalidAvatarUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As the parser writes it, without characters that a browser interprets and a reader does not see.
        let url = url::Url::parse(text).map_err(|_| InvalidAvatarUrl)?;
        let allowed = matches!(url.scheme(), "http" | "https") && url.as_str().len() <= 2_000;
        allowed.then(|| Self(url.into())).ok_or(InvalidAvatarUrl)
    }
}

/// A plausible e-mail address: good enough to show it, not to trust it.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(max_length = 254)]
pub struct Email(String);

/// Error for a text that is no e-mail address.
#[derive(Debug, thiserror::Error)]
#[error("must be an e-mail address")]
pub struct InvalidEmail;

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        match text.rsplit_once('@') {
            // 254 bytes is the maximum length of an address that mail can be sent to.
            Some((name, host))
                if !name.is_empty()
                    && !host.is_empty()
                    && text.len() <= 254
                    && !text.contains(odd) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidEmail),
        }
    }
}

/// Law I14: an address never reaches a log, not even by `{:?}`.
impl fmt::Debug for Email {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Email")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_avatar_is_on_the_web_and_its_url_is_bounded() {
        let url = |text: &str| text.parse::<AvatarUrl>().map(|url| url.as_str().to_owned());
        assert_eq!(url("https://a.example/ä b").unwrap(), "https://a.example/%C3%A4%20b");
        let long = |count| format!("https://a.example/{}", "x".repeat(count));
        assert!(url(&long(1_900)).is_ok());
        // A URL may become longer when it is encoded.
        let grows = format!("https://a.example/{}", "ä".repeat(400));
        for bad in ["", "/a.png", "javascript:alert(1)", "data:,x", "http://", &long(2_000), &grows]
        {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn i14_an_email_is_plausible_and_does_not_print() {
        let email = " ada@example.test ".parse::<Email>().unwrap();
        assert_eq!(serde_json::to_value(&email).unwrap(), "ada@example.test");
        assert!(!format!("{email:?}").contains("ada"));
        let long = format!("{}@example.test", "x".repeat(250));
        for bad in ["", "ada", "@example.test", "ada@", "a b@c.d", "a@b\r\nBcc: c@d", &long] {
            assert!(bad.parse::<Email>().is_err(), "{bad}");
        }
    }
}

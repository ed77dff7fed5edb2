//! Tenants, and the issuers of their people's tokens.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Name of a tenant, for the operator: 1 to 100 characters, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)]
pub struct TenantName(String);

/// Error for a text that is no tenant's name.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 100 characters in one line")]
pub struct InvalidTenantName;

impl TenantName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantName {
    type Error = InvalidTenantName;

    fn try_from(text: String) -> Result<Self, InvalidTenantName> {
        let fits = (1..=100).contains(&text.chars().count())
            && !text.trim().is_empty()
            && !text.contains(char::is_control);
        if fits { Ok(Self(text.trim().to_owned())) } else { Err(InvalidTenantName) }
    }
}

impl FromStr for TenantName {
    type Err = InvalidTenantName;

    fn from_str(text: &str) -> Result<Self, InvalidTenantName> {
        text.to_owned().try_into()
    }
}

/// The `iss` of an issuer's tokens: 1 to 512 characters without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(min_length = 1, max_length = 512, pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]+$")]
pub struct IssuerName(String);

/// Error for a text that is no issuer's name.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to 512 characters without blanks")]
pub struct InvalidIssuerName;

impl IssuerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IssuerName {
    type Error = InvalidIssuerName;

    fn try_from(text: String) -> Result<Self, InvalidIssuerName> {
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        let fits = (1..=512).contains(&text.chars().count()) && !text.contains(is_odd);
        if fits { Ok(Self(text)) } else { Err(InvalidIssuerName) }
    }
}

impl FromStr for IssuerName {
    type Err = InvalidIssuerName;

    fn from_str(text: &str) -> Result<Self, InvalidIssuerName> {
        text.to_owned().try_into()
    }
}

/// Kind of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// A user pool of AWS Cognito: customers.
    Cognito,
    /// Django with `SimpleJWT`: professionals.
    Django,
}

impl IssuerKind {
    /// Name in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cognito => "cognito",
            Self::Django => "django",
        }
    }
}

/// Error for a text that is no issuer's kind.
#[derive(Debug, thiserror::Error)]
#[error("is no kind of issuer")]
pub struct InvalidIssuerKind;

impl FromStr for IssuerKind {
    type Err = InvalidIssuerKind;

    fn from_str(text: &str) -> Result<Self, InvalidIssuerKind> {
        [Self::Cognito, Self::Django]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(InvalidIssuerKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(" Praxis Süd ".parse::<TenantName>().unwrap().as_str(), "Praxis Süd");
        assert!("ä".repeat(100).parse::<TenantName>().is_ok());
        for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(bad.parse::<TenantName>().is_err(), "{bad:?}");
        }
        assert!("https://pool.example/a".parse::<IssuerName>().is_ok());
        for bad in ["", "a b", "a\u{0}", &"x".repeat(513)] {
            assert!(bad.parse::<IssuerName>().is_err(), "{bad:?}");
        }
    }
}

//! Secrets of tenants, sealed at rest (law I21).
//!
//! AES-256-GCM (NIST SP 800-38D) with a random nonce, under the first key of `SECRETS_KEY`; all keys of the list
//! open. A sealed secret is `1.<key>.<base64 of nonce, text and tag>`, where `<key>` names the key by its hash.
//! It opens only in its place: the place, such as the tenant and the issuer, is authenticated with it.

use std::collections::HashSet;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use secrecy::SecretString;

use platform::variables::{ConfigError, Variables};

/// Version of the format.
const VERSION: &str = "1";
/// Length of a key in bytes.
const KEY_LEN: usize = 32;

/// The keys that seal and open secrets. Without any, nothing is sealed.
#[derive(Default)]
pub struct Sealing {
    keys: Vec<Key>,
}

struct Key {
    name: String,
    key: RandomizedNonceKey,
}

/// Law I14: keys are not printed.
impl std::fmt::Debug for Sealing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sealing({} keys)", self.keys.len())
    }
}

/// Reason why a secret can't be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// There is no key.
    #[error("SECRETS_KEY is not set")]
    NoKey,
    /// It was sealed with a key that is not in the list.
    #[error("it was sealed with a key that is not in SECRETS_KEY")]
    UnknownKey,
    /// It was changed, or belongs in another place.
    #[error("it can't be opened: it was changed, or belongs elsewhere")]
    Broken,
}

impl Sealing {
    /// Reads `SECRETS_KEY`.
    pub fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let Some(text) = variables.text("SECRETS_KEY") else { return Ok(Self::default()) };
        // An empty item is a key that was forgotten.
        let keys = text.split(',').map(|text| Key::read(text.trim())).collect();
        let keys = keys_or_error(keys)?;
        let names: HashSet<_> = keys.iter().map(|key| &key.name).collect();
        if names.len() < keys.len() {
            return Err(Variables::error("SECRETS_KEY", "has one key twice"));
        }
        Ok(Self { keys })
    }

    /// Seals a secret for a place.
    pub fn seal(&self, secret: &str, place: &str) -> Result<String, SealingError> {
        let Key { name, key } = self.keys.first().ok_or(SealingError::NoKey)?;
        let mut text = secret.as_bytes().to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place), &mut text)
            .map_err(|_| SealingError::Broken)?;
        let sealed = [nonce.as_ref().as_slice(), &text].concat();
        Ok(format!("{VERSION}.{name}.{}", BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens a secret that was sealed for this place.
    pub fn open(&self, sealed: &str, place: &str) -> Result<SecretString, SealingError> {
        let mut parts = sealed.split('.');
        let (Some(VERSION), Some(name), Some(encoded), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(SealingError::Broken);
        };
        let key = self.keys.iter().find(|key| key.name == name);
        let key = key.ok_or(SealingError::UnknownKey)?;
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SealingError::Broken)?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(SealingError::Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealingError::Broken)?;
        let opened = key.key.open_in_place(nonce, Aad::from(place), text);
        let opened = opened.map_err(|_| SealingError::Broken)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealingError::Broken)?;
        Ok(text.into())
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Whether a secret is sealed with the first key.
    pub fn is_current(&self, sealed: &str) -> bool {
        let first = self.keys.first().map(|key| format!("{VERSION}.{}.", key.name));
        first.is_some_and(|beginning| sealed.starts_with(&beginning))
    }
}

impl Key {
    /// `None` if the text is no key.
    fn read(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes.len() == KEY_LEN)?;
        let hash = digest(&SHA256, &bytes);
        let name = BASE64_URL_SAFE_NO_PAD.encode(hash.as_ref().get(..6)?);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?;
        Some(Self { name, key })
    }
}

fn keys_or_error(keys: Option<Vec<Key>>) -> Result<Vec<Key>, ConfigError> {
    keys.ok_or_else(|| {
        let problem = "must be one or more keys of 32 bytes in base64, with commas between them, as \
                       written by: openssl rand -base64 32";
        Variables::error("SECRETS_KEY", problem)
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn sealing(keys: &[[u8; KEY_LEN]]) -> Sealing {
        let list: Vec<_> = keys.iter().map(|key| BASE64_STANDARD.encode(key)).collect();
        Sealing::read(&Variables::of(&[("SECRETS_KEY", &list.join(","))])).unwrap()
    }

    #[test]
    fn i21_a_secret_opens_in_its_place_with_any_listed_key_and_not_otherwise() {
        let (old, new) = ([1; KEY_LEN], [2; KEY_LEN]);
        let before = sealing(&[old]);
        let sealed = before.seal("the-secret-of-a-practice", "2/a").unwrap();
        assert!(!sealed.contains("practice"));
        let again = before.seal("the-secret-of-a-practice", "2/a").unwrap();
        assert_ne!(sealed, again, "a nonce is used once");
        let rotating = sealing(&[new, old]);
        let opened = rotating.open(&sealed, "2/a").unwrap();
        assert_eq!(opened.expose_secret(), "the-secret-of-a-practice");
        assert!(!rotating.is_current(&sealed));
        assert!(rotating.is_current(&rotating.seal("x", "2/a").unwrap()));
        let error = |sealing: &Sealing, text: &str, place| sealing.open(text, place).unwrap_err();
        assert_eq!(error(&rotating, &sealed, "3/a"), SealingError::Broken);
        assert_eq!(error(&sealing(&[new]), &sealed, "2/a"), SealingError::UnknownKey);
        assert_eq!(error(&Sealing::default(), &sealed, "2/a"), SealingError::UnknownKey);
        for cut in 0..sealed.len() {
            assert!(rotating.open(&sealed[..cut], "2/a").is_err(), "{cut}");
        }
        let mut changed = sealed.into_bytes();
        let last = changed.len() - 3;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(error(&rotating, &changed, "2/a"), SealingError::Broken);
        assert_eq!(Sealing::default().seal("x", "2/a").unwrap_err(), SealingError::NoKey);
    }

    #[test]
    fn i21_a_key_that_is_none_is_refused_and_not_quoted() {
        let good = BASE64_STANDARD.encode([1; KEY_LEN]);
        let (twice, trailing) = (format!("{good},{good}"), format!("{good},"));
        let short = BASE64_STANDARD.encode([1; 31]);
        for bad in ["abc", "YWJj", &short, "****", &twice, &trailing] {
            let error = Sealing::read(&Variables::of(&[("SECRETS_KEY", bad)])).unwrap_err();
            assert!(error.to_string().starts_with("SECRETS_KEY: "), "{error}");
            assert!(!error.to_string().contains(bad), "{error}");
        }
        assert_eq!(Sealing::read(&Variables::of(&[])).unwrap().keys(), 0);
        assert!(!format!("{:?}", sealing(&[[7; KEY_LEN]])).contains("BwcH"));
    }
}

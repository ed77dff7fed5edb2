//! Values of JSON that serde's own parsers refuse.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Parses a value that may be malformed: then it is `None`, and the fields around it still count.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let json = Box::<RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(json.get()).ok())
}

/// The whole number that a float represents, as long as floats are exact (below 2^53).
pub(crate) fn as_whole(number: f64) -> Option<u64> {
    const BEYOND: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..BEYOND).contains(&number) && number.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
    fits.then_some(number as u64)
}

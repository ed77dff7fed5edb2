//! Memory budget of outbound data.

use platform::variables::{ConfigError, Variables};

/// Minimum memory budget of outbound data.
const OUTBOUND_MIN_MIB: usize = 16;

/// Maximum bytes of outbound data in memory. `None`: a share of the available memory.
pub fn budget(variables: &Variables) -> Result<Option<usize>, ConfigError> {
    let variable = "OUTBOUND_MEMORY_MIB";
    if variables.text(variable).is_none() {
        return Ok(None);
    }
    let mib = variables.number(variable, OUTBOUND_MIN_MIB, OUTBOUND_MIN_MIB..=1_048_576, "MiB")?;
    Ok(Some(mib * 1024 * 1024))
}

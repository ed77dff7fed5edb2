//! Reading of columns.

use std::{error::Error, fmt::Display, str::FromStr};

use jiff::Timestamp;
use rusqlite::{Result, Row, types::Type};
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Now, in the precision of a row (microseconds).
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default()
}

/// The failure of a column with an unexpected value.
pub fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}

/// The value of a column of texts, parsed.
pub fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| broken(format!("column {column}: {error}")))
}

/// The id in a column.
pub fn uuid(row: &Row<'_>, column: &str) -> Result<Uuid> {
    parsed(row, column)
}

/// The number of a column that is never negative.
pub fn seq(row: &Row<'_>, column: &str) -> Result<u64> {
    row.get::<_, i64>(column).map(|number| number.try_into().unwrap_or(0))
}

/// The time in a column, if there is one.
pub fn maybe_time(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(Timestamp::from_microsecond).transpose().map_err(broken)
}

/// The value of a column of JSON.
pub fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    // serde's own error would quote the value.
    let value = text.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|_| broken(format!("column {column}: has an unexpected value")))
}

/// The time in a column.
pub fn time(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(broken)
}

//! Reading of columns.

use std::{fmt::Display, str::FromStr, sync::Arc};

use serde::de::DeserializeOwned;
use tokio_postgres::{Row, types::FromSql};

use crate::StoreError;

/// The value of a column.
pub fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Refused(Arc::new(error)))
}

/// A number that is never negative.
pub fn seq(row: &Row, column: &str) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(|number| number.try_into().unwrap_or(0))
}

/// Text that was parsed before it was stored.
pub fn parsed<T: FromStr<Err: Display>>(row: &Row, column: &str) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|error: T::Err| unknown(column, &error))
}

/// Error for a statement that must return a row and returned none.
pub fn missing() -> StoreError {
    unknown("none", &"the statement returned no row")
}

/// The failure of a column with an unexpected value. `problem` must not quote the value.
pub fn unknown(column: &str, problem: &dyn Display) -> StoreError {
    StoreError::Refused(Arc::new(std::io::Error::other(format!("column {column}: {problem}"))))
}

/// The value of a column of JSON.
pub fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = get(row, column)?;
    // serde's own error would quote the value.
    let value = text.map(serde_json::from_str).transpose();
    value.map_err(|_| unknown(column, &"has an unexpected value"))
}

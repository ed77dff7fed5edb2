//! Rows, read by the names of their columns.

use std::{fmt::Display, str::FromStr, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

#[cfg(feature = "sqlite")]
use rusqlite::types::Value::{Integer, Text};

use crate::{StoreError, postgres::rows::unknown};

/// A row of either database.
#[derive(Debug)]
pub enum Row {
    /// A row of PostgreSQL.
    Postgres(tokio_postgres::Row),
    /// The names of the columns, and their values.
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<[String]>, Vec<rusqlite::types::Value>),
}

impl Row {
    /// The value of a column. A missing column and a value of another type are errors.
    pub fn get<T: Column>(&self, column: &str) -> Result<T, StoreError> {
        match self {
            Self::Postgres(row) => {
                T::of_postgres(row, column).map_err(|error| StoreError::Refused(Arc::new(error)))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(names, values) => {
                let at = names.iter().position(|name| name == column);
                let value = at.and_then(|at| values.get(at));
                let value = value.ok_or_else(|| unknown(column, &"is not in the row"))?;
                T::of_sqlite(value).ok_or_else(|| unknown(column, &"has another type"))
            }
        }
    }

    /// The value of a column of texts, parsed.
    pub fn parsed<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        text.parse().map_err(|error: T::Err| unknown(column, &error))
    }

    /// The number of a column that is never negative.
    pub fn count(&self, column: &str) -> Result<u64, StoreError> {
        self.get::<i64>(column).map(|number| number.try_into().unwrap_or(0))
    }
}

/// A type that a column can have.
pub trait Column: Sized {
    /// Reads it from a row of PostgreSQL.
    fn of_postgres(row: &tokio_postgres::Row, column: &str) -> Result<Self, tokio_postgres::Error>;

    /// Reads it from a value of SQLite. `None` for another type.
    #[cfg(feature = "sqlite")]
    fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self>;
}

macro_rules! columns {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {$(
        impl Column for $type {
            fn of_postgres(
                row: &tokio_postgres::Row,
                column: &str,
            ) -> Result<Self, tokio_postgres::Error> {
                row.try_get(column)
            }

            #[cfg(feature = "sqlite")]
            fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self> {
                match value {
                    $pattern => $value,
                    _ => None,
                }
            }
        }

        impl Column for Option<$type> {
            fn of_postgres(
                row: &tokio_postgres::Row,
                column: &str,
            ) -> Result<Self, tokio_postgres::Error> {
                row.try_get(column)
            }

            #[cfg(feature = "sqlite")]
            fn of_sqlite(value: &rusqlite::types::Value) -> Option<Self> {
                match value {
                    rusqlite::types::Value::Null => Some(None),
                    value => <$type>::of_sqlite(value).map(Some),
                }
            }
        }
    )*};
}

columns! {
    String: Text(text) => Some(text.clone());
    i64: Integer(number) => Some(*number);
    bool: Integer(number) => Some(*number != 0);
    Uuid: Text(text) => text.parse().ok();
    Timestamp: Integer(micros) => Timestamp::from_microsecond(*micros).ok();
}

//! Values of parameters.

use std::error::Error;

use jiff::Timestamp;
use tokio_postgres::types::{IsNull, ToSql, Type, WrongType, private::BytesMut, to_sql_checked};
use uuid::Uuid;

/// Value of a parameter.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value, of any type.
    Null,
    /// A text.
    Text(String),
    /// An integer of any width.
    Int(i64),
    /// A truth value; in SQLite 0 or 1.
    Bool(bool),
    /// An id; in SQLite its text.
    Uuid(Uuid),
    /// A time; in SQLite microseconds since 1970.
    Time(Timestamp),
    /// A list of texts, for the token `each`.
    Texts(Vec<String>),
}

macro_rules! from {
    ($($type:ty: $value:ident => $expression:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $expression
            }
        }
    )*};
}

from! {
    &str: text => Self::Text(text.to_owned());
    String: text => Self::Text(text);
    i64: number => Self::Int(number);
    i32: number => Self::Int(number.into());
    u32: number => Self::Int(number.into());
    u64: number => Self::Int(i64::try_from(number).unwrap_or(i64::MAX));
    bool: value => Self::Bool(value);
    Uuid: id => Self::Uuid(id);
    Timestamp: time => Self::Time(time);
    Vec<String>: texts => Self::Texts(texts);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The values as the driver of PostgreSQL takes them.
pub(super) fn for_postgres(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Encodes a value, unless the statement has another type in its place.
fn encode<T: ToSql>(
    value: &T,
    of: &Type,
    out: &mut BytesMut,
) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    if T::accepts(of) { value.to_sql(of, out) } else { Err(WrongType::new::<T>(of.clone()).into()) }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Text(text) => encode(text, of, out),
            Self::Int(number) if *of == Type::INT4 => encode(&i32::try_from(*number)?, of, out),
            Self::Int(number) if *of == Type::INT2 => encode(&i16::try_from(*number)?, of, out),
            Self::Int(number) => encode(number, of, out),
            Self::Bool(value) => encode(value, of, out),
            Self::Uuid(id) => encode(id, of, out),
            Self::Time(time) => encode(time, of, out),
            Self::Texts(texts) => encode(texts, of, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(feature = "sqlite")]
impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, Value as Stored};
        let stored = match self {
            Self::Null => Stored::Null,
            Self::Text(text) => return Ok(text.as_str().into()),
            Self::Int(number) => Stored::Integer(*number),
            Self::Bool(value) => Stored::Integer((*value).into()),
            Self::Uuid(id) => Stored::Text(id.to_string()),
            Self::Time(time) => Stored::Integer(time.as_microsecond()),
            Self::Texts(texts) => Stored::Text(serde_json::Value::from(texts.clone()).to_string()),
        };
        Ok(ToSqlOutput::Owned(stored))
    }
}

//! The meaning of a database's failure for its caller.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::store::{Source, StoreError};

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Arc::new(error))
}

/// The database's error, by its code: the text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLSTATE {code} (constraint {constraint})")]
struct Refused {
    code: String,
    constraint: String,
}

pub(super) fn classify(error: tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else { return unavailable(error) };
    let source: Source = Arc::new(Refused {
        code: db.code().code().to_owned(),
        constraint: db.constraint().unwrap_or("none").to_owned(),
    });
    // A lock that another holds, or a statement that takes too long: nothing is wrong with the
    // connection, and the transaction is undone.
    let contended = [
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    if contended.contains(db.code()) {
        return StoreError::Contended(source);
    }
    if [SqlState::DISK_FULL, SqlState::IO_ERROR].contains(db.code()) {
        return StoreError::Disk(source);
    }
    // Classes 22 (data), 23 (constraint), 42 (syntax, rights): the same statement fails again.
    let permanent = ["22", "23", "42"].iter().any(|class| db.code().code().starts_with(class));
    if permanent && *db.code() != SqlState::INSUFFICIENT_PRIVILEGE {
        StoreError::Refused(source)
    } else {
        StoreError::Unavailable(source)
    }
}

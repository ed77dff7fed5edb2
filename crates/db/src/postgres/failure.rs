//! Classification of database errors for the caller.

use std::sync::Arc;

use tokio::time::error::Elapsed;
use tokio_postgres::error::SqlState;

use crate::StoreError;
use platform::Source;

/// The failure of a database that gives no answer.
pub fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Arc::new(error))
}

/// A database error by its code only: its text may quote a row, and a row holds a body.
#[derive(Debug, thiserror::Error)]
#[error("SQLSTATE {code} (constraint {constraint})")]
struct Refused {
    code: String,
    constraint: String,
}

/// Consequence of an error for the whole server, beyond the failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    OnlyReads,
    /// The server shuts down, or has vanished: a working one would have cancelled the statement
    /// before the node's own limit.
    Leaving,
    /// A prepared statement is missing, or belongs to another connection.
    Unprepared,
}

const UNPREPARED: [SqlState; 2] =
    [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];

pub(crate) fn sign(error: &StoreError) -> Option<Sign> {
    let (StoreError::Unavailable(source) | StoreError::Refused(source)) = error else {
        return None;
    };
    if source.is::<Elapsed>() {
        return Some(Sign::Leaving);
    }
    let code = SqlState::from_code(&source.downcast_ref::<Refused>()?.code);
    let leaving =
        [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    if code == SqlState::READ_ONLY_SQL_TRANSACTION {
        Some(Sign::OnlyReads)
    } else if leaving.contains(&code) {
        Some(Sign::Leaving)
    } else {
        UNPREPARED.contains(&code).then_some(Sign::Unprepared)
    }
}

pub(crate) fn is_unprepared(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| UNPREPARED.contains(code))
}

/// Whether a row with the same key exists. `on conflict` names one unique index of a table. If two transactions
/// insert a row at the same moment, the later one may meet another index first. Then the row is there, and a
/// repetition finds it.
pub(crate) fn is_duplicate(error: &StoreError) -> bool {
    let StoreError::Refused(source) = error else { return false };
    let refused = source.downcast_ref::<Refused>();
    refused.is_some_and(|refused| refused.code == SqlState::UNIQUE_VIOLATION.code())
}

/// Classifies an error by its SQLSTATE.
pub fn classify(error: tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else { return unavailable(error) };
    let source: Source = Arc::new(Refused {
        code: db.code().code().to_owned(),
        constraint: db.constraint().unwrap_or("none").to_owned(),
    });
    // A lock of another transaction, or a statement that takes too long: the connection is healthy,
    // and the transaction is rolled back.
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

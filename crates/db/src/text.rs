//! Statements that are written once, for both databases.
//!
//! They are plain SQL in the common part of both dialects, with parameters `$1`, `$2` … and these tokens:
//!
//! | token | PostgreSQL | SQLite |
//! |---|---|---|
//! | `{now}` | `statement_timestamp()` | this node's clock |
//! | `{ago:60}` | that many seconds before | the same |
//! | `{in_ms:$1}` | that many milliseconds from now | the same |
//! | `{each:$1}` | a list of texts as a table with the column `value` | the same |
//! | `{id:value}` | a text as an id | the same |
//! | `{json:name}` | a column of texts as JSON, for `->>` | the same |
//! | `{conflict:name}` | `on conflict on constraint name` | `on conflict` |
//! | `{for_no_key_update}` | locks the rows | nothing: there is one writer |
//! | `{for_share}` | waits for those who change the rows | nothing |
//! | `{skip_locked}` | locks the rows, without those that others have locked | nothing |
//!
//! A parameter in a select list is a text for PostgreSQL: another type is written `cast($1 as bigint)`.
//! Statements of the hot path are not here: each database has its own.

mod row;
#[cfg(test)]
#[cfg(feature = "sqlite")]
pub(crate) mod tests;
mod value;

use tokio::time::{Instant, timeout};

pub use row::{Column, Row};
pub use value::Value;

use crate::{
    Database, StoreError,
    postgres::{
        Postgres, STATEMENT_TIMEOUT,
        failure::{classify, is_duplicate, unavailable},
    },
};

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub struct Statement {
    sql: &'static str,
    params: Vec<Value>,
}

impl Statement {
    /// A statement. The first parameter is `$1`.
    pub fn new<const N: usize>(sql: &'static str, params: [Value; N]) -> Self {
        Self { sql, params: params.into() }
    }
}

impl Database {
    /// Reads rows.
    pub async fn read(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(postgres) => {
                let _permit = postgres.read_permit().await?;
                read(postgres, statement).await
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.read(move |db| on_sqlite::run(db, &statement)).await,
        }
    }

    /// Reads rows without waiting for other reads.
    pub async fn read_at_once(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(postgres) => read(postgres, statement).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => self.read(statement).await,
        }
    }

    /// Runs a statement that writes. Returns the rows of its `returning`.
    pub async fn write(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(_) => match self.read(statement.clone()).await {
                Err(error) if is_duplicate(&error) => self.read(statement).await,
                outcome => outcome,
            },
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.write(move |db| on_sqlite::run(db, &statement)).await,
        }
    }

    /// Runs statements in one transaction, as long as each returns a row: the first one without rows is the
    /// last one. Returns the rows of each. If one fails, nothing is written.
    pub async fn write_while_found(
        &self,
        statements: impl Into<Vec<Statement>>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let statements = statements.into();
        match self {
            Self::Postgres(postgres) => match write_while_found(postgres, &statements).await {
                Err(error) if is_duplicate(&error) => {
                    write_while_found(postgres, &statements).await
                }
                outcome => outcome,
            },
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => {
                sqlite.write(move |db| on_sqlite::run_while_found(db, &statements)).await
            }
        }
    }
}

async fn read(postgres: &Postgres, statement: Statement) -> Result<Vec<Row>, StoreError> {
    let client = postgres.client().await?;
    let began = Instant::now();
    let rows = async {
        let prepared = client.prepare_cached(&for_postgres(statement.sql)).await?;
        client.query(&prepared, &value::for_postgres(&statement.params)).await
    };
    let outcome = timeout(STATEMENT_TIMEOUT, rows).await;
    postgres.counts.query.took(began.elapsed());
    let rows = postgres.settle_answer(outcome, client)?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

async fn write_while_found(
    postgres: &Postgres,
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, StoreError> {
    let _permit = postgres.read_permit().await?;
    let mut client = postgres.client().await?;
    let work = async {
        let transaction = client.transaction().await?;
        let mut all = Vec::new();
        for statement in statements {
            let prepared = transaction.prepare_cached(&for_postgres(statement.sql)).await?;
            let params = value::for_postgres(&statement.params);
            let rows = transaction.query(&prepared, &params).await?;
            let is_last = rows.is_empty();
            all.push(rows.into_iter().map(Row::Postgres).collect());
            if is_last {
                break;
            }
        }
        transaction.commit().await?;
        Ok(all)
    };
    let outcome = timeout(STATEMENT_TIMEOUT, work).await;
    let outcome = outcome.map_err(unavailable).and_then(|done| done.map_err(classify));
    postgres.give_back(outcome, client)
}

/// Replaces the tokens of a statement.
fn translate(sql: &str, token: impl Fn(&str) -> String) -> String {
    let mut translated = String::with_capacity(sql.len() + 32);
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        translated.push_str(before);
        translated.push_str(&token(name));
        rest = after;
    }
    translated.push_str(rest);
    translated
}

fn for_postgres(sql: &str) -> String {
    translate(sql, |token| match token.split_once(':') {
        None if token == "now" => "statement_timestamp()".to_owned(),
        None if token == "for_no_key_update" => "for no key update".to_owned(),
        None if token == "for_share" => "for share".to_owned(),
        None if token == "skip_locked" => "for update skip locked".to_owned(),
        Some(("ago", seconds)) => {
            format!("(statement_timestamp() - interval '{seconds} seconds')")
        }
        Some(("in_ms", millis)) => {
            format!("(statement_timestamp() + {millis}::bigint * interval '1 millisecond')")
        }
        Some(("conflict", key)) => format!("on conflict on constraint {key}"),
        Some(("id", text)) => format!("({text})::uuid"),
        Some(("json", column)) => format!("({column})::jsonb"),
        Some(("each", list)) => format!("unnest({list}::text[]) as each(value)"),
        _ => unknown(token),
    })
}

/// A mistyped token stays in the statement, so that the database rejects it.
fn unknown(token: &str) -> String {
    format!("{{{token}}}")
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use std::sync::Arc;

    use rusqlite::{Connection, Result, ToSql, params_from_iter};

    use super::{Row, Statement, translate, unknown};
    use crate::sqlite::{begin, numbered, rows};

    pub(super) fn run(db: &Connection, statement: &Statement) -> Result<Vec<Row>> {
        let now = statement.params.len() + 1;
        let sql = for_sqlite(&numbered(statement.sql), now);
        let mut prepared = db.prepare_cached(&sql)?;
        let names = prepared.column_names().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let names: Arc<[String]> = names.into();
        let time = rows::now().as_microsecond();
        let params = statement.params.iter().map(|value| value as &dyn ToSql);
        let uses_now = prepared.parameter_count() >= now;
        let params = params.chain(uses_now.then_some(&time as &dyn ToSql));
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..names.len()).map(|at| row.get(at)).collect::<Result<_>>()?;
            Ok(Row::Sqlite(Arc::clone(&names), values))
        };
        prepared.query_map(params_from_iter(params), row)?.collect()
    }

    pub(super) fn run_while_found(
        db: &mut Connection,
        statements: &[Statement],
    ) -> Result<Vec<Vec<Row>>> {
        let transaction = begin(db)?;
        let mut all = Vec::new();
        for statement in statements {
            let rows = run(&transaction, statement)?;
            let is_last = rows.is_empty();
            all.push(rows);
            if is_last {
                break;
            }
        }
        transaction.commit()?;
        Ok(all)
    }

    /// `now` is the number of the parameter with the time.
    fn for_sqlite(sql: &str, now: usize) -> String {
        translate(sql, |token| match token.split_once(':') {
            None if token == "now" => format!("?{now}"),
            None if matches!(token, "for_no_key_update" | "for_share" | "skip_locked") => {
                String::new()
            }
            Some(("ago", seconds)) => format!("(?{now} - {seconds} * 1000000)"),
            Some(("in_ms", millis)) => format!("(?{now} + {millis} * 1000)"),
            Some(("conflict", _)) => "on conflict".to_owned(),
            Some(("id" | "json", column)) => column.to_owned(),
            Some(("each", list)) => format!("json_each({list}) as each"),
            _ => unknown(token),
        })
    }
}

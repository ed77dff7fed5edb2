//! The legacy directory in MySQL.
//!
//! Law I11: it can't be written. Every connection is set to read-only transactions as it is made,
//! and this module holds no statement but the two look-ups.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mysql_async::{OptsBuilder, Pool, PoolConstraints, PoolOpts, Row, Value, prelude::Queryable};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::{Directory, DirectoryError, shown};
use crate::{
    config::MysqlConfig,
    person::{Person, PersonKind},
};

/// What every connection is told first.
const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";
/// How long a look-up may take, with the wait for a connection.
const DEADLINE: Duration = Duration::from_secs(3);
/// Connections at most.
const POOL_SIZE: usize = 5;

#[derive(Debug)]
pub(super) struct Mysql {
    pool: Pool,
    customers_query: String,
    dentists_query: String,
}

impl Mysql {
    /// Connects at the first look-up, not now: chat starts without it.
    pub(super) fn open(config: &MysqlConfig) -> anyhow::Result<Self> {
        let constraints = PoolConstraints::new(0, POOL_SIZE)
            .ok_or_else(|| anyhow::anyhow!("the pool's limits are the wrong way round"))?;
        let options = OptsBuilder::default()
            .ip_or_hostname(config.host.clone())
            .tcp_port(config.port)
            .db_name(Some(config.database.clone()))
            .user(Some(config.user.clone()))
            .pass(config.password.as_ref().map(|secret| secret.expose_secret().to_owned()))
            .prefer_socket(false)
            .setup(vec![READ_ONLY])
            .pool_opts(PoolOpts::new().with_constraints(constraints));
        Ok(Self {
            pool: Pool::new(options),
            customers_query: config.customers_query.clone(),
            dentists_query: config.dentists_query.clone(),
        })
    }

    async fn within_deadline<T>(
        work: impl Future<Output = mysql_async::Result<T>>,
    ) -> Result<T, DirectoryError> {
        match timeout(DEADLINE, work).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(DirectoryError::Unavailable(Arc::new(error))),
            Err(elapsed) => Err(DirectoryError::Unavailable(Arc::new(elapsed))),
        }
    }
}

#[async_trait]
impl Directory for Mysql {
    async fn name(&self, person: &Person) -> Result<Option<String>, DirectoryError> {
        let query = match person.kind {
            PersonKind::Customer => &self.customers_query,
            PersonKind::Dentist => &self.dentists_query,
        };
        let row: Option<Row> = Self::within_deadline(async {
            self.pool.get_conn().await?.exec_first(query, (person.id.as_str(),)).await
        })
        .await?;
        let mut columns = row.map(Row::unwrap).unwrap_or_default().into_iter().map(text);
        // MySQL finds the number 7 by "7abc", and "Ada" by "ADA": that is somebody else's id.
        if columns.next().flatten().as_deref() != Some(person.id.as_str()) {
            return Ok(None);
        }
        let parts: Vec<String> = columns.flatten().collect();
        let name = shown(&parts.join(" "));
        Ok(Some(name.unwrap_or_else(|| person.kind.neutral_name().to_owned())))
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        Self::within_deadline(async { self.pool.get_conn().await?.ping().await }).await
    }
}

/// A column as text; an id may be a number.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::Servers;

    use super::*;

    async fn directory() -> Mysql {
        let database = Servers::get().await.mysql_database();
        Mysql::open(&MysqlConfig {
            host: "127.0.0.1".into(),
            port: database.port,
            database: database.name,
            user: database.user,
            password: Some(database.password.into()),
            customers_query: crate::config::DEFAULT_CUSTOMERS_QUERY.into(),
            dentists_query: crate::config::DEFAULT_DENTISTS_QUERY.into(),
        })
        .unwrap()
    }

    #[tokio::test]
    async fn names_come_from_the_legacy_tables() {
        let directory = directory().await;
        let ada = Person::new(PersonKind::Customer, "sub-ada".parse().unwrap());
        assert_eq!(directory.name(&ada).await.unwrap().as_deref(), Some("Ada Lovelace"));
        let dentist = Person::new(PersonKind::Dentist, "7".parse().unwrap());
        assert_eq!(directory.name(&dentist).await.unwrap().as_deref(), Some("Dana Drill"));
        for nobody in ["8", "7abc", "07", "7.0", "7e0", "7-x", "7:1"] {
            let nobody = Person::new(PersonKind::Dentist, nobody.parse().unwrap());
            assert_eq!(directory.name(&nobody).await.unwrap(), None, "{nobody}");
        }
        let shouting = Person::new(PersonKind::Customer, "SUB-ADA".parse().unwrap());
        assert_eq!(directory.name(&shouting).await.unwrap(), None);
    }

    #[tokio::test]
    async fn i11_a_write_to_the_directory_is_refused() {
        let directory = directory().await;
        let mut connection = directory.pool.get_conn().await.unwrap();
        for write in ["DELETE FROM customers", "UPDATE dentists SET first_name = 'x'"] {
            let error = connection.query_drop(write).await.unwrap_err().to_string();
            assert!(error.contains("READ ONLY"), "{error}");
        }
    }
}

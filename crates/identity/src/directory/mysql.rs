//! Legacy directory in MySQL.
//!
//! Law I11: it cannot be written. Every new connection is set to read-only transactions, and after that
//! this module runs only the three look-ups.

pub mod config;
mod encryption;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mysql_async::{
    Conn, DriverError, Error, OptsBuilder, PoolConstraints, PoolOpts, Row, Value,
    prelude::Queryable,
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use self::config::MysqlConfig;
use super::{Directory, DirectoryError, Entry};
use encryption::Pools;
use model::person::{Person, PersonId, Side};

/// First statement on every connection.
const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";
/// Time limit of a look-up, including the wait for a connection.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle time before TCP probes a connection.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Maximum number of connections. None stays idle: each look-up opens one, and resolves the server's
/// name for it.
const POOL_SIZE: usize = 5;

#[derive(Debug)]
pub(super) struct Mysql {
    pool: Pools,
    customers_query: String,
    dentists_query: String,
    may_talk_query: Option<String>,
}

impl Mysql {
    /// Connects at the first look-up, so that a node starts without the directory.
    pub(super) fn open(config: &MysqlConfig) -> anyhow::Result<Self> {
        let constraints = PoolConstraints::new(0, POOL_SIZE)
            .ok_or_else(|| anyhow::anyhow!("the pool's minimum is above its maximum"))?;
        let options = OptsBuilder::default()
            .ip_or_hostname(config.host.clone())
            .tcp_port(config.port)
            .db_name(Some(config.database.clone()))
            .user(Some(config.user.clone()))
            .pass(config.password.as_ref().map(|secret| secret.expose_secret().to_owned()))
            .prefer_socket(false)
            .tcp_keepalive(Some(KEEPALIVE))
            .setup(vec![READ_ONLY])
            .pool_opts(PoolOpts::new().with_constraints(constraints));
        Ok(Self {
            pool: Pools::open(config, options)?,
            customers_query: config.customers_query.clone(),
            dentists_query: config.dentists_query.clone(),
            may_talk_query: config.may_talk_query.clone(),
        })
    }

    /// Runs a look-up on a connection of the pool. A look-up that fails with its connection is retried
    /// once on a new one.
    async fn look_up<T, F>(
        &self,
        work: impl Fn(Conn) -> F + Send + Sync,
    ) -> Result<T, DirectoryError>
    where
        F: Future<Output = mysql_async::Result<T>> + Send,
    {
        let looking = async {
            match work(self.pool.get_conn().await?).await {
                Err(error) if is_of_its_connection(&error) => {
                    self.pool.renew();
                    work(self.pool.get_conn().await?).await
                }
                found => found,
            }
        };
        match timeout(LOOK_UP_TIMEOUT, looking).await {
            Ok(found) => found.map_err(unavailable),
            Err(elapsed) => {
                self.pool.renew();
                Err(DirectoryError::Unavailable(Arc::new(elapsed)))
            }
        }
    }
}

#[async_trait]
impl Directory for Mysql {
    async fn person(&self, person: &Person) -> Result<Option<Entry>, DirectoryError> {
        let query = match person.side {
            Side::Contact => &self.customers_query,
            Side::Desk => &self.dentists_query,
        };
        let id = person.id.as_str();
        let row: Option<Row> =
            self.look_up(|mut conn| async move { conn.exec_first(query, (id,)).await }).await?;
        Ok(row.and_then(|row| entry(person, row)))
    }

    fn has_relations(&self) -> bool {
        self.may_talk_query.is_some()
    }

    async fn may_talk(&self, contact: &PersonId, agent: &PersonId) -> Result<bool, DirectoryError> {
        let Some(query) = &self.may_talk_query else { return Ok(true) };
        let ids = (contact.as_str(), agent.as_str());
        let row: Option<Row> =
            self.look_up(|mut conn| async move { conn.exec_first(query, ids).await }).await?;
        Ok(row.is_some())
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        self.look_up(|mut conn| async move { conn.ping().await }).await
    }
}

/// Reads a row. The first column is the id, `email` and `avatar_url` have these names, and all other
/// columns are parts of the name.
fn entry(person: &Person, row: Row) -> Option<Entry> {
    let names: Vec<String> =
        row.columns_ref().iter().map(|column| column.name_str().to_lowercase()).collect();
    let mut columns = names.into_iter().zip(row.unwrap().into_iter().map(text));
    // MySQL finds the number 7 by "7abc", and "Ada" by "ADA". Such a row has another id.
    let (_, id) = columns.next()?;
    if id.as_deref() != Some(person.id.as_str()) {
        return None;
    }
    let (mut name, mut avatar_url, mut email) = (Vec::new(), None, None);
    for (column, value) in columns {
        match column.as_str() {
            "avatar_url" => avatar_url = value,
            "email" => email = value,
            _ => name.extend(value),
        }
    }
    Some(Entry::shown(person, &name.join(" "), avatar_url.as_deref(), email.as_deref()))
}

/// Column as text. An id may be a number.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Error code of the database. Its text may quote a row, so it is left out.
#[derive(Debug, thiserror::Error)]
#[error("MySQL error {code} (SQLSTATE {state}){}", remedy(*.code))]
struct Refused {
    code: u16,
    state: String,
}

/// Likely causes of the most common codes.
fn remedy(code: u16) -> &'static str {
    match code {
        1045 => ": check MYSQL_USER and MYSQL_PASSWORD, or set MYSQL_TLS",
        1044 | 1049 => ": MYSQL_DB does not exist, or MYSQL_USER may not use it",
        1142 | 1143 => ": MYSQL_USER may not read that table",
        1054 | 1146 => {
            ": a table or column does not exist; check MYSQL_CUSTOMERS_QUERY, MYSQL_DENTISTS_QUERY, \
             MYSQL_MAY_TALK_QUERY"
        }
        _ => "",
    }
}

fn unavailable(error: Error) -> DirectoryError {
    DirectoryError::Unavailable(match error {
        Error::Server(said) => Arc::new(Refused { code: said.code, state: said.state }),
        other => Arc::new(other),
    })
}

/// Codes with which a server ends a connection: it shuts down, it aborts or kills the connection, or
/// the connection was idle for too long.
const ENDINGS: [u16; 7] = [1053, 1079, 1152, 1184, 1927, 3169, 4031];

/// Whether the connection failed, and not the look-up.
fn is_of_its_connection(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Driver(DriverError::ConnectionClosed) => true,
        Error::Server(said) => ENDINGS.contains(&said.code),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_test_support::{Servers, unique};
    use model::ids::TenantId;

    use super::*;
    use platform::tls::Tls;

    async fn config() -> MysqlConfig {
        let database = Servers::get().await.mysql_database();
        MysqlConfig {
            host: "127.0.0.1".into(),
            port: database.port,
            database: database.name,
            user: database.user,
            password: Some(database.password.into()),
            tls: Tls::Off,
            ca_file: None,
            customers_query: config::DEFAULT_CUSTOMERS_QUERY.into(),
            dentists_query: config::DEFAULT_DENTISTS_QUERY.into(),
            may_talk_query: None,
        }
    }

    async fn directory() -> Mysql {
        Mysql::open(&config().await).unwrap()
    }

    fn customer(id: &str) -> Person {
        Person::new(TenantId::MAIN, Side::Contact, id.parse().unwrap())
    }

    fn dentist(id: &str) -> Person {
        Person::new(TenantId::MAIN, Side::Desk, id.parse().unwrap())
    }

    #[tokio::test]
    async fn names_come_from_the_legacy_tables() {
        let directory = directory().await;
        let ada = directory.person(&customer("sub-ada")).await.unwrap().unwrap();
        let email = "ada@example.test".parse().ok();
        assert_eq!(ada, Entry { name: "Ada Lovelace".into(), avatar_url: None, email });
        let dana = directory.person(&dentist("7")).await.unwrap().unwrap();
        assert_eq!(dana.name, "Dana Drill");
        for nobody in ["8", "7abc", "07", "7.0", "7e0", "7-x", "7:1"] {
            assert_eq!(directory.person(&dentist(nobody)).await.unwrap(), None, "{nobody}");
        }
        assert_eq!(directory.person(&customer("SUB-ADA")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn b49_what_an_entry_holds_is_checked_and_what_is_wrong_with_it_is_left_out() {
        let (legacy, id) = (Servers::get().await.mysql_database(), unique("odd"));
        let insert = format!(
            "insert into customers values ('{id}', 'Eve\r\nINFO a forged line', '', \
             'eve@x\r\nBcc: all@x', 'javascript:alert(1)')"
        );
        legacy.execute(&insert).await;
        let eve = directory().await.person(&customer(&id)).await.unwrap().unwrap();
        let name = "Eve  INFO a forged line".to_owned();
        assert_eq!(eve, Entry { name, avatar_url: None, email: None });
        let blank = "update customers set first_name = null, last_name = ' ', \
                     avatar_url = 'https://a.example/e.png'";
        legacy.execute(&format!("{blank} where cognito_sub = '{id}'")).await;
        let eve = directory().await.person(&customer(&id)).await.unwrap().unwrap();
        let avatar_url = "https://a.example/e.png".parse().ok();
        assert_eq!(eve, Entry { name: "Patient".into(), avatar_url, email: None });
    }

    #[tokio::test]
    async fn a_query_of_ones_own_needs_an_id_and_the_parts_of_a_name() {
        let mut config = config().await;
        config.customers_query =
            "SELECT cognito_sub AS k, 'Dr', last_name FROM customers WHERE cognito_sub = ?".into();
        config.dentists_query =
            "SELECT user_id, email, CONCAT(last_name, ', ', first_name) AS name, \
             'https://a.example/d.png' AS Avatar_URL FROM dentists WHERE user_id = ?"
                .into();
        let directory = Mysql::open(&config).unwrap();
        let ada = directory.person(&customer("sub-ada")).await.unwrap().unwrap();
        assert_eq!(ada, Entry { name: "Dr Lovelace".into(), avatar_url: None, email: None });
        let dana = directory.person(&dentist("7")).await.unwrap().unwrap();
        assert_eq!(dana.name, "Drill, Dana");
        assert!(dana.email.is_some() && dana.avatar_url.is_some());
    }

    #[tokio::test]
    async fn a_row_of_the_relation_query_means_that_the_two_may_talk() {
        let mut config = config().await;
        let may_talk = async |config: &MysqlConfig, customer: &str, dentist: &str| {
            let directory = Mysql::open(config).unwrap();
            directory.may_talk(&customer.parse().unwrap(), &dentist.parse().unwrap()).await
        };
        assert!(may_talk(&config, "anyone", "anyone").await.unwrap(), "it is off");
        config.may_talk_query = Some(
            "SELECT 1 FROM customers c, dentists d WHERE c.cognito_sub = ? AND d.user_id = ?"
                .into(),
        );
        assert!(may_talk(&config, "sub-ada", "7").await.unwrap());
        for (customer, dentist) in [("sub-ada", "8"), ("nobody", "7"), ("7", "sub-ada")] {
            assert!(!may_talk(&config, customer, dentist).await.unwrap(), "{customer} {dentist}");
        }
        config.may_talk_query = Some("SELECT 1 FROM nowhere WHERE a = ? AND b = ?".into());
        assert!(may_talk(&config, "sub-ada", "7").await.is_err());
    }

    #[tokio::test]
    async fn over_tls_only_with_a_certificate_that_is_trusted() {
        let mut config = config().await;
        // This user may connect over TLS only.
        config.user = "encrypted".into();
        let ada = customer("sub-ada");
        assert!(Mysql::open(&config).unwrap().person(&ada).await.is_err());
        config.tls = Tls::Required;
        let untrusted = Mysql::open(&config).unwrap().person(&ada).await.unwrap_err();
        assert!(untrusted.to_string().contains("certificate"), "{untrusted}");
        config.ca_file = Some(Servers::get().await.certificate.clone());
        let trusted = Mysql::open(&config).unwrap();
        assert_eq!(trusted.person(&ada).await.unwrap().unwrap().name, "Ada Lovelace");
        // Without a setting TLS is used, or plain text if there is no verified TLS.
        config.tls = Tls::Preferred;
        let preferred = Mysql::open(&config).unwrap();
        assert_eq!(preferred.person(&ada).await.unwrap().unwrap().name, "Ada Lovelace");
        config.ca_file = None;
        let unverified = Mysql::open(&config).unwrap().person(&ada).await.unwrap_err();
        assert!(unverified.to_string().contains("certificate"), "{unverified}");
        config.user = "reader".into();
        let plain = Mysql::open(&config).unwrap();
        assert_eq!(plain.person(&ada).await.unwrap().unwrap().name, "Ada Lovelace");
        config.tls = Tls::Required;
        config.ca_file = Some("/nowhere.pem".into());
        let missing = Mysql::open(&config).err().unwrap().to_string();
        assert!(missing.starts_with("MYSQL_CA_FILE: "), "{missing}");
    }

    #[tokio::test]
    async fn i14_what_the_database_says_is_told_by_its_code() {
        let mut config = config().await;
        config.customers_query = "SELECT secret FROM nowhere WHERE cognito_sub = ?".into();
        let error = Mysql::open(&config).unwrap().person(&customer("a")).await.unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("MySQL error 1146 (SQLSTATE 42S02): a table or column"), "{said}");
    }

    #[tokio::test]
    async fn i11_a_write_to_the_directory_is_refused() {
        let directory = directory().await;
        // A connection that returns from the pool is read-only too.
        for _ in 0..2 {
            let mut connection = directory.pool.get_conn().await.unwrap();
            for write in [
                "INSERT INTO dentists (user_id) VALUES (1)",
                "UPDATE dentists SET first_name = 'x'",
                "DELETE FROM customers",
                "CREATE TABLE mine (id INT)",
            ] {
                let error = connection.query_drop(write).await.unwrap_err().to_string();
                assert!(error.contains("READ ONLY"), "{write}: {error}");
            }
        }
    }
}

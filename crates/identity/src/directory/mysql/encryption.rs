//! Connection pool over TLS or in plain text, as configured or as the server allows.

use std::sync::{Mutex, PoisonError};

use mysql_async::{Conn, Opts, OptsBuilder, Pool, SslOpts};
use tokio::sync::OnceCell;

use crate::directory::mysql::config::MysqlConfig;
use platform::tls::{self, Tls};

/// Candidates for connection options, the chosen ones, and their pool.
pub(super) struct Pools {
    first: Opts,
    /// Plain text, for a server outside this machine without a TLS setting.
    fallback: Option<Opts>,
    taken: OnceCell<Opts>,
    pool: Mutex<Option<Pool>>,
}

/// Law I14: connection options are not printed.
impl std::fmt::Debug for Pools {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Pools")
    }
}

impl Pools {
    pub(super) fn open(config: &MysqlConfig, options: OptsBuilder) -> anyhow::Result<Self> {
        let plain = options.clone().ssl_opts(None::<SslOpts>);
        let encrypted = (config.tls != Tls::Off).then(|| ssl(config)).transpose()?;
        let fallback = (config.tls == Tls::Preferred).then(|| plain.into());
        let first = options.ssl_opts(encrypted).into();
        Ok(Self { first, fallback, taken: OnceCell::new(), pool: Mutex::default() })
    }

    pub(super) async fn get_conn(&self) -> mysql_async::Result<Conn> {
        let way = self.taken.get_or_try_init(|| self.agree()).await?;
        let pool = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.get_or_insert_with(|| Pool::new(way.clone())).clone()
        };
        pool.get_conn().await
    }

    /// Starts a new pool. Connections that were being returned when their server vanished silently wait
    /// for its answer, and occupy slots of the old pool meanwhile.
    pub(super) fn renew(&self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Tries TLS first. Chooses plain text only if the server answers to it and not to TLS. The choice
    /// is final: a server that has answered over TLS is never used without it.
    async fn agree(&self) -> mysql_async::Result<Opts> {
        let Some(plain) = &self.fallback else { return Ok(self.first.clone()) };
        let Err(refused) = Conn::new(self.first.clone()).await else {
            return Ok(self.first.clone());
        };
        if Conn::new(plain.clone()).await.is_err() {
            return Err(refused);
        }
        // A server that was starting may have refused TLS and then accepted plain text.
        let Err(refused) = Conn::new(self.first.clone()).await else {
            return Ok(self.first.clone());
        };
        tls::warn_of_plain_text("MYSQL", "MySQL", &super::unavailable(refused).into());
        Ok(plain.clone())
    }
}

/// TLS with the system's authorities and those of `MYSQL_CA_FILE`, and no built-in ones.
fn ssl(config: &MysqlConfig) -> anyhow::Result<SslOpts> {
    let authorities = tls::authorities("MYSQL_CA_FILE", config.ca_file.as_deref())?;
    let der = authorities.into_iter().map(|authority| authority.to_vec().into()).collect();
    Ok(SslOpts::default().with_root_certs(der).with_disable_built_in_roots(true))
}

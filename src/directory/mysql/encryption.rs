//! The pool, over TLS or in plain text: as the configuration has it, or as the server lets it.

use mysql_async::{Conn, OptsBuilder, Pool, SslOpts};
use tokio::sync::OnceCell;

use crate::{
    config::{MysqlConfig, Tls},
    tls,
};

/// A pool for each way that may be taken, and the one that is.
#[derive(Debug)]
pub(super) struct Pools {
    first: Pool,
    /// Plain text, for a server beyond this machine that nothing is set for.
    fallback: Option<Pool>,
    taken: OnceCell<Pool>,
}

impl Pools {
    pub(super) fn open(config: &MysqlConfig, options: OptsBuilder) -> anyhow::Result<Self> {
        let plain = options.clone().ssl_opts(None::<SslOpts>);
        let encrypted = (config.tls != Tls::Off).then(|| ssl(config)).transpose()?;
        let fallback = (config.tls == Tls::Preferred).then(|| Pool::new(plain));
        let first = Pool::new(options.ssl_opts(encrypted));
        Ok(Self { first, fallback, taken: OnceCell::new() })
    }

    pub(super) async fn get_conn(&self) -> mysql_async::Result<Conn> {
        self.taken.get_or_try_init(|| self.agree()).await?.get_conn().await
    }

    /// TLS first, and plain text only where the server answers to it and to TLS does not. What was taken
    /// once stays: a server that has answered by TLS is never spoken to without.
    async fn agree(&self) -> mysql_async::Result<Pool> {
        let Some(plain) = &self.fallback else { return Ok(self.first.clone()) };
        let Err(refused) = self.first.get_conn().await else { return Ok(self.first.clone()) };
        if plain.get_conn().await.is_err() {
            return Err(refused);
        }
        // A server that was starting meanwhile refuses the first and takes the second.
        let Err(refused) = self.first.get_conn().await else { return Ok(self.first.clone()) };
        tls::warn_of_plain_text("MYSQL", "MySQL", &super::unavailable(refused).into());
        Ok(plain.clone())
    }
}

/// TLS as everywhere in the node: the system's authorities and those of the file, none built in.
fn ssl(config: &MysqlConfig) -> anyhow::Result<SslOpts> {
    let authorities = tls::authorities("MYSQL_CA_FILE", config.ca_file.as_deref())?;
    let der = authorities.into_iter().map(|authority| authority.to_vec().into()).collect();
    Ok(SslOpts::default().with_root_certs(der).with_disable_built_in_roots(true))
}

//! The organisations on this installation: each with its own issuers, and suspended if the operator says so.
//!
//! Each node holds in memory what it needs for tokens ([`crate::connections`]).

pub mod table;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{
    auth::{
        Verifier,
        config::{CognitoConfig, DjangoConfig},
        issuers::{IssuerConfig, TenantIssuer},
    },
    connections::{Connections, Held, keep_refreshing},
    sealing::{Sealing, SealingError},
};
use db::StoreError;
use model::{
    ids::TenantId,
    tenant::{IssuerKind, IssuerName, TenantName},
};
use platform::{
    new_id,
    tasks::{Stage, Tasks},
};
use protocol::error::Error;
use table::{Issuer, Tenant, TenantTable, Usage, place};

/// Maximum number of issuers of a tenant.
pub const ISSUERS_MAX: usize = 20;

/// The tenants as this node knows them.
pub struct Tenants {
    known: RwLock<Suspended>,
    parts: TenantsParts,
}

/// Parts of the tenants.
pub struct TenantsParts {
    /// The tables.
    pub table: TenantTable,
    /// Keys of the secrets at rest.
    pub sealing: Arc<Sealing>,
    /// Receives the issuers.
    pub verifier: Arc<Verifier>,
    /// Closed when their tenant is suspended.
    pub connections: Arc<dyn Connections>,
}

#[derive(Default)]
struct Suspended {
    rev: i64,
    tenants: HashSet<TenantId>,
}

/// An issuer to add.
pub struct NewIssuer {
    /// Cognito or Django.
    pub kind: IssuerKind,
    /// The `iss` of its tokens.
    pub name: IssuerName,
    /// App clients whose tokens are accepted. Empty: any.
    pub client_ids: Vec<String>,
    /// Address of Django's key set.
    pub jwks_url: Option<String>,
    /// Django's shared secret.
    pub secret: Option<SecretString>,
}

impl NewIssuer {
    fn config(&self) -> IssuerConfig {
        let name = self.name.as_str().to_owned();
        match self.kind {
            IssuerKind::Cognito => IssuerConfig::Cognito(CognitoConfig {
                issuer: name,
                client_ids: self.client_ids.clone(),
            }),
            IssuerKind::Django => IssuerConfig::Django(DjangoConfig {
                secret: self.secret.clone(),
                jwks_url: self.jwks_url.clone(),
                issuer: Some(name),
            }),
        }
    }
}

impl Tenants {
    /// Loads the tenants and starts the periodic check.
    pub async fn start(tasks: &Tasks, parts: TenantsParts) -> Result<Arc<Self>, StoreError> {
        let tenants = Arc::new(Self { known: RwLock::default(), parts });
        tenants.refresh().await?;
        tasks.spawn(Stage::Delivery, Self::NAME, keep_refreshing(Arc::clone(&tenants)));
        Ok(tenants)
    }

    /// Whether a tenant is suspended: nobody of it gets in.
    pub fn is_suspended(&self, tenant: TenantId) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).tenants.contains(&tenant)
    }

    /// Creates a tenant.
    pub async fn create(&self, name: &TenantName) -> Result<Tenant, Error> {
        self.parts.table.create(name).await?.ok_or(Error::UpgradeUnfinished)
    }

    /// Tenants by their numbers, after this one.
    pub async fn list(&self, after: i32, limit: u32) -> Result<Vec<Tenant>, Error> {
        Ok(self.parts.table.list(after, limit).await?)
    }

    /// One tenant.
    pub async fn get(&self, id: TenantId) -> Result<Tenant, Error> {
        self.parts.table.get(id).await?.ok_or(Error::TenantNotFound)
    }

    /// Renames, suspends or resumes a tenant. On return it counts on this node, and soon on all others.
    pub async fn set(
        &self,
        id: TenantId,
        name: Option<&TenantName>,
        suspended: Option<bool>,
    ) -> Result<Tenant, Error> {
        let tenant = self.parts.table.set(id, name, suspended).await?;
        let tenant = tenant.ok_or(Error::TenantNotFound)?;
        self.changed().await;
        Ok(tenant)
    }

    /// Use of the installation by a tenant.
    pub async fn usage(&self, id: TenantId) -> Result<Usage, Error> {
        self.get(id).await?;
        Ok(self.parts.table.usage(id).await?)
    }

    /// The issuers of a tenant.
    pub async fn issuers(&self, id: TenantId) -> Result<Vec<Issuer>, Error> {
        self.get(id).await?;
        Ok(self.parts.table.issuers(id).await?)
    }

    /// Whether the tokens of an issuer can be verified on this node.
    pub fn is_usable(&self, issuer: &Issuer) -> bool {
        self.parts.verifier.is_usable(issuer.name.as_str())
    }

    /// Adds an issuer to a tenant. On return its tokens count on this node, and soon on all others.
    pub async fn add_issuer(&self, tenant: TenantId, new: NewIssuer) -> Result<Issuer, Error> {
        if tenant == TenantId::MAIN {
            return Err(Error::IssuersOfMain);
        }
        if self.issuers(tenant).await?.len() >= ISSUERS_MAX {
            return Err(Error::LimitReached("a tenant has at most 20 issuers"));
        }
        let config = new.config();
        let verifier = &self.parts.verifier;
        if verifier.is_mains(new.name.as_str()) {
            return Err(Error::IssuerTaken);
        }
        if verifier.shares_a_key_with_main(&config) || verifier.is_anothers_secret(tenant, &config)
        {
            return Err(Error::IssuerKeyTaken);
        }
        let NewIssuer { kind, name, client_ids, jwks_url, secret } = new;
        let id = new_id();
        let mut issuer = Issuer { id, tenant, kind, name, client_ids, jwks_url, secret: None };
        if let Some(secret) = secret {
            let sealed = self.parts.sealing.seal(secret.expose_secret(), &place(&issuer));
            issuer.secret = Some(sealed.map_err(|error| match error {
                SealingError::NoKey => Error::NoSecretsKey,
                SealingError::UnknownKey | SealingError::Broken => Error::Internal,
            })?);
        }
        if !self.parts.table.add_issuer(&issuer).await? {
            return Err(Error::IssuerTaken);
        }
        self.changed().await;
        Ok(issuer)
    }

    /// Removes an issuer: its tokens count no longer. Open sockets stay until their tokens end.
    pub async fn remove_issuer(&self, tenant: TenantId, id: Uuid) -> Result<(), Error> {
        self.get(tenant).await?;
        if !self.parts.table.remove_issuer(tenant, id).await? {
            return Err(Error::IssuerNotFound);
        }
        self.changed().await;
        Ok(())
    }

    async fn changed(&self) {
        self.parts.connections.hint_tenants();
        if let Err(error) = self.refresh().await {
            tracing::debug!(%error, "query of changed tenants failed; the next refresh retries");
        }
    }

    /// The issuer with its secret. An issuer whose secret can't be opened stays known: its tokens are nobody
    /// else's.
    fn opened(&self, issuer: &Issuer) -> TenantIssuer {
        let (tenant, id) = (issuer.tenant.number(), issuer.id);
        let config = match config_of(issuer, &self.parts.sealing) {
            Ok(config) => {
                let verifier = &self.parts.verifier;
                let shared = match (
                    verifier.is_mains(issuer.name.as_str()),
                    verifier.shares_a_key_with_main(&config),
                ) {
                    (true, _) => Some("its name is that of an issuer of the environment"),
                    (_, true) => Some("it has a key of an issuer of the environment"),
                    (false, false) => None,
                };
                match shared {
                    Some(reason) => {
                        tracing::error!(tenant, issuer = %id, reason, "an issuer can't be used; its tokens are refused");
                        IssuerConfig::Unusable
                    }
                    None => config,
                }
            }
            Err(error) => {
                tracing::error!(tenant, issuer = %id, reason = %error, "an issuer can't be used; its tokens are refused");
                IssuerConfig::Unusable
            }
        };
        TenantIssuer { id: issuer.id, tenant: issuer.tenant, name: issuer.name.clone(), config }
    }
}

#[async_trait]
impl Held for Tenants {
    const NAME: &'static str = "tenants";

    async fn until_hinted(&self) {
        self.parts.connections.until_tenants_changed().await;
    }

    /// Loads changes from the database, and closes the connections of suspended tenants.
    async fn refresh(&self) -> Result<(), StoreError> {
        let since = self.known.read().unwrap_or_else(PoisonError::into_inner).rev;
        let Some(found) = self.parts.table.known(since).await? else { return Ok(()) };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Two checks may overlap: keep the later revision.
        if found.rev < known.rev && known.rev != since {
            return Ok(());
        }
        *known = Suspended { rev: found.rev, tenants: found.suspended };
        let issuers = found.issuers.iter().map(|issuer| self.opened(issuer));
        self.parts.verifier.set_issuers(issuers.collect());
        drop(known);
        // Connections that open now check it later, when they are live.
        self.parts.connections.close_refused(&|person| self.is_suspended(person.tenant));
        Ok(())
    }
}

fn config_of(issuer: &Issuer, sealing: &Sealing) -> Result<IssuerConfig, SealingError> {
    let secret = issuer.secret.as_ref();
    let secret = secret.map(|sealed| sealing.open(sealed, &place(issuer))).transpose()?;
    let Issuer { kind, name, client_ids, jwks_url, .. } = issuer.clone();
    Ok(NewIssuer { kind, name, client_ids, jwks_url, secret }.config())
}

/// Outcome of a rotation.
#[derive(Debug, Default)]
pub struct Rotated {
    /// Number of secrets.
    pub all: usize,
    /// Number of those that were sealed anew.
    pub renewed: usize,
    /// Number of those that were sealed with the first key already.
    pub current: usize,
    /// One line for each secret that was not.
    pub failed: Vec<String>,
}

/// Seals all secrets with the first key. A secret that can't be opened stays, and stops no other one.
pub async fn rotate(table: &TenantTable, sealing: &Sealing) -> Result<Rotated, StoreError> {
    let issuers = table.sealed().await?;
    let mut rotated = Rotated { all: issuers.len(), ..Rotated::default() };
    for issuer in &issuers {
        let sealed = issuer.secret.as_deref().unwrap_or_default();
        let (place, tenant, id) = (place(issuer), issuer.tenant.number(), issuer.id);
        let reseal = || sealing.seal(sealing.open(sealed, &place)?.expose_secret(), &place);
        match reseal() {
            Ok(_) if sealing.is_current(sealed) => rotated.current += 1,
            // A secret that was changed or removed meanwhile is none of these any more.
            Ok(secret) => rotated.renewed += usize::from(table.reseal(issuer, &secret).await?),
            Err(error) => {
                rotated.failed.push(format!("secret of issuer {id} of tenant {tenant}: {error}"));
            }
        }
    }
    Ok(rotated)
}

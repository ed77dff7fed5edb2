//! The tables of tenants and of their issuers.

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;

use crate::rows::tenant;
use db::{
    Database, StoreError,
    text::{Row, Statement},
};
use model::{
    ids::TenantId,
    tenant::{IssuerKind, IssuerName, TenantName},
};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// Its name, for the operator.
    pub name: TenantName,
    /// Since when it is suspended.
    pub suspended_at: Option<Timestamp>,
    /// Time of its creation.
    pub created_at: Timestamp,
}

/// An issuer of a tenant's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its id.
    pub id: Uuid,
    /// The tenant.
    pub tenant: TenantId,
    /// Cognito or Django.
    pub kind: IssuerKind,
    /// The `iss` of its tokens.
    pub name: IssuerName,
    /// App clients whose tokens are accepted. Empty: any.
    pub client_ids: Vec<String>,
    /// Address of its key set, if Django has one.
    pub jwks_url: Option<String>,
    /// Shared secret of HS256, sealed.
    pub secret: Option<String>,
}

/// Use of the installation by a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Sessions, open and closed.
    pub sessions: u64,
    /// Open sessions.
    pub open_sessions: u64,
    /// Messages that were sent, deleted ones too.
    pub messages: u64,
    /// People who are members of a session.
    pub people: u64,
    /// Bytes of pictures, as announced by their uploads.
    pub image_bytes: u64,
    /// Jobs that are due or under way.
    pub jobs: u64,
    /// Jobs that were given up.
    pub dead_jobs: u64,
}

/// Data of all tenants that a node must know, as of one revision.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Revision of the tables.
    pub rev: i64,
    /// Suspended tenants.
    pub suspended: HashSet<TenantId>,
    /// The issuers of all tenants but main.
    pub issuers: Vec<Issuer>,
}

/// $1 the name. No row if main must be the only tenant.
const CREATE: &str = "insert into tenants (name, created_at) \
    select cast($1 as text), {now} from tenant_changes where allowed \
    returning cast(id as bigint) as tenant, name, suspended_at, created_at";

/// $1 the number before the page, $2 the limit.
const LIST: &str = "select cast(id as bigint) as tenant, name, suspended_at, created_at from tenants \
    where id > $1 order by id limit $2";

/// $1 the tenant.
const GET: &str = "select cast(id as bigint) as tenant, name, suspended_at, created_at from tenants \
    where id = $1";

/// $1 the tenant, $2 the new name or null, $3 `suspend`, `resume` or null.
const SET: &str = "update tenants set name = coalesce(cast($2 as text), name), \
    suspended_at = case cast($3 as text) when 'suspend' then coalesce(suspended_at, {now}) \
      when 'resume' then null else suspended_at end \
    where id = $1 returning cast(id as bigint) as tenant, name, suspended_at, created_at";

/// $1 the tenant.
const USAGE: &str = "select \
    (select count(*) from sessions where tenant_id = $1) as sessions, \
    (select count(*) from sessions where tenant_id = $1 and status = 'open') as open_sessions, \
    (select cast(coalesce(sum(last_seq), 0) as bigint) from sessions where tenant_id = $1) as messages, \
    (select count(*) from (select distinct kind, person_id from participants where tenant_id = $1) people) \
      as people, \
    (select cast(coalesce(sum(size), 0) as bigint) from uploads where tenant_id = $1) as image_bytes, \
    (select count(*) from jobs where tenant_id = $1 and state <> 'dead') as jobs, \
    (select count(*) from jobs where tenant_id = $1 and state = 'dead') as dead_jobs";

/// $1 the tenant, $2 the id, $3 the kind, $4 the name, $5 the clients, $6 the key set, $7 the sealed secret. No row
/// if another issuer has the name.
const ADD_ISSUER: &str = "insert into issuers \
    (tenant_id, id, kind, issuer, client_ids, jwks_url, secret, created_at) \
    values ($1, $2, $3, $4, $5, $6, $7, {now}) on conflict (issuer) do nothing returning kind";

/// $1 the tenant.
const ISSUERS: &str = "select cast(tenant_id as bigint) as tenant, id, kind, issuer, client_ids, jwks_url, secret \
    from issuers where tenant_id = $1 order by created_at, id";

/// All issuers with a secret.
const SEALED: &str = "select cast(tenant_id as bigint) as tenant, id, kind, issuer, client_ids, jwks_url, secret \
    from issuers where secret is not null order by tenant_id, id";

/// $1 the tenant, $2 the id.
const REMOVE_ISSUER: &str = "delete from issuers where tenant_id = $1 and id = $2 returning kind";

/// $1 the tenant, $2 the id, $3 the secret as it was, $4 as it becomes.
const RESEAL: &str = "update issuers set secret = $4 \
    where tenant_id = $1 and id = $2 and secret = $3 returning kind";

/// $1 the known revision. No row if it is unchanged.
const KNOWN: &str = "select c.rev, cast(t.id as bigint) as tenant, t.suspended_at, i.id, i.kind, \
    i.issuer, i.client_ids, i.jwks_url, i.secret \
    from tenant_changes c \
    left join tenants t on t.suspended_at is not null \
      or exists (select 1 from issuers where tenant_id = t.id) \
    left join issuers i on i.tenant_id = t.id \
    where c.rev <> $1";

/// The tenants in the database.
#[derive(Clone, Debug)]
pub struct TenantTable(pub Database);

impl TenantTable {
    /// Creates a tenant. `None` if main must be the only tenant until `frontdesk migrate --finish` has run.
    pub async fn create(&self, name: &TenantName) -> Result<Option<Tenant>, StoreError> {
        self.one(Statement::new(CREATE, [name.as_str().into()])).await
    }

    /// Tenants by their numbers, after this one.
    pub async fn list(&self, after: i32, limit: u32) -> Result<Vec<Tenant>, StoreError> {
        let rows = self.0.read(Statement::new(LIST, [after.into(), limit.into()])).await?;
        rows.iter().map(tenant_of).collect()
    }

    /// One tenant.
    pub async fn get(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let rows = self.0.read(Statement::new(GET, [id.number().into()])).await?;
        rows.first().map(tenant_of).transpose()
    }

    /// Renames, suspends or resumes a tenant. `None` if there is none.
    pub async fn set(
        &self,
        id: TenantId,
        name: Option<&TenantName>,
        suspended: Option<bool>,
    ) -> Result<Option<Tenant>, StoreError> {
        let act = suspended.map(|suspended| if suspended { "suspend" } else { "resume" });
        let params = [id.number().into(), name.map(TenantName::as_str).into(), act.into()];
        self.one(Statement::new(SET, params)).await
    }

    /// Use of the installation by the tenant.
    pub async fn usage(&self, id: TenantId) -> Result<Usage, StoreError> {
        let rows = self.0.read(Statement::new(USAGE, [id.number().into()])).await?;
        let row = rows.first().ok_or_else(StoreError::no_row)?;
        Ok(Usage {
            sessions: row.count("sessions")?,
            open_sessions: row.count("open_sessions")?,
            messages: row.count("messages")?,
            people: row.count("people")?,
            image_bytes: row.count("image_bytes")?,
            jobs: row.count("jobs")?,
            dead_jobs: row.count("dead_jobs")?,
        })
    }

    /// Adds an issuer. Returns whether no other one has its name.
    pub async fn add_issuer(&self, issuer: &Issuer) -> Result<bool, StoreError> {
        let params = [
            issuer.tenant.number().into(),
            issuer.id.into(),
            issuer.kind.as_str().into(),
            issuer.name.as_str().into(),
            serde_json::Value::from(issuer.client_ids.clone()).to_string().into(),
            issuer.jwks_url.clone().into(),
            issuer.secret.clone().into(),
        ];
        self.wrote(Statement::new(ADD_ISSUER, params)).await
    }

    /// The issuers of a tenant, the oldest first.
    pub async fn issuers(&self, tenant: TenantId) -> Result<Vec<Issuer>, StoreError> {
        let rows = self.0.read(Statement::new(ISSUERS, [tenant.number().into()])).await?;
        rows.iter().map(issuer_of).collect()
    }

    /// Removes an issuer. Returns whether there was one.
    pub async fn remove_issuer(&self, tenant: TenantId, id: Uuid) -> Result<bool, StoreError> {
        self.wrote(Statement::new(REMOVE_ISSUER, [tenant.number().into(), id.into()])).await
    }

    /// All issuers with a sealed secret.
    pub async fn sealed(&self) -> Result<Vec<Issuer>, StoreError> {
        let rows = self.0.read(Statement::new(SEALED, [])).await?;
        rows.iter().map(issuer_of).collect()
    }

    /// Replaces an issuer's sealed secret, unless it has changed meanwhile.
    pub async fn reseal(&self, issuer: &Issuer, secret: &str) -> Result<bool, StoreError> {
        let params = [
            issuer.tenant.number().into(),
            issuer.id.into(),
            issuer.secret.clone().into(),
            secret.into(),
        ];
        self.wrote(Statement::new(RESEAL, params)).await
    }

    /// The data that a node must know, if they have changed since this revision. It does not wait for other queries.
    pub async fn known(&self, since: i64) -> Result<Option<Known>, StoreError> {
        let mut known = None;
        for row in self.0.read_at_once(Statement::new(KNOWN, [since.into()])).await? {
            let rev = row.get("rev")?;
            let known = known.get_or_insert_with(|| Known { rev, ..Known::default() });
            if row.get::<Option<i64>>("tenant")?.is_none() {
                continue;
            }
            if row.get::<Option<Timestamp>>("suspended_at")?.is_some() {
                known.suspended.insert(tenant(&row)?);
            }
            if row.get::<Option<String>>("kind")?.is_some() {
                known.issuers.push(issuer_of(&row)?);
            }
        }
        Ok(known)
    }

    async fn one(&self, statement: Statement) -> Result<Option<Tenant>, StoreError> {
        self.0.write(statement).await?.first().map(tenant_of).transpose()
    }

    async fn wrote(&self, statement: Statement) -> Result<bool, StoreError> {
        Ok(!self.0.write(statement).await?.is_empty())
    }
}

fn tenant_of(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: tenant(row)?,
        name: row.parsed("name")?,
        suspended_at: row.get("suspended_at")?,
        created_at: row.get("created_at")?,
    })
}

fn issuer_of(row: &Row) -> Result<Issuer, StoreError> {
    let client_ids: String = row.get("client_ids")?;
    Ok(Issuer {
        id: row.get("id")?,
        tenant: tenant(row)?,
        kind: row.parsed("kind")?,
        name: row.parsed("issuer")?,
        // A text that is no list is a list of nothing that any client has.
        client_ids: serde_json::from_str(&client_ids).unwrap_or_else(|_| vec![String::new()]),
        jwks_url: row.get("jwks_url")?,
        secret: row.get("secret")?,
    })
}

/// The place for which an issuer's secret is sealed.
pub(super) fn place(issuer: &Issuer) -> String {
    format!("issuers/{}/{}", issuer.tenant.number(), issuer.id)
}

//! Columns that several tables have.

use db::{StoreError, postgres::rows::unknown, text::Row};
use model::ids::TenantId;

/// The tenant of a row, in its column `tenant`.
pub fn tenant(row: &Row) -> Result<TenantId, StoreError> {
    let number: i64 = row.get("tenant")?;
    let tenant = i32::try_from(number).ok().and_then(TenantId::new);
    tenant.ok_or_else(|| unknown("tenant", &"is no tenant"))
}

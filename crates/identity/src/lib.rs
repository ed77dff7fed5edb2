//! Identities: tokens become people of a tenant, names come from the directory, admins block people, the
//! operator suspends tenants, and admins' acts are recorded.

pub mod admission;
pub mod audit;
pub mod auth;
pub mod blocks;
pub mod connections;
pub mod directory;
pub mod people_table;
pub mod rows;
pub mod sealing;
pub mod tenants;

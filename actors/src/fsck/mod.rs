//! Checks the promises on the live database: seats, money, sagas, outbox, ledger.
//!
//! All checks read one snapshot, so that they agree with one another while hosts write. An event that another domain has not
//! handled yet is not a finding until it is older than a minute (events are handled within milliseconds; after an outage,
//! within seconds). Nothing is repaired: a finding is for a person.

mod promises;
mod store;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Short and stable, for scripts.
    pub name: &'static str,
    /// What should be true.
    pub promise: &'static str,
    /// What was checked, in figures.
    pub evidence: String,
    /// How many findings there are.
    pub found: i64,
    /// The first findings.
    pub findings: Vec<String>,
}

/// Runs every check that the database has the tables for. `url` may name a user who can only read.
pub async fn check(url: &str) -> anyhow::Result<Vec<Checked>> {
    store::check(url, promises::ALL).await
}

//! Checks on the live database that what was promised is true: seats, money, sagas, outbox, ledger.
//!
//! One read-only snapshot serves all checks, so that they agree with one another while the house is busy. What one domain has
//! told and another has not yet heard is not a finding until it is older than a minute (a message is heard within
//! milliseconds; after an outage, within seconds). It mends nothing: a finding is for a person.

mod promises;
mod store;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Short and stable, for scripts.
    pub name: &'static str,
    /// What should be true.
    pub promise: &'static str,
    /// What was looked at, in figures.
    pub evidence: String,
    /// How often it is not true.
    pub found: i64,
    /// The first of them.
    pub findings: Vec<String>,
}

/// Runs every check that the database has the tables for. `url` may name a user who can only read.
pub async fn check(url: &str) -> anyhow::Result<Vec<Checked>> {
    store::check(url, promises::ALL).await
}

//! Migrations: one folder and one Postgres schema for each domain, brought up to date when a deployment starts.

use anyhow::Context;
use sqlx::Connection;
use sqlx::migrate::Migrator;

use crate::DOMAINS;
use crate::delivery::{RolePasswords, connect, grant_roles};
use crate::domain::Domain;

/// Partitions and upkeep, which every domain's schema calls.
static DELIVERY: Migrator = sqlx::migrate!("../migrations/delivery");

/// The domains that have a schema, and so a role, of their own.
pub fn schemas() -> impl Iterator<Item = &'static Domain> {
    DOMAINS.iter().filter(|domain| domain.migrations.is_some())
}

/// Brings every schema up to date. Processes that start together do it one after another. A server that is too old is
/// refused before anything is changed.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    migrate_with(database_url, &RolePasswords::new()).await.map(drop)
}

/// The same, and makes the domains' roles; returns the roles that have their rights now.
pub async fn migrate_with(database_url: &str, passwords: &RolePasswords) -> anyhow::Result<Vec<String>> {
    let mut connection = connect::connect(database_url).await?;
    let domains = schemas().filter_map(|domain| Some((domain.name, domain.migrations?)));
    for (schema, migrations) in [("delivery", &DELIVERY)].into_iter().chain(domains) {
        let mut migrator = Migrator::with_migrations(migrations.iter().cloned().collect());
        migrator.create_schema(schema);
        migrator.dangerous_set_table_name(format!("{schema}._migrations"));
        migrator.run(&mut connection).await.with_context(|| format!("migrating {schema}"))?;
    }
    let names: Vec<&str> = schemas().map(|domain| domain.name).collect();
    let granted = grant_roles(&mut connection, &names, passwords).await?;
    connection.close().await?;
    Ok(granted)
}

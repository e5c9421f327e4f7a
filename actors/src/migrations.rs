//! Migrations: one folder and one Postgres schema for each domain, brought up to date when a deployment starts.

use anyhow::Context;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use crate::DOMAINS;
use crate::delivery::{RolePasswords, connect, grant_roles};
use crate::domain::Domain;

/// Partitions and upkeep, which every domain's schema calls.
static DELIVERY: Migrator = sqlx::migrate!("../migrations/delivery");

/// The domains that have a schema, and so a role, of their own.
pub fn schemas() -> impl Iterator<Item = &'static Domain> {
    DOMAINS.iter().filter(|domain| domain.migrations.is_some())
}

/// One migration of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: i64,
    pub name: String,
}

/// The migrations of this program, by schema, in their order.
pub fn versions() -> Vec<(&'static str, Vec<Version>)> {
    let version = |migration: &sqlx::migrate::Migration| Version {
        number: migration.version,
        name: migration.description.replace(' ', "_"),
    };
    migrators().map(|(schema, migrator)| (schema, migrator.iter().map(version).collect())).collect()
}

fn migrators() -> impl Iterator<Item = (&'static str, &'static Migrator)> {
    let domains = schemas().filter_map(|domain| Some((domain.name, domain.migrations?)));
    [("delivery", &DELIVERY)].into_iter().chain(domains)
}

/// Brings every schema up to date. Processes that start together do it one after another. A server that is too old is
/// refused before anything is changed.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    migrate_with(database_url, &RolePasswords::new()).await.map(drop)
}

/// The same, and makes the domains' roles; returns the roles that have their rights now.
pub async fn migrate_with(database_url: &str, passwords: &RolePasswords) -> anyhow::Result<Vec<String>> {
    let mut connection = connect::connect(database_url).await?;
    for (schema, migrations) in migrators() {
        let mut migrator = Migrator::with_migrations(migrations.iter().cloned().collect());
        migrator.create_schema(schema);
        migrator.dangerous_set_table_name(format!("{schema}._migrations"));
        match migrator.run(&mut connection).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
                anyhow::bail!(why_not_ours(&mut connection, &migrator).await?)
            }
            Err(error) => return Err(error).with_context(|| format!("migrating {schema}")),
        }
    }
    let names: Vec<&str> = schemas().map(|domain| domain.name).collect();
    let granted = grant_roles(&mut connection, &names, passwords).await?;
    connection.close().await?;
    Ok(granted)
}

/// Why a schema has migrations that this program does not have. The first migration of each schema is never edited since
/// version 0.1.0.
async fn why_not_ours(connection: &mut PgConnection, migrator: &Migrator) -> anyhow::Result<&'static str> {
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    let first = migrator.iter().next();
    let starts_alike = first.is_some_and(|first| {
        applied.iter().any(|applied| applied.version == first.version && applied.checksum == first.checksum)
    });
    Ok(match starts_alike {
        true => "this database was made by a newer version of Marquee: start that version, or a newer one",
        false => {
            "this database was made by a version before 0.1.0, which cannot be upgraded: empty the database, or delete \
             the data folder"
        }
    })
}

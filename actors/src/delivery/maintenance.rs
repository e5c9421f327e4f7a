//! Migrations at the start, and the hourly upkeep of the delivery tables: partitions made ahead, old rows forgotten.

use std::time::Duration;

use anyhow::Context;
use sqlx::Connection;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

use super::connect;
use super::roles::{self, RolePasswords};
use crate::database::Database;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// Days that the outbox keeps, as long as the stream; `delivery.maintain` keeps the inbox a day longer.
const OUTBOX_DAYS: i32 = 7;

/// One folder and one schema a domain; `delivery` first, since the others call its functions.
fn migrators() -> [(&'static str, Migrator); 6] {
    [
        ("delivery", sqlx::migrate!("../migrations/delivery")),
        ("auth", sqlx::migrate!("../migrations/auth")),
        ("movie", sqlx::migrate!("../migrations/movie")),
        ("reservation", sqlx::migrate!("../migrations/reservation")),
        ("payment", sqlx::migrate!("../migrations/payment")),
        ("notification", sqlx::migrate!("../migrations/notification")),
    ]
}

/// Brings every schema up to date. Hosts that start together do it one after another. A server that is too old is refused
/// before anything is changed.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    migrate_with(database_url, &RolePasswords::new()).await.map(drop)
}

/// The same, and makes the hosts' roles; returns those that have their rights now.
pub async fn migrate_with(database_url: &str, passwords: &RolePasswords) -> anyhow::Result<Vec<String>> {
    let mut connection = connect::connect(database_url).await?;
    for (schema, mut migrator) in migrators() {
        migrator.create_schema(schema);
        migrator.dangerous_set_table_name(format!("{schema}._migrations"));
        migrator.run(&mut connection).await.with_context(|| format!("migrating {schema}"))?;
    }
    let granted = roles::grant(&mut connection, passwords).await?;
    connection.close().await?;
    Ok(granted)
}

/// The upkeep worker of one domain.
pub async fn maintain(database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        let upkeep = sqlx::query("select delivery.upkeep($1, $2)")
            .bind(database.domain)
            .bind(OUTBOX_DAYS)
            .execute(&database.pool);
        let done = tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            done = upkeep => done,
        };
        if let Err(error) = done {
            // Partitions exist a week ahead, so an hour's miss is harmless.
            tracing::warn!(domain = database.domain, %error, "upkeep failed; again in an hour");
        }
    }
}

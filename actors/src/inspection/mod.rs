//! What Postgres reports about a deployment, for `marquee doctor`: server, rights, migrations, connections, outboxes.
//!
//! Invariant: nothing is changed. Every session is read only by a setting of its own, and its statements end after
//! `STATEMENT_MAX`.

mod store;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::delivery::connect;
use crate::migrations::{self, Version};

pub use crate::delivery::connect::LEAST_VERSION;
pub use crate::delivery::{CONNECTIONS_MAX, DAYS_AHEAD_MIN};

/// Longer than any of these queries takes on a busy server.
const STATEMENT_MAX: &str = "4s";

/// The server.
#[derive(Debug, Clone)]
pub struct Server {
    /// 150006 is 15.6.
    pub version_number: i32,
    pub version: String,
    /// The server's clock when the statement ran.
    pub now: OffsetDateTime,
    pub is_standby: bool,
}

/// Who is logged in, and what that role may do.
#[derive(Debug, Clone)]
pub struct Rights {
    pub role: String,
    pub database: String,
    /// It may do what the owner of the database may.
    pub is_owner: bool,
    /// The domains' schemas whose rows it may read and write.
    pub schemas: Vec<String>,
}

/// The migrations of one schema, compared with those of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaVersion {
    pub schema: &'static str,
    /// Not applied yet, as `0006_erasure`.
    pub pending: Vec<String>,
    /// Applied by a newer program.
    pub unknown: Vec<i64>,
}

/// The events of one domain that are not published.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub domain: &'static str,
    pub pending: i64,
    /// Of the oldest.
    pub seconds: f64,
    /// Days after today with a partition, at most 7.
    pub days_ahead: i64,
}

/// Sessions of clients in the whole server.
#[derive(Debug, Clone, Copy)]
pub struct Sessions {
    pub used: u32,
    /// Allowed to roles without special rights.
    pub max: u32,
}

/// A session that can only read. Does not wait for a server that is away.
pub async fn open(url: &str) -> anyhow::Result<PgConnection> {
    let settings = vec![
        ("default_transaction_read_only", "on"),
        ("statement_timeout", STATEMENT_MAX),
        ("timezone", "UTC"),
    ];
    let options = connect::options(url)?.application_name("marquee-doctor");
    connect::open(&options, settings).await.map_err(|error| match connect::refusal(&error) {
        Some(why) => anyhow::anyhow!("Postgres refuses: {why}"),
        None => anyhow::Error::new(error).context("Postgres does not answer at DATABASE_URL"),
    })
}

pub async fn server(db: &mut PgConnection) -> anyhow::Result<Server> {
    Ok(store::server(db).await?)
}

pub async fn rights(db: &mut PgConnection) -> anyhow::Result<Rights> {
    let schemas: Vec<&str> = migrations::schemas().map(|domain| domain.name).collect();
    Ok(store::rights(db, &schemas).await?)
}

/// Every schema's migrations. An error where the role may not read which were applied: only the owner may.
pub async fn versions(db: &mut PgConnection) -> anyhow::Result<Vec<SchemaVersion>> {
    let mut found = Vec::new();
    for (schema, ours) in migrations::versions() {
        let applied = store::applied(db, schema).await?;
        found.push(compared(schema, &ours, &applied));
    }
    Ok(found)
}

fn compared(schema: &'static str, ours: &[Version], applied: &[i64]) -> SchemaVersion {
    let pending = ours.iter().filter(|version| !applied.contains(&version.number));
    let is_unknown = |number: &&i64| ours.iter().all(|version| version.number != **number);
    SchemaVersion {
        schema,
        pending: pending.map(|version| format!("{:04}_{}", version.number, version.name)).collect(),
        unknown: applied.iter().filter(is_unknown).copied().collect(),
    }
}

/// The outboxes of the domains whose rows this role may read; the names of the others.
pub async fn outboxes(db: &mut PgConnection) -> anyhow::Result<(Vec<Outbox>, Vec<&'static str>)> {
    let readable = rights(db).await?.schemas;
    let (mut found, mut closed) = (Vec::new(), Vec::new());
    for domain in migrations::schemas().map(|domain| domain.name) {
        match readable.iter().any(|schema| schema == domain) {
            true => found.push(store::outbox(db, domain).await?),
            false => closed.push(domain),
        }
    }
    Ok((found, closed))
}

pub async fn sessions(db: &mut PgConnection) -> anyhow::Result<Sessions> {
    let (used, max) = crate::delivery::sessions(db).await?;
    Ok(Sessions { used: used as u32, max: max as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_pending_or_of_a_newer_program() {
        let version = |number, name: &str| Version { number, name: name.to_owned() };
        let ours = [version(1, "movie"), version(2, "prices")];
        let current = compared("movie", &ours, &[1, 2]);
        assert!(current.pending.is_empty() && current.unknown.is_empty());
        assert_eq!(compared("movie", &ours, &[1]).pending, ["0002_prices"]);
        assert_eq!(compared("movie", &ours, &[]).pending, ["0001_movie", "0002_prices"]);
        assert_eq!(compared("movie", &ours, &[1, 2, 9]).unknown, [9]);
    }

    #[test]
    fn every_schema_has_the_migrations_of_its_folder() {
        for (schema, versions) in migrations::versions() {
            assert_eq!(versions[0].number, 1, "{schema}");
            assert!(versions.is_sorted_by_key(|version| version.number), "{schema}");
        }
    }
}

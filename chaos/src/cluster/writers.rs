//! Writers that show whether two servers of Postgres accept writes at the same time: one for each server, which connects to it
//! directly and writes numbered rows all the time, whichever server is the primary.
//!
//! An acknowledged row is a promise like an order that was answered 2xx: it must be in the end state. A write that is not
//! answered in time is given up by closing the connection. It is never cancelled at the server: Postgres answers a commit
//! whose wait for the standby was cancelled as if the standby had it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::machine::Machine;

/// The database of the writers.
pub const DATABASE: &str = "witness";
const EVERY: Duration = Duration::from_millis(250);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

const TABLE: &str = "create table written (server text, number bigint, primary key (server, number))";
/// The timeline rises by one with each promotion. Its number is the beginning of the name of the current WAL file.
const WRITE: &str = "insert into written (server, number) values ($1, $2)
    returning ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int";

/// An acknowledged write.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub server: &'static str,
    pub number: i64,
    pub timeline: i32,
    pub sent: Instant,
    pub answered: Instant,
}

/// The writers of all servers.
#[derive(Debug, Default)]
pub struct Writers {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    stop: CancellationToken,
}

impl Writers {
    /// Starts a writer for each server; `url` is its own address.
    pub fn start(&self, servers: Vec<(Machine, String)>) {
        for (machine, url) in servers {
            let (acknowledged, stop) = (self.acknowledged.clone(), self.stop.clone());
            tokio::spawn(async move {
                let writing = write_on(machine, &url, &acknowledged);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = writing => {}
                }
            });
        }
    }

    /// Ends the writers; returns what was acknowledged.
    pub fn stop(&self) -> Vec<Acknowledged> {
        self.stop.cancel();
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Creates the table; `url` leads to the primary.
pub async fn create_table(url: &str) -> Result<()> {
    let mut db = PgConnection::connect(url).await?;
    sqlx::raw_sql(TABLE).execute(&mut db).await?;
    Ok(db.close().await?)
}

/// The rows that the primary has.
pub async fn read(url: &str) -> Result<HashSet<(String, i64)>> {
    let mut db = PgConnection::connect(url).await.context("reading what the writers have written")?;
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select server, number from written").fetch_all(&mut db).await?;
    db.close().await?;
    Ok(rows.into_iter().collect())
}

/// Writes for ever.
async fn write_on(machine: Machine, url: &str, acknowledged: &Mutex<Vec<Acknowledged>>) {
    // A write that is not answered is expected here, and not worth a warning.
    let options: PgConnectOptions = url.parse().expect("this program made the URL");
    let options = options.disable_statement_logging();
    let (mut connection, mut number) = (None, 0);
    loop {
        tokio::time::sleep(EVERY).await;
        let mut db = match connection.take() {
            Some(db) => db,
            None => match timeout(CONNECT_WITHIN, options.connect()).await {
                Ok(Ok(db)) => db,
                _ => continue,
            },
        };
        number += 1;
        let sent = Instant::now();
        let write = sqlx::query_scalar(WRITE).bind(machine.name).bind(number);
        // A standby refuses; a connection that does not answer is dropped, whether or not the row was written.
        if let Ok(Ok(timeline)) = timeout(WRITTEN_WITHIN, write.fetch_one(&mut db)).await {
            let answered = Instant::now();
            let write = Acknowledged { server: machine.name, number, timeline, sent, answered };
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(write);
            connection = Some(db);
        }
    }
}

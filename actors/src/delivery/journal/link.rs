//! The journal's connection.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use uuid::Uuid;

use crate::database::Database;
use crate::delivery::{statements as sql, within};

/// Connecting, with the check that the database takes writes.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const PING_MAX: Duration = Duration::from_secs(2);

/// What the server is told, so that it too gives up: a journal that hangs or is cut off must not keep row locks that
/// every other host waits for.
const SESSION: [(&str, &str); 9] = [
    ("statement_timeout", "5s"),
    // Longer than `deadlock_timeout` (1 s), so that a deadlock shows as one.
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // A statement that waits for a lock does not notice that its client has gone, unless it looks.
    ("client_connection_check_interval", "1s"),
    ("tcp_user_timeout", "10s"),
    // Every statement here finds its rows by key. The planner cannot know how short the arrays are: on a small table it
    // took a hash join over all of it, kept that plan, and each batch read the growing table (measured: 20 ms a batch).
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_seqscan", "off"),
];

/// The journal's one connection, made anew when lost, and with it the news whether the database is well.
pub struct Link<'a> {
    pub database: &'a Database,
    pub well: &'a watch::Sender<bool>,
    pub open: Option<PgConnection>,
}

impl Link<'_> {
    pub async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let opened = within(CONNECT_MAX, open(self.database)).await;
                self.tell(opened.is_ok());
                opened?
            }
        };
        Ok(self.open.insert(open))
    }

    pub fn lose(&mut self) {
        self.open = None;
        self.tell(false);
    }

    pub async fn check(&mut self) {
        if let Some(open) = &mut self.open
            && let Err(error) = within(PING_MAX, open.ping()).await
        {
            tracing::warn!(domain = self.database.domain, %error, "lost the database while idle");
            self.lose();
        }
    }

    fn tell(&self, well: bool) {
        self.well.send_if_modified(|known| std::mem::replace(known, well) != well);
    }
}

/// A database that lets us in but takes no writes (disk full, a standby) is as good as away: the first row shows it,
/// before consumers pull messages that would only fail.
async fn open(database: &Database) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&database.options.clone().options(SESSION)).await?;
    if let Err(error) = sql::make_partitions(&mut connection, database.domain).await {
        tracing::warn!(domain = database.domain, %error, "no partitions made ahead; upkeep will");
    }
    sql::insert_batch(&mut connection, Uuid::now_v7()).await?;
    Ok(connection)
}

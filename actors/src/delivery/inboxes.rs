//! The inboxes from outside: an operator lets a consumer forget events, so that it handles them again when they are replayed.

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgPool};

use super::connect;

/// Every domain's inbox of one database.
pub struct Inboxes {
    pool: PgPool,
    domains: Vec<String>,
}

impl Inboxes {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        connect::connect(url).await?.close().await?;
        let pool = PgPoolOptions::new().connect_lazy_with(connect::options(url)?);
        let domains = sqlx::query_scalar(
            "select quote_ident(n.nspname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relname = 'inbox' and c.relkind = 'r'",
        )
        .fetch_all(&pool)
        .await?;
        Ok(Self { pool, domains })
    }

    /// A consumer is in one inbox; asking all saves knowing which.
    pub async fn forget(&self, consumer: &str, ids: &[String]) -> anyhow::Result<u64> {
        let mut forgotten = 0;
        for domain in &self.domains {
            let query = format!("delete from {domain}.inbox where consumer = $1 and event_id = any($2)");
            let deleted =
                sqlx::query(AssertSqlSafe(query)).bind(consumer).bind(ids).execute(&self.pool).await?;
            forgotten += deleted.rows_affected();
        }
        Ok(forgotten)
    }
}

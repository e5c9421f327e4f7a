//! The queries of the inspection.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Outbox, Rights, Server};
use crate::delivery::connect;
use crate::delivery::{days_ahead, unpublished};

pub async fn server(db: &mut PgConnection) -> sqlx::Result<Server> {
    let (version_number, version, now, is_standby) = sqlx::query_as(
        "select current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(),
           pg_is_in_recovery()",
    )
    .fetch_one(db)
    .await?;
    Ok(Server { version_number, version, now, is_standby })
}

/// `schemas` that are missing are not returned.
pub async fn rights(db: &mut PgConnection, schemas: &[&str]) -> sqlx::Result<Rights> {
    let (role, database, is_owner, schemas) = sqlx::query_as(
        "select current_user::text, current_database()::text, pg_has_role(datdba, 'usage'),
           (select coalesce(array_agg(nspname::text order by nspname), '{}') from pg_namespace
            where nspname = any($1) and has_schema_privilege(oid, 'usage')
              and to_regclass(format('%I.unsent', nspname)) is not null
              and has_table_privilege(to_regclass(format('%I.unsent', nspname)), 'select'))
         from pg_database where datname = current_database()",
    )
    .bind(schemas)
    .fetch_one(db)
    .await?;
    Ok(Rights { role, database, is_owner, schemas })
}

/// The migrations that a schema has; none where the schema is missing.
pub async fn applied(db: &mut PgConnection, schema: &str) -> sqlx::Result<Vec<i64>> {
    let exists: bool = sqlx::query_scalar(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
                            where n.nspname = $1 and c.relname = '_migrations')",
    )
    .bind(schema)
    .fetch_one(&mut *db)
    .await?;
    if !exists {
        return Ok(Vec::new());
    }
    let query = format!(r#"select version from "{schema}"._migrations where success order by version"#);
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(db).await
}

pub async fn outbox(db: &mut PgConnection, domain: &'static str) -> sqlx::Result<Outbox> {
    connect::set(db, vec![("search_path", domain)]).await?;
    let (pending, seconds) = unpublished(&mut *db).await?;
    let days_ahead = days_ahead(db, domain).await?;
    Ok(Outbox { domain, pending, seconds, days_ahead })
}

//! One Postgres role for each domain's hosts, with rights to its own schema: a host that is broken into reads no password
//! hashes unless it is auth's.
//!
//! A role is named after the database and the domain, such as `marquee_auth`. The role that migrates owns every table; it also
//! creates the roles if it may (`CREATEROLE`), else an administrator creates them and the next migration grants the rights.

use std::collections::BTreeMap;

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgConnection};

/// A password for the role of each of these domains; the others are left as they are.
pub type RolePasswords = BTreeMap<&'static str, String>;

/// Creates roles and grants the rights that their hosts need, also to existing roles: migrations may have added tables.
pub async fn grant(
    connection: &mut PgConnection,
    domains: &[&str],
    passwords: &RolePasswords,
) -> anyhow::Result<Vec<String>> {
    // Two migrations at once would change the same rows of the catalogue.
    sqlx::query("select pg_advisory_lock(hashtext('delivery.roles'))").execute(&mut *connection).await?;
    let granted = each(connection, domains, passwords).await;
    sqlx::query("select pg_advisory_unlock(hashtext('delivery.roles'))").execute(&mut *connection).await?;
    granted
}

async fn each(
    connection: &mut PgConnection,
    domains: &[&str],
    passwords: &RolePasswords,
) -> anyhow::Result<Vec<String>> {
    let database: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut *connection).await?;
    let mut granted = Vec::new();
    for domain in domains {
        let role = format!("{database}_{domain}");
        if let Some(password) = passwords.get(*domain) {
            ensure(connection, &role, password).await.with_context(|| format!("making the role {role}"))?;
        }
        let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(&role)
            .fetch_one(&mut *connection)
            .await?;
        if exists {
            let statements = statements(&database, &role, domain);
            sqlx::raw_sql(AssertSqlSafe(statements))
                .execute(&mut *connection)
                .await
                .with_context(|| format!("granting rights to the role {role}"))?;
            granted.push(role);
        }
    }
    Ok(granted)
}

async fn ensure(connection: &mut PgConnection, role: &str, password: &str) -> anyhow::Result<()> {
    // Quoted by the server, which knows its own rules.
    let statements: String = sqlx::query_scalar(
        "select case when exists (select from pg_roles where rolname = $1) then ''
                else format('create role %I; ', $1) end || format('alter role %I login password %L', $1, $2)",
    )
    .bind(role)
    .bind(password)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}

/// The rights of a domain's hosts: rows of their schema, and its upkeep. None to change a table.
fn statements(database: &str, role: &str, domain: &str) -> String {
    let [database, role] = [database, role].map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    format!(
        "begin;
         grant connect on database {database} to {role};
         grant usage on schema {domain}, delivery to {role};
         grant select, insert, update, delete on all tables in schema {domain} to {role};
         revoke all on {domain}._migrations from {role};
         grant usage, select on all sequences in schema {domain} to {role};
         grant execute on all functions in schema {domain} to {role};
         grant execute on function delivery.prepare(text), delivery.upkeep(text, int) to {role};
         commit"
    )
}

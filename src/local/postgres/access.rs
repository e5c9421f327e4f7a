//! The roles of a local cluster: its superuser and Marquee's role, which owns only the databases, each with a random password.
//! A cluster of an early version, which every user of the machine could log in to, is secured at its start.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::super::folder::{Account, Folder};
use super::super::secret;
use super::Postgres;

pub(super) const SUPERUSER: &str = "postgres";
/// Marquee's role.
pub(super) const USER: &str = "marquee";

/// The content of `pg_hba.conf`. A cluster of an early version, which trusted all local users, lacks its first line.
const RULES: &str = "# Written by Marquee: nobody logs in without a password.\n\
                     host all all 127.0.0.1/32 scram-sha-256\n";
/// Postgres reloads its rules within milliseconds.
const RELOAD_MAX: Duration = Duration::from_secs(10);
/// No such role.
const INVALID_AUTHORIZATION: &str = "28000";

/// The passwords of one cluster.
#[derive(Debug)]
pub(super) struct Passwords {
    pub superuser: String,
    pub user: String,
}

impl Passwords {
    pub fn of(folder: &Folder) -> Result<Self> {
        Ok(Self { superuser: folder.secret("superuser-password")?, user: folder.secret("password")? })
    }
}

/// A file with the superuser's password that the cluster's owner, as whom `initdb` runs, can read.
pub(super) fn password_file(folder: &Path, password: &str, owner: Option<Account>) -> Result<PathBuf> {
    let path = folder.join("initdb-password");
    write(&path, password, owner)?;
    Ok(path)
}

/// Writes the rules of a cluster that was not started yet.
pub(super) fn write_rules(data: &Path, owner: Option<Account>) -> Result<()> {
    let new = data.join("pg_hba.conf.new");
    write(&new, RULES, owner)?;
    Ok(fs::rename(&new, data.join("pg_hba.conf"))?)
}

fn write(path: &Path, text: &str, owner: Option<Account>) -> Result<()> {
    secret::write(path, text)?;
    if let Some(Account { user, group }) = owner {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

impl Postgres {
    /// Creates Marquee's role where it is missing. A cluster of an early version, whose superuser was `marquee`, gets passwords
    /// and separate roles and keeps its data. If this is interrupted, the next start completes it.
    pub(super) async fn guard(&self) -> Result<()> {
        let data = self.folder.path().join("data");
        let rules = fs::read_to_string(data.join("pg_hba.conf"))?;
        let trusts_all_users = rules.lines().next() != RULES.lines().next();
        if trusts_all_users {
            tracing::info!(cluster = %data.display(), "securing the database with passwords");
            self.rename_superuser().await?;
        }
        let mut superuser = self.superuser("postgres").await?;
        set_passwords(&mut superuser, &self.engine.passwords, trusts_all_users).await?;
        if trusts_all_users {
            self.transfer_ownership(&mut superuser).await?;
            write_rules(&data, self.engine.run_as)?;
            sqlx::query("select pg_reload_conf()").execute(&mut superuser).await?;
            self.wait_for_rules().await?;
        }
        Ok(superuser.close().await?)
    }

    /// A connection of the superuser.
    pub(super) async fn superuser(&self, database: &str) -> Result<PgConnection> {
        PgConnection::connect(&self.superuser_url(database)).await.with_context(|| {
            let folder = self.folder.path().display();
            format!("logging in to the database with the password in {folder}/superuser-password")
        })
    }

    async fn trusted(&self, role: &str) -> sqlx::Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port);
        options.username(role).database("postgres").connect().await
    }

    /// The first superuser of a cluster cannot become an ordinary role, so it is renamed; a session cannot rename its own role,
    /// so a third role does it.
    async fn rename_superuser(&self) -> Result<()> {
        const RENAMER: &str = "marquee_upgrade";
        match self.trusted(SUPERUSER).await {
            Ok(connection) => connection.close().await?,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INVALID_AUTHORIZATION) => {
                let make = format!(
                    "do $$ begin
                       if to_regrole('{RENAMER}') is null then create role {RENAMER} superuser login; end if;
                     end $$"
                );
                let mut connection = self.trusted(USER).await?;
                sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await?;
                connection.close().await?;
                let mut connection = self.trusted(RENAMER).await?;
                let rename = format!("alter role {USER} rename to {SUPERUSER}");
                sqlx::raw_sql(AssertSqlSafe(rename)).execute(&mut connection).await?;
                connection.close().await?;
            }
            Err(error) => return Err(error.into()),
        }
        let mut connection = self.trusted(SUPERUSER).await?;
        let drop = format!("drop role if exists {RENAMER}");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Makes Marquee's role the owner of what the superuser owned.
    async fn transfer_ownership(&self, superuser: &mut PgConnection) -> Result<()> {
        let databases: Vec<String> = sqlx::query_scalar(
            "select datname::text from pg_database where datallowconn and not datistemplate and datname <> 'postgres'",
        )
        .fetch_all(&mut *superuser)
        .await?;
        for database in databases {
            let own = format!("alter database {} owner to {USER}", super::quoted(&database));
            sqlx::raw_sql(AssertSqlSafe(own)).execute(&mut *superuser).await?;
            let mut inside = self.superuser(&database).await?;
            sqlx::raw_sql(include_str!("hand_over.sql")).execute(&mut inside).await?;
            inside.close().await?;
        }
        Ok(())
    }

    async fn wait_for_rules(&self) -> Result<()> {
        let end = std::time::Instant::now() + RELOAD_MAX;
        while self.trusted(USER).await.is_ok() {
            if std::time::Instant::now() > end {
                bail!(
                    "the database still accepts logins without a password, although its rules were changed"
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

async fn set_passwords(
    superuser: &mut PgConnection,
    passwords: &Passwords,
    trusts_all_users: bool,
) -> Result<()> {
    let exists: bool =
        sqlx::query_scalar("select to_regrole($1) is not null").bind(USER).fetch_one(&mut *superuser).await?;
    let mut statements = Vec::new();
    if !exists {
        statements.push(format!("create role {USER} login"));
    }
    if !exists || trusts_all_users {
        // Hexadecimal digits, so no escaping is needed.
        statements.push(format!("alter role {USER} password '{}'", passwords.user));
    }
    if trusts_all_users {
        statements.push(format!("alter role {SUPERUSER} password '{}'", passwords.superuser));
    }
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *superuser).await?;
    }
    Ok(())
}

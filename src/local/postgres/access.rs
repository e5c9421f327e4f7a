//! Who may log in to a local cluster: its superuser and the product's role, which owns the databases and nothing else, each
//! by a random password. Clusters of versions that let every user of the machine in are closed at their start.

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
/// The product's role.
pub(super) const USER: &str = "marquee";

/// The whole of `pg_hba.conf`. Its first line is how a cluster of an earlier version is known: that one trusted everybody.
const RULES: &str = "# Written by Marquee: nobody logs in without a password.\n\
                     host all all 127.0.0.1/32 scram-sha-256\n";
/// Postgres reads its rules again within milliseconds.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
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

/// A file with the superuser's password which `initdb`, as the cluster's owner, can read.
pub(super) fn password_file(folder: &Path, password: &str, owner: Option<Account>) -> Result<PathBuf> {
    let path = folder.join("initdb-password");
    write(&path, password, owner)?;
    Ok(path)
}

/// Closes a cluster that nobody has started yet.
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
    /// Makes the product's role where it is missing. A cluster of before, where everybody was its superuser `marquee`, becomes
    /// one like every other, with all that is in it. Interrupted, the next start does the rest.
    pub(super) async fn guard(&self) -> Result<()> {
        let data = self.folder.path().join("data");
        let rules = fs::read_to_string(data.join("pg_hba.conf"))?;
        let trusts_everybody = rules.lines().next() != RULES.lines().next();
        if trusts_everybody {
            tracing::info!(cluster = %data.display(), "giving the database passwords");
            self.name_the_superuser().await?;
        }
        let mut superuser = self.superuser("postgres").await?;
        set_passwords(&mut superuser, &self.engine.passwords, trusts_everybody).await?;
        if trusts_everybody {
            self.hand_over(&mut superuser).await?;
            write_rules(&data, self.engine.run_as)?;
            sqlx::query("select pg_reload_conf()").execute(&mut superuser).await?;
            self.until_closed().await?;
        }
        Ok(superuser.close().await?)
    }

    /// A connection that may do everything.
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

    /// The first superuser of a cluster cannot become an ordinary role, and no session renames its own role: a third one
    /// gives it another name.
    async fn name_the_superuser(&self) -> Result<()> {
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

    /// Gives the product's role what the superuser owned.
    async fn hand_over(&self, superuser: &mut PgConnection) -> Result<()> {
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

    async fn until_closed(&self) -> Result<()> {
        let end = std::time::Instant::now() + CLOSED_WITHIN;
        while self.trusted(USER).await.is_ok() {
            if std::time::Instant::now() > end {
                bail!("the database still lets everybody in, although its rules were changed");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

async fn set_passwords(
    superuser: &mut PgConnection,
    passwords: &Passwords,
    trusts_everybody: bool,
) -> Result<()> {
    let exists: bool =
        sqlx::query_scalar("select to_regrole($1) is not null").bind(USER).fetch_one(&mut *superuser).await?;
    let mut statements = Vec::new();
    if !exists {
        statements.push(format!("create role {USER} login"));
    }
    if !exists || trusts_everybody {
        // Hexadecimal digits, so nothing needs an escape.
        statements.push(format!("alter role {USER} password '{}'", passwords.user));
    }
    if trusts_everybody {
        statements.push(format!("alter role {SUPERUSER} password '{}'", passwords.superuser));
    }
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *superuser).await?;
    }
    Ok(())
}

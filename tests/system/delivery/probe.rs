//! The rows of the domain under test.

use actors::delivery::{Loss, RowError, Rows, Statement, WriteError};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub id: Uuid,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Opens an account. `version` 0 breaks a constraint for which there is no rejection: poison.
    Open {
        owner: String,
        version: i64,
    },
    /// Raises the version, if it is this one.
    Raise {
        from: i64,
    },
    /// Raises this account, waits, then raises the other one: two of these in opposite order deadlock.
    RaiseAlsoSlowly {
        other: Uuid,
    },
    /// Raises the account and then reports the change as stale, while it holds the lock of the row.
    RaiseAndReportStale,
    /// Opens an account after half a second.
    OpenSlowly,
    Panic,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Rejection {
    OwnerHasAnAccount,
}

impl Probe {
    pub fn new(id: Uuid, act: Act) -> Self {
        Self { id, act }
    }

    /// A new account of a new owner, which always succeeds.
    pub fn open() -> Self {
        let id = Uuid::now_v7();
        Self::new(id, Act::Open { owner: id.to_string(), version: 1 })
    }

    pub fn open_for(owner: &str) -> Self {
        Self::new(Uuid::now_v7(), Act::Open { owner: owner.to_owned(), version: 1 })
    }

    pub fn poison() -> Self {
        let id = Uuid::now_v7();
        Self::new(id, Act::Open { owner: id.to_string(), version: 0 })
    }

    pub fn raise(id: Uuid, from: i64) -> Self {
        Self::new(id, Act::Raise { from })
    }

    fn opens(&self) -> Option<(Uuid, &str, i64)> {
        match &self.act {
            Act::Open { owner, version } => Some((self.id, owner, *version)),
            _ => None,
        }
    }

    fn raises(&self) -> Option<(Uuid, i64)> {
        match self.act {
            Act::Raise { from } => Some((self.id, from)),
            _ => None,
        }
    }
}

impl Rows for Probe {
    type Rejection = Rejection;
    /// The version.
    type Written = i64;

    /// What only opens and raises is one statement; the rest is a dialogue.
    fn is_statement(&self) -> bool {
        matches!(self.act, Act::Open { .. } | Act::Raise { .. })
    }

    fn statement(rows: &[&Self]) -> Statement {
        let mut statement = Statement::new(false);
        let new: Vec<(Uuid, &str, i64)> = rows.iter().filter_map(|row| row.opens()).collect();
        let ids = statement.add(new.iter().map(|row| row.0).collect::<Vec<_>>());
        let owners = statement.add(new.iter().map(|row| row.1).collect::<Vec<_>>());
        let versions = statement.add(new.iter().map(|row| row.2).collect::<Vec<_>>());
        statement.part(format!(
            "opened as (insert into accounts select * from unnest({ids}::uuid[], {owners}::text[], {versions}::bigint[])
               on conflict do nothing returning id, version)"
        ));
        let raises: Vec<(Uuid, i64)> = rows.iter().filter_map(|row| row.raises()).collect();
        let ids = statement.add(raises.iter().map(|row| row.0).collect::<Vec<_>>());
        let versions = statement.add(raises.iter().map(|row| row.1).collect::<Vec<_>>());
        statement.part(format!(
            "raised as (update accounts a set version = a.version + 1
               from unnest({ids}::uuid[], {versions}::bigint[]) as raise (id, version)
               where a.id = raise.id and a.version = raise.version returning a.id, a.version)"
        ));
        let count = statement.add(rows.len() as i64);
        statement
            .condition(format!("(select count(*) from opened) + (select count(*) from raised) = {count}"));
        let all = "(select coalesce(json_object_agg(id, version), '{}'::json)
                    from (select * from opened union all select * from raised) as done)";
        (statement.written, statement.found) = (Some(all.to_owned()), Some(all.to_owned()));
        statement
    }

    fn written(rows: &[&Self], written: &Value) -> Vec<i64> {
        rows.iter().map(|row| written[row.id.to_string()].as_i64().unwrap()).collect()
    }

    fn lost(rows: &[&Self], found: &Value) -> Vec<(usize, Loss<Rejection>)> {
        let loss = |row: &Self| match row.act {
            Act::Raise { .. } => Loss::Stale,
            _ => Loss::Rejected(Rejection::OwnerHasAnAccount),
        };
        let rows = rows.iter().enumerate();
        rows.filter(|(_, row)| found[row.id.to_string()].is_null()).map(|(at, row)| (at, loss(row))).collect()
    }

    fn write<'a>(
        db: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, Result<Vec<i64>, WriteError<Rejection>>> {
        async move {
            let mut versions = Vec::with_capacity(rows.len());
            for (index, row) in rows.iter().enumerate() {
                versions.push(row.write_row(db).await.map_err(|error| error.at(index))?);
            }
            Ok(versions)
        }
        .boxed()
    }

    fn notices(committed: &[(&Self, &i64)]) -> Vec<(String, Bytes)> {
        committed
            .iter()
            .map(|(probe, _)| (format!("seats.{}", probe.id), Bytes::from_static(b"{}")))
            .collect()
    }
}

impl Probe {
    /// Returns the account's version.
    async fn write_row(&self, db: &mut PgConnection) -> Result<i64, RowError<Rejection>> {
        match self.act {
            Act::RaiseAlsoSlowly { other } => {
                raise_any(db, self.id).await?;
                sqlx::query("select pg_sleep(0.5)").execute(&mut *db).await?;
                raise_any(db, other).await?;
            }
            Act::RaiseAndReportStale => {
                raise_any(db, self.id).await?;
                return Err(RowError::Stale);
            }
            Act::OpenSlowly => {
                sqlx::query("insert into accounts select $1, $1::text, 1 from pg_sleep(0.5)")
                    .bind(self.id)
                    .execute(&mut *db)
                    .await?;
            }
            Act::Panic => panic!("planned"),
            Act::Open { .. } | Act::Raise { .. } => unreachable!("these are part of a statement"),
        }
        Ok(sqlx::query_scalar("select version from accounts where id = $1")
            .bind(self.id)
            .fetch_one(db)
            .await?)
    }
}

async fn raise_any(db: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update accounts set version = version + 1 where id = $1").bind(id).execute(db).await?;
    Ok(())
}

//! How one batch is written: in one statement, or in a transaction that locks first or is a dialogue.
//!
//! Invariant: after [`Failed::Refused`] nothing is written, for certain. Where no answer to a committing statement arrived, the
//! batch may or may not be written, and the journal reads it by its key.

use std::time::Duration;

use bus::event::Outgoing;
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgTransaction};

use super::statements::batch::{self, BatchKey, Found, Reported};
use super::{Change, IdempotencyWrite, Loss, Rows, Statement, WriteError, is_away, within};

/// A batch's statements take milliseconds, after a lock wait 2 s more: what takes longer hangs.
pub const STATEMENTS_MAX: Duration = Duration::from_secs(8);
const COMMIT_MAX: Duration = Duration::from_secs(5);
const ROLLBACK_MAX: Duration = Duration::from_secs(2);

/// The result of a write: the report of the batch's statement, and the results of the dialogue where there was one.
pub struct Written<R: Rows> {
    pub reported: Reported,
    pub rows: Option<Vec<R::Written>>,
}

/// Why a batch was not written, or why that is unknown.
pub enum Failed<R: Rows> {
    /// Nothing was written.
    Refused(WriteError<R::Rejection>),
    /// No answer arrived. With the results that a dialogue has returned.
    Unknown(sqlx::Error, Option<Vec<R::Written>>),
}

impl<R: Rows> From<sqlx::Error> for Failed<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Refused(WriteError::Sql(error))
    }
}

/// Writes the changes and commits.
pub async fn write<R: Rows>(
    connection: &mut PgConnection,
    key: BatchKey,
    changes: &[&Change<R>],
) -> Result<Written<R>, Failed<R>> {
    let rows: Vec<&R> = changes.iter().map(|change| &change.rows).collect();
    if !rows.iter().all(|row| row.is_statement()) {
        return in_transaction(connection, key, changes, &rows, None).await;
    }
    let statement = R::statement(&rows);
    if statement.locks {
        in_transaction(connection, key, changes, &rows, Some(statement)).await
    } else {
        whole(connection, key, changes, &rows, statement).await
    }
}

/// One statement that is the whole transaction: once sent, it may be committed.
async fn whole<R: Rows>(
    connection: &mut PgConnection,
    key: BatchKey,
    changes: &[&Change<R>],
    rows: &[&R],
    statement: Statement,
) -> Result<Written<R>, Failed<R>> {
    let (keys, events) = (keys(changes), events(changes));
    let written = batch::write(connection, key, statement, &keys, &events);
    match within(STATEMENTS_MAX, written).await {
        Ok(reported) => Ok(Written { reported, rows: None }),
        // A server that shuts down may have committed before it reports that.
        Err(error) if is_away(&error) => Err(Failed::Unknown(error, None)),
        Err(error) => Err(Failed::Refused(refusal(error, changes, rows))),
    }
}

async fn in_transaction<R: Rows>(
    connection: &mut PgConnection,
    key: BatchKey,
    changes: &[&Change<R>],
    rows: &[&R],
    statement: Option<Statement>,
) -> Result<Written<R>, Failed<R>> {
    let prepared = tokio::time::timeout(STATEMENTS_MAX, async {
        let mut tx = connection.begin().await?;
        let written = write_rows(&mut tx, key, changes, rows, statement).await;
        Ok::<_, sqlx::Error>((tx, written))
    });
    let (tx, written) = match prepared.await {
        Ok(prepared) => prepared?,
        // `commit` was not sent and will not be: the connection is given up.
        Err(_) => return Err(super::timed_out().into()),
    };
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            // Now: sqlx's own rollback on drop would be sent with the next statement, and until then other hosts
            // would wait for our row locks.
            within(ROLLBACK_MAX, tx.rollback()).await?;
            return Err(Failed::Refused(error));
        }
    };
    match within(COMMIT_MAX, tx.commit()).await {
        Ok(()) => Ok(written),
        // Postgres itself refused (a deferred constraint): surely rolled back.
        Err(error @ sqlx::Error::Database(_)) if !is_away(&error) => Err(error.into()),
        Err(error) => Err(Failed::Unknown(error, written.rows)),
    }
}

async fn write_rows<R: Rows>(
    tx: &mut PgTransaction<'_>,
    key: BatchKey,
    changes: &[&Change<R>],
    rows: &[&R],
    statement: Option<Statement>,
) -> Result<Written<R>, WriteError<R::Rejection>> {
    let written = match &statement {
        Some(_) => {
            R::lock(tx, rows).await?;
            None
        }
        None => {
            let written = R::write(tx, rows).await?;
            assert_eq!(written.len(), rows.len(), "write returns one result for each of its rows");
            Some(written)
        }
    };
    let (keys, events) = (keys(changes), events(changes));
    match batch::write(tx, key, statement.unwrap_or_default(), &keys, &events).await {
        Ok(reported) => Ok(Written { reported, rows: written }),
        Err(error) => Err(refusal(error, changes, rows)),
    }
}

/// Which changes an incomplete batch has lost; a key that was used before is the reason, whatever else a change has lost.
fn refusal<R: Rows>(error: sqlx::Error, changes: &[&Change<R>], rows: &[&R]) -> WriteError<R::Rejection> {
    let Some(found) = Found::of(&error) else { return WriteError::Sql(error) };
    let is_repeated = |change: &&Change<R>| match &change.idempotency {
        Some(IdempotencyWrite::Claim { key, .. }) => !found.has(key),
        _ => false,
    };
    let repeated: Vec<usize> = (0..changes.len()).filter(|at| is_repeated(&changes[*at])).collect();
    let lost_rows = if found.rows == Value::Null { Vec::new() } else { R::lost(rows, &found.rows) };
    let other = lost_rows.into_iter().filter(|(at, _)| !repeated.contains(at));
    let mut lost: Vec<(usize, Loss<R::Rejection>)> = other.collect();
    lost.extend(repeated.iter().map(|at| (*at, Loss::Repeated)));
    lost.sort_by_key(|(at, _)| *at);
    WriteError::Lost(lost)
}

fn keys<'c, R: Rows>(changes: &[&'c Change<R>]) -> Vec<&'c IdempotencyWrite> {
    changes.iter().filter_map(|change| change.idempotency.as_ref()).collect()
}

fn events<'c, R: Rows>(changes: &[&'c Change<R>]) -> Vec<&'c Outgoing> {
    changes.iter().flat_map(|change| &change.outbox).collect()
}

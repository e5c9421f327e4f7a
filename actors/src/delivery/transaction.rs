//! One transaction of the journal: inbox, idempotency, the domain's rows, outbox, and the batch's own row, in this order.
//!
//! Invariant: an error before `commit` was sent means that nothing was written; one after it means that nobody knows
//! yet. A change that was handled or asked before drops out here and is told so.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use bus::contract::Timestamp;
use bus::event::Outgoing;
use sqlx::{Connection, PgConnection, PgTransaction};
use tokio::time::Instant;
use uuid::Uuid;

use super::statements as sql;
use super::{
    Change, IdempotencyKey, IdempotencyWrite, InboxKey, Outcome, Rows, StoredAnswer, WriteError, is_away,
    within,
};

/// A batch's statements take milliseconds, after a lock wait 2 s more: what takes longer hangs.
pub const STATEMENTS_MAX: Duration = Duration::from_secs(8);
const COMMIT_MAX: Duration = Duration::from_secs(5);
const ROLLBACK_MAX: Duration = Duration::from_secs(2);

/// Why a batch's transaction did not end well.
pub enum Failed<R: Rows> {
    Before(WriteError<R::Rejection>),
    /// The answer to `commit` did not come; it may or may not have gone through.
    AtCommit(sqlx::Error, Written<R>),
}

impl<R: Rows> From<sqlx::Error> for Failed<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(WriteError::Sql(error))
    }
}

/// What a transaction did to each of its changes.
pub struct Written<R: Rows> {
    pub outcomes: Vec<Outcome<R>>,
    /// The database's time, and when it was read.
    pub at: Timestamp,
    pub read: Instant,
}

/// Writes the changes and commits.
pub async fn transaction<R: Rows>(
    connection: &mut PgConnection,
    id: Uuid,
    changes: &[&Change<R>],
) -> Result<Written<R>, Failed<R>> {
    let prepared = tokio::time::timeout(STATEMENTS_MAX, async {
        let mut tx = connection.begin().await?;
        let written = write(&mut tx, id, changes).await;
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
            return Err(Failed::Before(error));
        }
    };
    match within(COMMIT_MAX, tx.commit()).await {
        Ok(()) => Ok(written),
        // Postgres itself refused (a deferred constraint): surely rolled back.
        Err(error @ sqlx::Error::Database(_)) if !is_away(&error) => Err(error.into()),
        Err(error) => Err(Failed::AtCommit(error, written)),
    }
}

async fn write<R: Rows>(
    tx: &mut PgTransaction<'_>,
    id: Uuid,
    changes: &[&Change<R>],
) -> Result<Written<R>, WriteError<R::Rejection>> {
    let mut outcomes: Vec<Option<Outcome<R>>> = changes.iter().map(|_| None).collect();
    drop_duplicates(tx, changes, &mut outcomes).await?;
    drop_repeats(tx, changes, &mut outcomes).await?;
    let open: Vec<usize> = (0..changes.len()).filter(|i| outcomes[*i].is_none()).collect();
    let rows: Vec<&R> = open.iter().map(|i| &changes[*i].rows).collect();
    let written = if rows.is_empty() {
        Vec::new()
    } else {
        R::write(tx, &rows).await.map_err(|e| of_changes(e, &open))?
    };
    assert_eq!(written.len(), rows.len(), "write returns one result for each of its rows");
    let events: Vec<&Outgoing> = open.iter().flat_map(|i| &changes[*i].outbox).collect();
    let at = match events.is_empty() {
        true => sql::insert_batch(tx, id).await?,
        false => sql::insert_outbox(tx, id, &events).await?,
    };
    let read = Instant::now();
    for (index, written) in open.into_iter().zip(written) {
        outcomes[index] = Some(Outcome::Committed { written, at });
    }
    let outcomes =
        outcomes.into_iter().map(|outcome| outcome.expect("every change has an outcome by now")).collect();
    Ok(Written { outcomes, at, read })
}

/// A shortfall by the indexes of the changes, told by those of the rows that were written.
fn of_changes<R>(error: WriteError<R>, open: &[usize]) -> WriteError<R> {
    match error {
        WriteError::Short(rows) => {
            let changes: BTreeSet<usize> = rows.into_iter().map(|row| open[row]).collect();
            WriteError::Short(changes.into_iter().collect())
        }
        other => other,
    }
}

/// Messages that were handled before, or that are twice in this batch, change nothing.
async fn drop_duplicates<R: Rows>(
    db: &mut PgConnection,
    changes: &[&Change<R>],
    outcomes: &mut [Option<Outcome<R>>],
) -> Result<(), sqlx::Error> {
    #[cfg(feature = "planted")]
    if bus::config::planted("skip-inbox") {
        return Ok(());
    }
    let keys: HashSet<&InboxKey> = changes.iter().filter_map(|change| change.inbox.as_ref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&InboxKey> = keys.into_iter().collect();
    let mut new = sql::insert_inbox(db, &keys).await?;
    for (change, outcome) in changes.iter().zip(outcomes) {
        if change.inbox.as_ref().is_some_and(|key| !new.remove(key)) {
            *outcome = Some(Outcome::Duplicate);
        }
    }
    Ok(())
}

/// Requests whose key was used before change nothing; they are told what is stored. A key that is settled by one
/// change and claimed by another of the batch is treated in their order.
async fn drop_repeats<R: Rows>(
    db: &mut PgConnection,
    changes: &[&Change<R>],
    outcomes: &mut [Option<Outcome<R>>],
) -> Result<(), sqlx::Error> {
    #[cfg(feature = "planted")]
    if bus::config::planted("forget-keys") {
        return Ok(());
    }
    let (mut claims, mut claimed) = (Vec::new(), HashSet::new());
    let (mut settled_before, mut settled_after) = (Vec::new(), Vec::new());
    for (change, outcome) in changes.iter().zip(outcomes.iter()) {
        match &change.idempotency {
            Some(IdempotencyWrite::Claim { key, request_hash, response })
                if outcome.is_none() && claimed.insert(key) =>
            {
                claims.push((key, request_hash, response.as_deref()));
            }
            Some(write @ (IdempotencyWrite::Complete { key, .. } | IdempotencyWrite::Forget { key }))
                if outcome.is_none() =>
            {
                if claimed.contains(key) {
                    settled_after.push(write)
                } else {
                    settled_before.push(write)
                }
            }
            _ => {}
        }
    }
    sql::settle_idempotency(db, &settled_before).await?;
    if !claims.is_empty() {
        let new = sql::claim_idempotency(db, &claims).await?;
        tell_repeats(db, changes, outcomes, new).await?;
    }
    sql::settle_idempotency(db, &settled_after).await
}

/// The first change that claims a key of `new` goes on, every other one is told what is stored.
async fn tell_repeats<R: Rows>(
    db: &mut PgConnection,
    changes: &[&Change<R>],
    outcomes: &mut [Option<Outcome<R>>],
    mut new: HashSet<IdempotencyKey>,
) -> Result<(), sqlx::Error> {
    let mut used: Vec<(usize, IdempotencyKey)> = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if let (Some(IdempotencyWrite::Claim { key, .. }), None) = (&change.idempotency, &outcomes[index])
            && !new.remove(key)
        {
            used.push((index, key.clone()));
        }
    }
    if used.is_empty() {
        return Ok(());
    }
    let keys: Vec<IdempotencyKey> = used.iter().map(|(_, key)| key.clone()).collect();
    let stored = sql::find_idempotency(db, &keys).await?;
    for (index, key) in used {
        let answer: Option<StoredAnswer> =
            stored.iter().find(|(k, _)| *k == key).map(|(_, answer)| answer.clone());
        let answer = answer.ok_or(sqlx::Error::RowNotFound)?;
        outcomes[index] = Some(Outcome::Repeated(answer));
    }
    Ok(())
}

//! The signing of receipts by a fiscal service, in countries that have one. No country is supported yet, so that by default there is
//! no service and nothing is signed.
//!
//! Invariant: the service is called outside of any transaction, after the number is committed; it delays no sale and no number.
//! Invariant: the first signature that is stored stays.

use std::sync::Arc;
use std::time::Duration;

use bus::Failure;
use bus::contract::payment::Receipt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::store::Rows;
use super::store::receipt::{self as store, Signature};
use super::{Env, periodic};
use crate::delivery::{Change, Outcome, read_failure};

const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for one signature; the next look asks again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Signs documents. It may be asked for the same document again, by another host too, and may give another answer then.
pub trait Fiscal: Send + Sync {
    fn sign<'a>(&'a self, receipt: &'a Receipt) -> BoxFuture<'a, Result<String, Failure>>;
}

/// Runs until `stop`.
pub async fn run(env: Env, fiscal: Arc<dyn Fiscal>, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(EVERY, &stop, "receipts were not signed", || sign_due(&env, &*fiscal)).await;
    Ok(())
}

/// Asks once for the signature of each document. One that fails does not keep the others from being signed; the last failure is
/// returned.
async fn sign_due(env: &Env, fiscal: &dyn Fiscal) -> Result<(), Failure> {
    let (mut outcome, mut after) = (Ok(()), None);
    loop {
        let page = store::unsigned(&env.pool, after).await.map_err(read_failure)?;
        let Some((last, cause)) = page.last() else { return outcome };
        after = Some((last.issued_at, *cause));
        for (receipt, cause) in &page {
            if let Err(failure) = sign(env, fiscal, receipt, *cause).await {
                outcome = Err(failure);
            }
        }
    }
}

async fn sign(env: &Env, fiscal: &dyn Fiscal, receipt: &Receipt, cause: Uuid) -> Result<(), Failure> {
    let answer = tokio::time::timeout(ANSWER_MAX, fiscal.sign(receipt)).await;
    let signature = answer.unwrap_or_else(|_| Err(Failure::transient("no signature in time")))?;
    let signature = Signature { kind: receipt.kind.as_str(), cause, signature };
    match env.journal.commit(Change::new(Rows::Signature(signature))).await {
        Outcome::Failed(failure) => Err(failure),
        _ => Ok(()),
    }
}

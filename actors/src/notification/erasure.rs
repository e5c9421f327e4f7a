//! Erasure of persons: the mail log without their addresses, and addresses that are removed some days after the show.
//!
//! Invariant: after an erasure no mail is sent to the person, also not one that this host had claimed before and sends again.

use std::time::Duration;

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::auth::UserErased;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Env;
use super::store::erasure as store;
use crate::delivery::{Person, erase_traces, read_failure, remember_erased};
use crate::periodic;

/// Removes an erased user's address from the mail log, and the mails from the folder of a deployment without a mail server.
pub async fn erase(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    let UserErased { user_id, at, reservation_ids } = delivery.event()?;
    remember_erased(&env.pool, user_id, at).await?;
    let person = Person { user_ids: vec![user_id], reservation_ids, ..Person::default() };
    erase_traces(&env.pool, &person).await?;
    let orders = &person.reservation_ids;
    let mut mails = store::blank(&env.pool, orders, user_id).await.map_err(read_failure)?;
    // An earlier try may have ended before it removed the files.
    mails.extend(store::blanked_of(&env.pool, orders, user_id).await.map_err(read_failure)?);
    remove_files(env, mails).await
}

/// Removes addresses of past shows until `stop`.
pub async fn retain(env: std::sync::Arc<Env>, keep: Duration, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(periodic::RETENTION_EVERY, &stop, "addresses of past mails were not removed", || {
        blank_past(&env, keep)
    })
    .await;
    Ok(())
}

async fn blank_past(env: &Env, keep: Duration) -> Result<(), Failure> {
    let before = env.clock.now().minus(keep);
    while let Some(mails) = store::blank_past(&env.pool, before).await.map_err(read_failure)? {
        remove_files(env, mails).await?;
    }
    Ok(())
}

async fn remove_files(env: &Env, mails: Vec<Uuid>) -> Result<(), Failure> {
    env.mailer.remove(mails).await.map_err(Failure::transient)
}

/// For mails that were sent while their recipient was erased: what is left of them in the folder is removed.
pub async fn remove_sent_late(env: &Env, mails: &[Uuid]) -> Result<(), Failure> {
    let blanked = store::blanked(&env.pool, mails).await.map_err(read_failure)?;
    remove_files(env, blanked.into_iter().collect()).await
}

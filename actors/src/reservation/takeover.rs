//! An account that had not proven its address was taken over by who proved it: the seats that it holds unpaid are given up.
//!
//! Invariant: only what is still pending is cancelled: each cancellation names the version that was read.

use bus::consumer::Delivery;
use bus::contract::auth::EmailVerified;
use tokio::sync::oneshot;

use super::actor::{self, Origin};
use super::saga::{Cancel, CancelledBy, Input};
use super::{Env, store};

/// Acknowledged when nothing of before is pending any more; a part that is done again changes nothing.
pub async fn hear(env: &Env, delivery: Delivery) {
    let verified: EmailVerified = match delivery.event() {
        Ok(verified) => verified,
        Err(failure) => return delivery.fail(failure),
    };
    if !verified.taken_over {
        return delivery.ack();
    }
    let pending = match store::pending_of_user(&env.pool, verified.user_id, verified.verified_at).await {
        Ok(pending) => pending,
        Err(error) => return delivery.retry(error),
    };
    let cancels = pending.into_iter().map(|(id, version)| {
        let (told, cancelled) = oneshot::channel();
        let origin = Origin::Asked { context: delivery.context.clone(), reply: told };
        let cancel = Cancel { planned_on: Some(version), ..Cancel::by(CancelledBy::Admin) };
        env.sagas().send(id, actor::Message::Input(Input::Cancel(cancel), origin));
        cancelled
    });
    let cancelled = futures::future::join_all(cancels).await;
    if cancelled.iter().all(|done| matches!(done, Ok(Ok(_)))) {
        delivery.ack();
    } else {
        delivery.retry("not every hold is given up yet");
    }
}

//! The events that reservation handles: payment's for its sagas, movie's for its showtimes, accounts that were taken over, and
//! erased users.
//!
//! Invariant: an event that is handled again changes nothing; an event for many reservations is acknowledged when all have
//! handled it.

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::{EmailVerified, UserErased};
use bus::contract::movie::{ShowtimeCancelled, ShowtimeChangeRefused, ShowtimeScheduled, ShowtimeUpdated};
use bus::contract::payment::{
    PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::event::Outgoing;
use bus::topology::ConsumerSpec;
use bus::{Failure, event};
use uuid::Uuid;

use super::actor::{self, Message};
use super::model::{DOMAIN, Showtime};
use super::saga::{Cancel, CancelledBy, Input};
use super::store::{self, Rows};
use super::{Env, erasure};
use crate::delivery::{Change, Outcome};
use crate::entity_shell::Requester;

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: actor::CONSUMER,
    subjects: &[
        ShowtimeScheduled::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        ShowtimeCancelled::SUBJECT,
        PaymentInitiated::SUBJECT,
        PaymentSuccess::SUBJECT,
        PaymentFailed::SUBJECT,
        RefundCompleted::SUBJECT,
        RefundFailed::SUBJECT,
        EmailVerified::SUBJECT,
        UserErased::SUBJECT,
    ],
};

pub fn handle(env: &Env, delivery: Delivery) {
    let env = env.clone();
    match delivery.subject.as_str() {
        ShowtimeScheduled::SUBJECT => {
            tokio::spawn(async move { store_showtime(&env, delivery).await });
        }
        ShowtimeUpdated::SUBJECT => {
            tokio::spawn(async move { change_showtime(&env, delivery).await });
        }
        ShowtimeCancelled::SUBJECT => {
            tokio::spawn(async move { cancel_showtime(&env, delivery).await });
        }
        EmailVerified::SUBJECT => {
            tokio::spawn(async move { give_up_holds(&env, delivery).await });
        }
        UserErased::SUBJECT => {
            tokio::spawn(async move {
                match erasure::erase(&env, &delivery).await {
                    Ok(()) => delivery.ack(),
                    Err(failure) => delivery.fail(failure),
                }
            });
        }
        subject => match input(subject, &delivery.payload) {
            Ok((id, input)) => env.sagas().send(id, Message::Input(input, Requester::Delivery(delivery))),
            Err(failure) => delivery.fail(failure),
        },
    }
}

/// The input that an event of payment is to the saga of its reservation.
pub fn input(subject: &str, payload: &[u8]) -> Result<(Uuid, Input), Failure> {
    Ok(match subject {
        PaymentInitiated::SUBJECT => {
            let PaymentInitiated { payment_id, reservation_id, checkout_url, version, .. } =
                event::read(payload)?;
            (reservation_id, Input::PaymentInitiated { payment_id, checkout_url, version })
        }
        PaymentSuccess::SUBJECT => {
            let event: PaymentSuccess = event::read(payload)?;
            (event.reservation_id, Input::PaymentSucceeded(event))
        }
        PaymentFailed::SUBJECT => {
            let PaymentFailed { payment_id, reservation_id, .. } = event::read(payload)?;
            (reservation_id, Input::PaymentFailed { payment_id })
        }
        RefundCompleted::SUBJECT => {
            let RefundCompleted { refund_id, reservation_id, version, .. } = event::read(payload)?;
            (reservation_id, Input::RefundCompleted { refund_id, version })
        }
        RefundFailed::SUBJECT => {
            let RefundFailed { refund_id, reservation_id, code, version, .. } = event::read(payload)?;
            (reservation_id, Input::RefundFailed { refund_id, code, version })
        }
        other => return Err(Failure::poison(format!("no saga handles {other}"))),
    })
}

async fn store_showtime(env: &Env, delivery: Delivery) {
    let event: ShowtimeScheduled = match delivery.event() {
        Ok(event) => event,
        Err(failure) => return delivery.fail(failure),
    };
    let change = Change::new(Rows::Showtime(event.into()));
    match env.journal.commit(change).await {
        Outcome::Committed { .. } => delivery.ack(),
        Outcome::Failed(failure) => delivery.fail(failure),
        other => delivery.park(format!("a showtime is only ever stored, but: {other:?}")),
    }
}

/// New prices, seats or start. The database takes them over, or rejects them where a seat with a claim would vanish or its
/// time would move; then the showtime keeps its own, and movie is notified. A reservation keeps the prices it was made for.
async fn change_showtime(env: &Env, delivery: Delivery) {
    let event: ShowtimeUpdated = match delivery.event() {
        Ok(event) => event,
        Err(failure) => return delivery.fail(failure),
    };
    let wanted = Showtime::from(event.showtime);
    match commit_showtime(env, wanted.clone(), vec![]).await {
        Outcome::Rejected(_) => keep_showtime(env, delivery, wanted).await,
        outcome => settle(delivery, outcome),
    }
}

/// Stores the new version, so that it is not decided again, with the seats and the start that were sold.
async fn keep_showtime(env: &Env, delivery: Delivery, wanted: Showtime) {
    let sold = match store::snapshot(&env.pool, wanted.id).await {
        Ok(Some(snapshot)) => snapshot.showtime,
        Ok(None) => return delivery.retry("a showtime with claims is not there"),
        Err(error) => return delivery.retry(error),
    };
    let refused = ShowtimeChangeRefused {
        showtime_id: sold.id,
        version: wanted.version,
        starts_at: sold.starts_at,
        rows: sold.layout.clone(),
    };
    let kept = Showtime { starts_at: sold.starts_at, layout: sold.layout, ..wanted };
    let event = Outgoing::new(DOMAIN, &refused, env.clock.now(), &delivery.context);
    let outcome = commit_showtime(env, kept, vec![event]).await;
    settle(delivery, outcome);
}

async fn commit_showtime(env: &Env, showtime: Showtime, outbox: Vec<Outgoing>) -> Outcome<Rows> {
    let change = Rows::ShowtimeChanged(Box::new(showtime));
    env.journal.commit(Change { outbox, ..Change::new(change) }).await
}

fn settle(delivery: Delivery, outcome: Outcome<Rows>) {
    match outcome {
        Outcome::Committed { .. } => delivery.ack(),
        Outcome::Failed(failure) => delivery.fail(failure),
        // Another version was stored between reading and writing: start again.
        Outcome::Rejected(_) | Outcome::Stale => delivery.retry("the showtime changed meanwhile"),
        Outcome::Repeated(_) => delivery.fail(Failure::poison("a showtime has no idempotency key")),
    }
}

/// Ends the sale first, then has every saga give back its seats and money.
async fn cancel_showtime(env: &Env, delivery: Delivery) {
    let event: ShowtimeCancelled = match delivery.event() {
        Ok(event) => event,
        Err(failure) => return delivery.fail(failure),
    };
    let showtime_id = event.showtime.showtime_id;
    let closed = Rows::ShowtimeCancelled(Box::new(event.showtime.into()));
    let closed = env.journal.commit(Change::new(closed)).await;
    if !matches!(closed, Outcome::Committed { .. }) {
        return delivery.retry(format!("the showtime was not closed: {closed:?}"));
    }
    let open = match store::open_of_showtime(&env.pool, showtime_id).await {
        Ok(open) => open,
        Err(error) => return delivery.retry(error),
    };
    let cancels = open.into_iter().map(|id| (id, Cancel::by(CancelledBy::Showtime)));
    if cancel_all(env, &delivery, cancels).await {
        delivery.ack();
    } else {
        delivery.retry("not every reservation is cancelled yet");
    }
}

/// An account whose address was not proven was taken over by the address's owner: its unpaid holds are given up. Each
/// cancellation names the version that was read, so that only reservations that are still pending are cancelled.
async fn give_up_holds(env: &Env, delivery: Delivery) {
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
    let cancels = pending
        .into_iter()
        .map(|(id, version)| (id, Cancel { planned_on: Some(version), ..Cancel::by(CancelledBy::Admin) }));
    if cancel_all(env, &delivery, cancels).await {
        delivery.ack();
    } else {
        delivery.retry("not every hold is given up yet");
    }
}

/// Whether all are cancelled.
async fn cancel_all(env: &Env, delivery: &Delivery, cancels: impl Iterator<Item = (Uuid, Cancel)>) -> bool {
    let answers = cancels.map(|(id, cancel)| {
        let (requester, answer) = Requester::internal(delivery.context.clone());
        env.sagas().send(id, Message::Input(Input::Cancel(cancel), requester));
        answer
    });
    let answers = futures::future::join_all(answers).await;
    answers.iter().all(|answer| matches!(answer, Ok(Ok(_))))
}

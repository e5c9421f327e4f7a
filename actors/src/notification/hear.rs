//! What the events mean: rows of the projections, and mails to be sent. Pure but for the journal at the end.
//!
//! Invariant: an event is acknowledged after its rows are committed; one that comes again changes nothing, since mails are
//! unique by kind and subject and the projections have versions. Nothing is asked of other
//! hosts here: a mail that lacks its reservation is stored, and whoever sends it asks.

use bus::Context;
use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::auth::{EmailVerificationRequested, PasswordChanged, PasswordResetRequested};
use bus::contract::movie::{ShowtimeCancelled, ShowtimeScheduled, ShowtimeUpdated};
use bus::contract::payment::RefundCompleted;
use bus::contract::reminder::MovieReminder;
use bus::contract::reservation::{
    CancelReason, RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated,
    ReservationExchanged, ReservationReaddressed, ReservationStatus,
};
use bus::contract::{Event, Money};
use bus::topology::ConsumerSpec;
use uuid::Uuid;

use super::model::{Attendee, NewMail, Topic};
use super::store::{Heard, Write};
use super::{Env, MAX_DELAY};
use crate::delivery::{Change, Outcome};

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: "notification",
    subjects: &[
        ReservationCreated::SUBJECT,
        ReservationConfirmed::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        ReservationReaddressed::SUBJECT,
        RefundRequested::SUBJECT,
        RefundCompleted::SUBJECT,
        ShowtimeScheduled::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        ShowtimeCancelled::SUBJECT,
        MovieReminder::SUBJECT,
        PasswordResetRequested::SUBJECT,
        PasswordChanged::SUBJECT,
        EmailVerificationRequested::SUBJECT,
    ],
};

/// Writes what an event means, then acknowledges it and wakes the sender.
pub fn hear(env: &Env, delivery: Delivery) {
    let mut heard = match read(&delivery) {
        Ok(heard) => heard,
        Err(failure) => return delivery.fail(failure),
    };
    heard.hold_mail_after = env.settings.hold_mail_after;
    let wake = !heard.mails.is_empty() || heard.reminder.is_some();
    let change = Change { max_delay: MAX_DELAY, ..Change::new(Write::Heard(Box::new(heard))) };
    let sender = env.wake.clone();
    env.journal.write(change, move |outcome| match outcome {
        Outcome::Committed { .. } => {
            delivery.ack();
            if wake {
                sender.notify_one();
            }
        }
        Outcome::Failed(failure) => delivery.fail(failure),
        other => delivery.park(format!("what was heard is only ever stored, but: {other:?}")),
    });
}

fn read(delivery: &Delivery) -> Result<Heard, Failure> {
    let context = &delivery.context;
    Ok(match delivery.subject.as_str() {
        ReservationCreated::SUBJECT => created(delivery.event()?, context),
        ReservationConfirmed::SUBJECT => {
            let told: ReservationConfirmed = delivery.event()?;
            of_reservation(
                told.reservation,
                ReservationStatus::Confirmed,
                Topic::ReservationConfirmed,
                context,
            )
        }
        ReservationCancelled::SUBJECT => cancelled(delivery.event()?, context),
        ReservationExchanged::SUBJECT => exchanged(delivery.event()?, context),
        ReservationReaddressed::SUBJECT => readdressed(delivery.event()?, context),
        RefundRequested::SUBJECT => {
            let told: RefundRequested = delivery.event()?;
            let topic = Topic::RefundRequested { total: told.total };
            of_refund(told.refund_id, told.reservation_id, told.total, topic, context)
        }
        RefundCompleted::SUBJECT => {
            let told: RefundCompleted = delivery.event()?;
            let topic = Topic::RefundCompleted { total: told.total };
            of_refund(told.refund_id, told.reservation_id, told.total, topic, context)
        }
        ShowtimeScheduled::SUBJECT => of_showtime(delivery.event()?),
        ShowtimeUpdated::SUBJECT => of_showtime(delivery.event::<ShowtimeUpdated>()?.showtime),
        ShowtimeCancelled::SUBJECT => {
            let mut heard = of_showtime(delivery.event::<ShowtimeCancelled>()?.showtime);
            heard.showtime.iter_mut().for_each(|showtime| showtime.cancelled = true);
            heard
        }
        MovieReminder::SUBJECT => {
            Heard { reminder: Some((delivery.event()?, context.clone())), ..Heard::default() }
        }
        PasswordResetRequested::SUBJECT => reset(delivery.event()?, context),
        PasswordChanged::SUBJECT => password_changed(delivery.event()?, delivery, context),
        EmailVerificationRequested::SUBJECT => verification(delivery.event()?, context),
        other => return Err(Failure::poison(format!("notification does not hear {other}"))),
    })
}

fn created(told: ReservationCreated, context: &Context) -> Heard {
    let topic = Topic::ReservationCreated { expires_at: told.expires_at };
    of_reservation(told, ReservationStatus::Pending, topic, context)
}

fn cancelled(told: ReservationCancelled, context: &Context) -> Heard {
    let topic = match told.reason {
        CancelReason::HoldExpired => Topic::HoldExpired,
        CancelReason::PaymentFailed => Topic::PaymentFailed,
        CancelReason::ShowtimeCancelled => Topic::ShowtimeCancelled,
        CancelReason::UserRequest | CancelReason::Admin | CancelReason::Exchanged => {
            Topic::ReservationCancelled
        }
    };
    of_reservation(told.reservation, ReservationStatus::Cancelled, topic, context)
}

/// One mail for each exchange: a reservation may have several.
fn exchanged(told: ReservationExchanged, context: &Context) -> Heard {
    let subject = format!("{}/{}", told.reservation.reservation_id, told.reservation.version);
    let topic = Topic::ReservationExchanged { previous_seats: told.previous_seats };
    let mut heard = of_reservation(told.reservation, ReservationStatus::Confirmed, topic, context);
    heard.mails.iter_mut().for_each(|mail| mail.subject.clone_from(&subject));
    heard
}

/// The tickets once more, to the other address; what else waits for its turn goes there, too.
fn readdressed(told: ReservationReaddressed, context: &Context) -> Heard {
    let ReservationReaddressed { status, reservation } = told;
    let subject = format!("{}/{}", reservation.reservation_id, reservation.version);
    let mut heard = of_reservation(reservation, status, Topic::ReservationConfirmed, context);
    heard.mails.retain(|_| status == ReservationStatus::Confirmed);
    heard.mails.iter_mut().for_each(|mail| mail.subject.clone_from(&subject));
    heard
}

/// One mail of each kind for a reservation.
fn of_reservation(
    told: ReservationCreated,
    status: ReservationStatus,
    topic: Topic,
    context: &Context,
) -> Heard {
    let mail = NewMail {
        topic,
        subject: told.reservation_id.to_string(),
        reservation_id: Some(told.reservation_id),
        recipient: Some(told.email.clone()),
        context: context.clone(),
    };
    Heard {
        attendee: Some((Attendee { status, told }, context.clone())),
        mails: vec![mail],
        ..Heard::default()
    }
}

fn of_showtime(told: ShowtimeScheduled) -> Heard {
    Heard { showtime: Some(told.into()), ..Heard::default() }
}

/// No mail where nothing goes back: the payment was of nothing.
fn of_refund(refund: Uuid, reservation: Uuid, total: Money, topic: Topic, context: &Context) -> Heard {
    if total.amount == 0 {
        return Heard::default();
    }
    let mail = NewMail {
        topic,
        subject: refund.to_string(),
        reservation_id: Some(reservation),
        // The store looks it up.
        recipient: None,
        context: context.clone(),
    };
    Heard { mails: vec![mail], ..Heard::default() }
}

/// One mail for each change: it is named by its event.
fn password_changed(changed: PasswordChanged, delivery: &Delivery, context: &Context) -> Heard {
    let mail = NewMail {
        subject: delivery.id.clone(),
        topic: Topic::PasswordChanged { changed_at: changed.changed_at },
        reservation_id: None,
        recipient: Some(changed.email),
        context: context.clone(),
    };
    Heard { mails: vec![mail], ..Heard::default() }
}

fn verification(asked: EmailVerificationRequested, context: &Context) -> Heard {
    let mail = NewMail {
        subject: asked.verification_id.to_string(),
        topic: Topic::EmailVerification {
            verification_id: asked.verification_id,
            expires_at: asked.expires_at,
        },
        reservation_id: None,
        recipient: Some(asked.email),
        context: context.clone(),
    };
    Heard { mails: vec![mail], ..Heard::default() }
}

fn reset(told: PasswordResetRequested, context: &Context) -> Heard {
    let mail = NewMail {
        subject: told.reset_id.to_string(),
        topic: Topic::PasswordReset { reset_id: told.reset_id, expires_at: told.expires_at },
        reservation_id: None,
        recipient: Some(told.email),
        context: context.clone(),
    };
    Heard { mails: vec![mail], ..Heard::default() }
}

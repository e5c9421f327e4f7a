//! The events that notification handles: each becomes rows of the projections and mails to be sent.
//!
//! Invariant: an event is acknowledged after its rows are committed. One that is delivered again changes nothing: mails are
//! unique by kind and subject, and the projections have versions. Nothing is requested from other hosts here: a mail
//! whose reservation is not known yet is stored, and the sender requests it.

use bus::Context;
use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::auth::{EmailVerificationRequested, PasswordChanged, PasswordResetRequested, UserErased};
use bus::contract::movie::{ShowtimeCancelled, ShowtimeScheduled, ShowtimeUpdated};
use bus::contract::payment::RefundCompleted;
use bus::contract::reminder::MovieReminder;
use bus::contract::reservation::{
    CancelReason, RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated,
    ReservationExchanged, ReservationReaddressed, ReservationStatus, ReservationUpdated,
};
use bus::contract::{Event, Locale, Money};
use bus::topology::ConsumerSpec;
use tokio::time::Instant;
use uuid::Uuid;

use super::model::{Attendee, NewMail, Topic};
use super::store::{EventRows, Write};
use super::{Env, GATHER, erasure, order};
use crate::delivery::Change;
use crate::domain::{Handled, unknown_event};

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: "notification",
    subjects: &[
        ReservationCreated::SUBJECT,
        ReservationConfirmed::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        ReservationUpdated::SUBJECT,
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
        UserErased::SUBJECT,
    ],
};

/// Writes the rows of an event, and wakes the sender for its mails.
pub async fn handle(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    if delivery.subject == UserErased::SUBJECT {
        return erasure::erase(env, delivery).await;
    }
    let is_before_restore = env.restored_at.is_some_and(|at| delivery.time.is_some_and(|time| time < at));
    let rows =
        EventRows { hold_mail_after: env.settings.hold_mail_after, is_before_restore, ..read(delivery)? };
    let waits =
        rows.mails.iter().map(|mail| order::wait(&mail.topic, mail.reservation_id, rows.hold_mail_after));
    let reminders = rows.reminder.iter().map(|_| std::time::Duration::ZERO);
    let first_due = waits.chain(reminders).min();
    let change = Change { max_delay: GATHER, ..Change::new(Write::Event(Box::new(rows))) };
    match env.commit_event(change).await? {
        Handled::Done => {
            if let Some(wait) = first_due {
                env.next_look.at(Instant::now() + wait);
            }
            Ok(())
        }
        Handled::Stale | Handled::Rejected(_) => {
            Err(Failure::poison("rows of an event have no rule to break"))
        }
    }
}

fn read(delivery: &Delivery) -> Result<EventRows, Failure> {
    let context = &delivery.context;
    Ok(match delivery.subject.as_str() {
        ReservationCreated::SUBJECT => created(delivery.event()?, context),
        ReservationConfirmed::SUBJECT => {
            let ReservationConfirmed { reservation, .. } = delivery.event()?;
            of_reservation(reservation, ReservationStatus::Confirmed, Topic::ReservationConfirmed, context)
        }
        ReservationCancelled::SUBJECT => cancelled(delivery.event()?, context),
        ReservationExchanged::SUBJECT => exchanged(delivery.event()?, context),
        ReservationUpdated::SUBJECT => updated(delivery.event()?, context),
        ReservationReaddressed::SUBJECT => readdressed(delivery.event()?, context),
        RefundRequested::SUBJECT => {
            let refund: RefundRequested = delivery.event()?;
            let topic = Topic::RefundRequested { total: refund.total };
            of_refund(refund.refund_id, refund.reservation_id, refund.total, topic, context)
        }
        RefundCompleted::SUBJECT => {
            let refund: RefundCompleted = delivery.event()?;
            let topic = Topic::RefundCompleted { total: refund.total };
            of_refund(refund.refund_id, refund.reservation_id, refund.total, topic, context)
        }
        ShowtimeScheduled::SUBJECT => of_showtime(delivery.event()?),
        ShowtimeUpdated::SUBJECT => of_showtime(delivery.event::<ShowtimeUpdated>()?.showtime),
        ShowtimeCancelled::SUBJECT => {
            let mut rows = of_showtime(delivery.event::<ShowtimeCancelled>()?.showtime);
            rows.showtime.iter_mut().for_each(|showtime| showtime.cancelled = true);
            rows
        }
        MovieReminder::SUBJECT => {
            EventRows { reminder: Some((delivery.event()?, context.clone())), ..EventRows::default() }
        }
        PasswordResetRequested::SUBJECT => reset(delivery.event()?, context),
        PasswordChanged::SUBJECT => password_changed(delivery.event()?, delivery, context),
        EmailVerificationRequested::SUBJECT => verification(delivery.event()?, context),
        _ => return Err(unknown_event(CONSUMER.name, delivery)),
    })
}

fn created(reservation: ReservationCreated, context: &Context) -> EventRows {
    let topic = Topic::ReservationCreated { expires_at: reservation.expires_at };
    of_reservation(reservation, ReservationStatus::Pending, topic, context)
}

fn cancelled(cancelled: ReservationCancelled, context: &Context) -> EventRows {
    let topic = match cancelled.reason {
        CancelReason::HoldExpired => Topic::HoldExpired,
        CancelReason::PaymentFailed => Topic::PaymentFailed,
        CancelReason::ShowtimeCancelled => Topic::ShowtimeCancelled,
        CancelReason::UserRequest | CancelReason::Admin | CancelReason::Exchanged => {
            let by_owner = cancelled.reason == CancelReason::UserRequest;
            Topic::ReservationCancelled { by_owner, exchanged: cancelled.reason == CancelReason::Exchanged }
        }
    };
    of_reservation(cancelled.reservation, ReservationStatus::Cancelled, topic, context)
}

fn exchanged(exchanged: ReservationExchanged, context: &Context) -> EventRows {
    let topic = Topic::ReservationExchanged { previous_seats: exchanged.previous_seats };
    of_version(exchanged.reservation, ReservationStatus::Confirmed, topic, context)
}

fn updated(updated: ReservationUpdated, context: &Context) -> EventRows {
    let ReservationUpdated { returned_seats, refund, reservation, .. } = updated;
    let topic = Topic::ReservationUpdated { returned_seats, refund };
    of_version(reservation, ReservationStatus::Confirmed, topic, context)
}

/// The tickets once more, to the other address; mails that are still queued go there, too.
fn readdressed(readdressed: ReservationReaddressed, context: &Context) -> EventRows {
    let ReservationReaddressed { status, reservation, .. } = readdressed;
    let mut rows = of_version(reservation, status, Topic::ReservationConfirmed, context);
    rows.mails.retain(|_| status == ReservationStatus::Confirmed);
    rows
}

/// One mail for each change: a reservation may have several of the kind.
fn of_version(
    reservation: ReservationCreated,
    status: ReservationStatus,
    topic: Topic,
    context: &Context,
) -> EventRows {
    let subject = format!("{}/{}", reservation.reservation_id, reservation.version);
    let mut rows = of_reservation(reservation, status, topic, context);
    rows.mails.iter_mut().for_each(|mail| mail.subject.clone_from(&subject));
    rows
}

/// One mail of each kind for a reservation.
fn of_reservation(
    reservation: ReservationCreated,
    status: ReservationStatus,
    topic: Topic,
    context: &Context,
) -> EventRows {
    let mail = NewMail {
        topic,
        subject: reservation.reservation_id.to_string(),
        reservation_id: Some(reservation.reservation_id),
        user_id: None,
        recipient: Some(reservation.email.clone()),
        context: context.clone(),
    };
    // A guest who has not paid may have given no address.
    let mails = if reservation.email.is_empty() { Vec::new() } else { vec![mail] };
    EventRows {
        attendee: Some((Attendee { status, reservation }, context.clone())),
        mails,
        ..EventRows::default()
    }
}

fn of_showtime(scheduled: ShowtimeScheduled) -> EventRows {
    EventRows { showtime: Some(scheduled.into()), ..EventRows::default() }
}

/// No mail where nothing is refunded: the order was free.
fn of_refund(refund: Uuid, reservation: Uuid, total: Money, topic: Topic, context: &Context) -> EventRows {
    if total.amount == 0 {
        return EventRows::default();
    }
    let mail = NewMail {
        topic,
        subject: refund.to_string(),
        reservation_id: Some(reservation),
        user_id: None,
        // The store looks it up.
        recipient: None,
        context: context.clone(),
    };
    EventRows { mails: vec![mail], ..EventRows::default() }
}

/// The request that caused a mail, with the language that its event names.
fn in_language(context: &Context, locale: Locale) -> Context {
    Context { locale: Some(locale), ..context.clone() }
}

/// One mail for each change: it is named by its event.
fn password_changed(changed: PasswordChanged, delivery: &Delivery, context: &Context) -> EventRows {
    let mail = NewMail {
        subject: delivery.id.clone(),
        topic: Topic::PasswordChanged { changed_at: changed.changed_at },
        reservation_id: None,
        user_id: Some(changed.user_id),
        recipient: Some(changed.email),
        context: in_language(context, changed.locale),
    };
    EventRows { mails: vec![mail], ..EventRows::default() }
}

fn verification(requested: EmailVerificationRequested, context: &Context) -> EventRows {
    let mail = NewMail {
        subject: requested.verification_id.to_string(),
        topic: Topic::EmailVerification {
            verification_id: requested.verification_id,
            expires_at: requested.expires_at,
        },
        reservation_id: None,
        user_id: Some(requested.user_id),
        recipient: Some(requested.email),
        context: in_language(context, requested.locale),
    };
    EventRows { mails: vec![mail], ..EventRows::default() }
}

fn reset(requested: PasswordResetRequested, context: &Context) -> EventRows {
    let mail = NewMail {
        subject: requested.reset_id.to_string(),
        topic: Topic::PasswordReset { reset_id: requested.reset_id, expires_at: requested.expires_at },
        reservation_id: None,
        user_id: Some(requested.user_id),
        recipient: Some(requested.email),
        context: in_language(context, requested.locale),
    };
    EventRows { mails: vec![mail], ..EventRows::default() }
}

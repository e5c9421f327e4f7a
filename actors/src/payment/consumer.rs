//! The events that payment handles: reservation's, each an input of the payment of its reservation, and erased users.
//!
//! Invariant: an event that is handled again changes nothing: the payment's row has the version of the last handled event.

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::UserErased;
use bus::contract::reservation::{
    RefundRequested, ReservationCancelled, ReservationCreated, ReservationExchanged, ReservationUpdated,
};
use bus::topology::ConsumerSpec;
use bus::{Failure, event};
use uuid::Uuid;

use super::actor::{self, Message};
use super::machine::{Input, SeatsChanged};
use super::{Env, erasure};
use crate::entity_shell::Requester;

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: actor::CONSUMER,
    subjects: &[
        ReservationCreated::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        ReservationUpdated::SUBJECT,
        RefundRequested::SUBJECT,
        UserErased::SUBJECT,
    ],
};

pub fn handle(env: &Env, delivery: Delivery) {
    if delivery.subject == UserErased::SUBJECT {
        let env = env.clone();
        tokio::spawn(async move {
            match erasure::erase(&env, &delivery).await {
                Ok(()) => delivery.ack(),
                Err(failure) => delivery.fail(failure),
            }
        });
        return;
    }
    match input(&delivery.subject, &delivery.payload) {
        Ok((reservation, input)) => {
            let requester = Requester::Delivery(delivery);
            env.entities().send(reservation, Message::Input(input, requester));
        }
        Err(failure) => delivery.fail(failure),
    }
}

/// The input for an event, and its reservation.
pub fn input(subject: &str, payload: &[u8]) -> Result<(Uuid, Input), Failure> {
    Ok(match subject {
        ReservationCreated::SUBJECT => {
            let event: ReservationCreated = event::read(payload)?;
            (event.reservation_id, Input::Created(Box::new(event)))
        }
        ReservationCancelled::SUBJECT => {
            let event: ReservationCancelled = event::read(payload)?;
            (event.reservation.reservation_id, Input::Cancelled(Box::new(event)))
        }
        ReservationExchanged::SUBJECT => {
            let ReservationExchanged { payment_id, reservation, .. } = event::read(payload)?;
            seats_changed(payment_id, "exchange", reservation)
        }
        ReservationUpdated::SUBJECT => {
            let ReservationUpdated { payment_id, reservation, .. } = event::read(payload)?;
            seats_changed(payment_id, "return", reservation)
        }
        RefundRequested::SUBJECT => {
            let event: RefundRequested = event::read(payload)?;
            (event.reservation_id, Input::RefundRequested(Box::new(event)))
        }
        other => return Err(Failure::poison(format!("payment does not handle {other}"))),
    })
}

fn seats_changed(payment_id: Uuid, entry: &'static str, reservation: ReservationCreated) -> (Uuid, Input) {
    let id = reservation.reservation_id;
    (id, Input::SeatsChanged(Box::new(SeatsChanged { payment_id, entry, reservation })))
}

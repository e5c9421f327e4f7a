//! The events that payment handles: reservation's. Each is an input of the payment of its reservation.
//!
//! Invariant: an event that is handled again changes nothing: the payment's row has the version of the last handled event.

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::reservation::{
    RefundRequested, ReservationCancelled, ReservationCreated, ReservationExchanged,
};
use bus::topology::ConsumerSpec;
use bus::{Failure, event};
use uuid::Uuid;

use super::Env;
use super::actor::{self, Message};
use super::machine::Input;
use crate::entity_shell::Requester;

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: actor::CONSUMER,
    subjects: &[
        ReservationCreated::SUBJECT,
        ReservationCancelled::SUBJECT,
        ReservationExchanged::SUBJECT,
        RefundRequested::SUBJECT,
    ],
};

pub fn handle(env: &Env, delivery: Delivery) {
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
            let event: ReservationExchanged = event::read(payload)?;
            (event.reservation.reservation_id, Input::Exchanged(Box::new(event)))
        }
        RefundRequested::SUBJECT => {
            let event: RefundRequested = event::read(payload)?;
            (event.reservation_id, Input::RefundRequested(Box::new(event)))
        }
        other => return Err(Failure::poison(format!("payment does not handle {other}"))),
    })
}

//! Who may see and change a reservation: its owner, staff, and the reader of a mail about it.
//!
//! Invariant: the token of an order opens this order and the unpaid one that is to take its place, and no other; only while its
//! number is the order's: a corrected address and a new owner raise it. Which requests it permits, their contract says
//! ([`bus::contract::Request::BY_ORDER_TOKEN`]).

use bus::contract::auth::Role;
use bus::contract::reservation::Rejection;
use bus::token::{Identity, OpenedOrder};

use super::model::Reservation;

/// Refuses callers that the reservation does not concern: they do not learn that it exists.
pub fn check(reservation: &Reservation, identity: &Identity) -> Result<(), Rejection> {
    let Some(order) = identity.order else {
        let may_act = reservation.user_id == identity.user_id || identity.role >= Role::Admin;
        return if may_act { Ok(()) } else { Err(Rejection::NoSuchReservation) };
    };
    #[cfg(feature = "planted")]
    if bus::config::planted("order-token-opens-another") {
        return Ok(());
    }
    if !names(order, reservation) {
        return Err(Rejection::NoSuchReservation);
    }
    if order.access != reservation.saga.access {
        return Err(Rejection::LinkRevoked);
    }
    Ok(())
}

/// Whether the token is of this order or of the one whose place it takes.
fn names(order: OpenedOrder, reservation: &Reservation) -> bool {
    order.reservation_id == reservation.id || reservation.saga.exchange_of == Some(order.reservation_id)
}

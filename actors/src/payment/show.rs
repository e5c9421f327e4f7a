//! What reservation's events about the seats mean for money and tickets: an exchange takes both to another show, a
//! cancellation takes the tickets back. Pure, like [`super::rules`].
//!
//! Invariant: the tickets that are counted are the seats that are sold. Money alone never changes them, with one exception:
//! after a hold's end late money buys the seats or goes back whole, and no event but the refund tells that it did not buy them.
//! Invariant: an event of an older version of the reservation than is known changes nothing.

use bus::contract::Timestamp;
use bus::contract::reservation::{
    CancelReason, ReservationCancelled, ReservationCreated, ReservationExchanged, Sale,
};

use super::model::{Origin, Payment, Stage};
use super::step::{CANCELLED, Draft, Step};

/// What is sold, as an event of reservation has it.
pub fn sale(event: &ReservationCreated) -> Sale {
    Sale {
        showtime_id: event.showtime_id,
        movie_id: event.movie_id,
        movie_title: event.movie_title.clone(),
        starts_at: event.starts_at,
        tickets: event.seats.len() as u16,
    }
}

/// The reservation has other seats.
pub fn exchanged(payment: &Payment, event: &ReservationExchanged, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    let reservation = &event.reservation;
    if reservation.version > payment.seats_version {
        draft.payment.hold_expired = false;
        draft.seats_are(reservation.version, "exchange", sale(reservation));
    }
    draft.finish()
}

/// The reservation is cancelled: nothing may begin any more, and what was sold is sold no longer.
pub fn cancelled(payment: &Payment, event: &ReservationCancelled, now: Timestamp) -> Step {
    let mut draft = Draft::new(payment, now);
    let reservation = &event.reservation;
    // The same version again: it may be what opened the payment.
    if reservation.version < payment.seats_version {
        return draft.finish();
    }
    draft.end(CANCELLED);
    draft.payment.hold_expired = event.reason == CancelReason::HoldExpired;
    let may_be_bought = draft.payment.hold_expired && !draft.goes_back_whole();
    let tickets = payment.sale.as_ref().filter(|_| may_be_bought).map_or(0, |sale| sale.tickets);
    draft.seats_are(reservation.version, "cancellation", Sale { tickets, ..sale(reservation) });
    draft.finish()
}

impl Draft<'_> {
    fn seats_are(&mut self, version: i64, entry: &'static str, after: Sale) {
        self.payment.seats_version = version;
        // Opened by a host that knew of no sale: what is booked for no show stays so.
        let Some(before) = self.payment.sale.clone() else { return };
        if matches!(self.payment.stage, Stage::Captured { .. }) {
            let booked = self.postings.len();
            self.book_move(&format!("seats:{version}"), entry, &before, &after);
            if self.postings.len() > booked {
                let (sold, sells) = (before.tickets, after.tickets);
                self.log(
                    entry,
                    format!("{sold} tickets of {} to {sells} of {}", before.showtime_id, after.showtime_id),
                );
            }
        }
        self.payment.sale = Some(after);
    }

    /// Money that came after the hold's end is given back: the seats are not bought by it.
    pub fn free_expired_seats(&mut self) {
        if !self.payment.hold_expired || !self.goes_back_whole() {
            return;
        }
        let Some(before) = self.payment.sale.clone() else { return };
        let after = Sale { tickets: 0, ..before.clone() };
        let transaction = format!("seats:{}:expired", self.payment.seats_version);
        self.book_move(&transaction, "cancellation", &before, &after);
        self.payment.sale = Some(after);
    }

    /// The accepted capture was asked back in one sum, as money is that came too late.
    fn goes_back_whole(&self) -> bool {
        let total = self.payment.total;
        self.payment.refunds.iter().any(|refund| refund.origin == Origin::Asked && refund.total == total)
    }
}

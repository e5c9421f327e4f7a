//! REST of the reservation domain for customers: their reservations, waiting for a change of one, and tickets, which
//! notification writes as a file.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::notification::PrintTickets;
use bus::contract::reservation::{
    CancelReservation, CancellationPlan, CreateReservation, ExchangeReservation, GetReservation, GetTickets,
    ListReservations, MergeOrders, MergedOrders, PlanCancellation, PlanExchange, Reservation,
    ReservationPlan, ReservationStatus, SetCustomer, Tickets, UpdateReservation, When,
};
use bus::contract::{OrderCode, Page, Rule, SeatId};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Body, Caller, Changed, Of, Rest, id_of};
use crate::pdf_file::PdfFile;
use crate::problem::{Refused, bad_query};
use crate::wait::{self, Until};

pub struct Reservations {
    pub hosts: Arc<dyn Hosts>,
    pub stop: CancellationToken,
}

#[OpenApi(tag = "Domain::Reservation")]
impl Reservations {
    /// Hold seats
    ///
    /// Name them, with or without a ticket type each, or have the best available chosen. Another total than `expectedTotal` is
    /// refused with 409 `price-changed`. They are held until `expiresAt`: pay before. A repetition with the same
    /// `Idempotency-Key` gets the first answer again. Unpaid holds are limited by account, showtime and network (409
    /// `hold-limit` with `limit`); after two holds that were not paid there is a pause (409 `hold-cooldown` with `retryAt`).
    /// Free seats require a proven e-mail address (409 `email-unproven`).
    #[oai(path = "/v1/reservations", method = "post")]
    async fn create(&self, caller: Caller, body: Body<CreateReservation>) -> Answered<Reservation, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// My reservations
    ///
    /// Newest first. An ADMIN sees everybody's, or those of `userId`.
    #[oai(path = "/v1/reservations", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        caller: Caller,
        status: Query<Option<Of<ReservationStatus>>>,
        #[oai(name = "showtimeId")] showtime_id: Query<Option<Of<Uuid>>>,
        /// The order's code, in any case, with or without spaces and dashes.
        code: Query<Option<Of<OrderCode>>>,
        /// By the show's start.
        when: Query<Option<Of<When>>>,
        /// Only for ADMIN.
        #[oai(name = "userId")]
        user_id: Query<Option<Of<Uuid>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Reservation>> {
        let request = ListReservations {
            status: status.0.map(|status| status.0),
            user_id: user_id.0.map(|id| id.0),
            showtime_id: showtime_id.0.map(|id| id.0),
            when: when.0.map(|when| when.0),
            code: code.0.map(|code| code.0),
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// One reservation
    ///
    /// With `wait` the answer is sent as soon as the reservation has changed, at the latest after so many seconds.
    #[oai(path = "/v1/reservations/:id", method = "get")]
    async fn get(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// Seconds to wait for a change, at most 30.
        wait: Query<Option<u32>>,
        /// With `wait`: wait for a `version` above this. Without it, wait for a status other than PENDING.
        since: Query<Option<i64>>,
    ) -> Answered<Reservation> {
        let request = GetReservation { id: id.0.0 };
        let Some(seconds) = wait.0 else { return self.hosts.forward(&caller, request).await };
        if seconds > wait::SECONDS_MAX {
            return Err(bad_query("wait", Rule::Range { min: 0, max: 30 }).into());
        }
        let until = since.0.map_or(Until::Settled, Until::After);
        let duration = Duration::from_secs(seconds.into());
        let json = wait::wait(&self.hosts, &caller.0, request, until, duration, &self.stop).await?;
        Ok(Answer::new(json))
    }

    /// Set the customer
    ///
    /// The address that the order's mails go to, while it is PENDING. A guest's order needs it before it is paid (422
    /// `customer-missing`); that of an account has the account's address.
    #[oai(path = "/v1/reservations/:id/customer", method = "put")]
    async fn set_customer(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<SetCustomer>,
    ) -> Answered<Reservation> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Add a guest's orders to my account
    ///
    /// All of them by the guest's access token, one by the token of the link in its mail, if my address is the order's (409
    /// `merge-other-address`). Refused while one of them is being paid (409 `merge-while-paying`). Their mails go to my address
    /// from then on, and links in earlier mails open them no more.
    #[oai(path = "/v1/reservations/merge", method = "post")]
    async fn merge(&self, caller: Caller, body: Body<MergeOrders>) -> Answered<MergedOrders> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Cancel a reservation
    ///
    /// A reservation that is not yet paid is cancelled. For a paid one the amount in `cancellation` is refunded, by the
    /// `refundPolicy` at the time of its creation; an ADMIN may set `refundPercent` instead. With `seats` only these are given back
    /// and the others stay, unless they could not be bought without them (422 `order-incomplete`).
    #[oai(path = "/v1/reservations/:id/cancel", method = "post")]
    async fn cancel(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<CancelReservation>,
    ) -> Answered<Reservation> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Preview giving back seats
    ///
    /// Nothing is changed. Send its `version` and `seats` with the cancellation: if the reservation has changed since, it is refused
    /// with `plan-changed` instead of giving back another amount.
    #[oai(path = "/v1/reservations/:id/cancellation", method = "get")]
    async fn plan_cancellation(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// Seat ids, separated by commas: `C7,C8`.
        seats: Query<String>,
        /// Only for ADMIN: with this `refundPercent`.
        #[oai(name = "refundPercent")]
        refund_percent: Query<Option<u8>>,
    ) -> Answered<CancellationPlan> {
        let (seats, refund_percent) = (seat_ids(&seats.0)?, refund_percent.0);
        self.hosts.forward(&caller, PlanCancellation { id: id.0.0, seats, refund_percent }).await
    }

    /// Correct the e-mail address
    ///
    /// Where it was mistyped: by the owner until the show begins (409 `showtime-started`), by staff at any time. Mails are sent to
    /// the new address; the tickets of a CONFIRMED order are sent to it at once. Links in earlier mails open the order no more
    /// (401). The saga's log and the audit record who changed it.
    #[oai(path = "/v1/reservations/:id", method = "patch")]
    async fn update(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateReservation>,
    ) -> Answered<Reservation, 202> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Exchange seats
    ///
    /// Of a CONFIRMED reservation, as long as it can be cancelled with a refund. For the same price or less it is done at once
    /// (200), and the difference is refunded. For more, a new reservation with `exchangeOf` is created (201): if it is paid
    /// before `expiresAt`, the old one is refunded in full; if it expires, the old one stays.
    #[oai(path = "/v1/reservations/:id/exchange", method = "post")]
    async fn exchange(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<ExchangeReservation>,
    ) -> Result<Changed<Reservation>, Refused> {
        let request: Body<ExchangeReservation> = body.with_id(id.0.0)?;
        let json = self.hosts.submit_body(&caller, request).await?;
        Ok(if id_of(&json) == Some(id.0.0) {
            Changed::Updated(Answer::new(json))
        } else {
            Changed::Created(Answer::new(json))
        })
    }

    /// Preview an exchange
    ///
    /// Nothing is changed. Send its `version` with the exchange: if the reservation has changed since, the exchange is refused
    /// with `plan-changed` instead of being done at another price.
    #[oai(path = "/v1/reservations/:id/exchange", method = "get")]
    async fn plan_exchange(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// By default the same showtime.
        #[oai(name = "showtimeId")]
        showtime_id: Query<Option<Of<Uuid>>>,
        /// Seat ids, separated by commas: `C7,C8`.
        seats: Query<String>,
    ) -> Answered<ReservationPlan> {
        let seats = seat_ids(&seats.0)?;
        let showtime_id = showtime_id.0.map(|id| id.0);
        self.hosts.forward(&caller, PlanExchange { id: id.0.0, showtime_id, seats }).await
    }

    /// The tickets
    ///
    /// One for each seat, signed: each can be verified offline with `/.well-known/jwks.json`.
    #[oai(path = "/v1/reservations/:id/tickets", method = "get")]
    async fn tickets(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Tickets> {
        self.hosts.forward(&caller, GetTickets { id: id.0.0 }).await
    }

    /// The tickets as a PDF
    ///
    /// One page for each seat with its code, in the language of the order. The file's name has the order's code.
    #[oai(path = "/v1/reservations/:id/tickets.pdf", method = "get")]
    async fn print_tickets(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<PdfFile, Refused> {
        let json = self.hosts.submit(&caller, PrintTickets { reservation_id: id.0.0 }).await?;
        Ok(PdfFile::of_tickets(&json)?)
    }
}

/// The seats of a query.
fn seat_ids(seats: &str) -> Result<Vec<SeatId>, Refused> {
    let ids: Option<Vec<SeatId>> = seats.split(',').map(|seat| SeatId::parse(seat.trim())).collect();
    Ok(ids.ok_or_else(|| bad_query("seats", Rule::SeatIds))?)
}

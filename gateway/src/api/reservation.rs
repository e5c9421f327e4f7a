//! REST of the reservation domain: seats, the live seat map, reservations and waiting for them, and what staff see.
//!
//! Invariant: a wait listens before it asks, so that no change falls in between, and asks once more at its end, so
//! that a notice lost on its way costs time but never a wrong answer.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::movie::SeatKind;
use bus::contract::reservation::{
    BestSeats, CancelReservation, CreateReservation, ExchangeReservation, FindBestSeats, GetReservation,
    GetSaga, GetSeatMap, GetShowtimeCancellation, GetTickets, Holder, ListHolders, ListReservations,
    ListSagas, Occupancy, PlanExchange, ReportOccupancy, Reservation, ReservationPlan, ReservationStatus,
    ResumeSaga, Saga, SagaState, SagaSummary, SeatMap, ShowtimeCancellation, Tickets, UpdateReservation,
    When, changed_subject,
};
use bus::contract::{Page, Problem, SeatId, Timestamp};
use bus::service::Ask;
use futures::StreamExt;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Domain, paging};
use crate::house::{House, valid};
use crate::payload::{Answer, Answered, Body, Caller, Changed, Created, Events, Of, Rest};
use crate::problem::{Refused, bad_query};

/// The contract's longest `?wait`, in seconds: below the idle limits of browsers and proxies.
const WAIT_SECONDS_MAX: u32 = 30;

pub struct Reservations {
    pub house: Arc<House>,
}

/// What a wait looks at, in an answer and in a notice alike.
#[derive(serde::Deserialize)]
struct Seen {
    version: i64,
    status: ReservationStatus,
}

impl Seen {
    /// Whether what was waited for is there.
    fn is_new(json: &[u8], since: Option<i64>) -> bool {
        serde_json::from_slice(json).is_ok_and(|seen: Self| match since {
            Some(since) => seen.version > since,
            None => seen.status != ReservationStatus::Pending,
        })
    }
}

impl Reservations {
    async fn wait(
        &self,
        caller: &Caller,
        id: Uuid,
        seconds: u32,
        since: Option<i64>,
    ) -> Answered<Reservation> {
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let request = GetReservation { id };
        // The first question comes behind the subscription; once NATS has passed it on, it knows both.
        let mut ask = Ask { ordered: true, ..Ask::clone(&caller.0) };
        let mut connections = self.house.hosts.connections();
        let mut notices = self.house.hosts.listen(changed_subject(id)).await?;
        loop {
            let json = self.house.ask(&request, &ask).await?;
            if Seen::is_new(&json, since) || Instant::now() >= until {
                return Ok(Answer::new(json));
            }
            let noticed = async {
                while let Some(notice) = notices.next().await {
                    if Seen::is_new(&notice, since) {
                        return;
                    }
                }
                // The subscription ended, which only the client's end does: the clock decides.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = noticed => ask.ordered = false,
                // It may have been told while NATS was away.
                Ok(()) = connections.changed() => ask.ordered = true,
                _ = tokio::time::sleep_until(until) => {}
                _ = self.house.stop.cancelled() => return Ok(Answer::new(json)),
            }
        }
    }
}

#[OpenApi(tag = "Domain::Reservation")]
impl Reservations {
    /// The seat map
    ///
    /// Agrees with every answer and status seen before. `sequence` grows with each change.
    #[oai(path = "/v1/showtimes/:id/seats", method = "get")]
    async fn seats(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<SeatMap> {
        self.house.pass(&caller, GetSeatMap { showtime_id: id.0.0 }).await
    }

    /// The live seat map
    ///
    /// Server-sent events. `snapshot` comes first and holds the seat map; then each `seats` event holds
    /// `{sequence, changes: [{id, status}]}`, which turns the map at `sequence - 1` into the one at `sequence`. A
    /// `snapshot` may come again and replaces all before it. A comment every 15 seconds keeps the connection.
    #[oai(path = "/v1/showtimes/:id/seats/events", method = "get")]
    async fn watch(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Events, Refused> {
        let place = self.house.stream_place(&caller)?;
        let events = self.house.hub.watch(&self.house, id.0.0, caller.0.context.clone(), place).await?;
        Ok(Events(poem::Body::from_bytes_stream(events.map(Ok::<_, std::io::Error>))))
    }

    /// The best seats
    ///
    /// Those that an order with `bestAvailable` would get now; nothing is held. `together` says whether they stand side by
    /// side. Of love seats whole units are taken, so a count that would split one is refused (`unit-split`).
    #[oai(path = "/v1/showtimes/:id/seats/best", method = "get")]
    async fn best(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// How many.
        count: Query<u16>,
        /// STANDARD without it.
        kind: Query<Option<Of<SeatKind>>>,
        /// Seats to stay close to, such as `C7,C8`; the best place of the hall without it.
        near: Query<Option<String>>,
    ) -> Answered<BestSeats> {
        let near = near.0.unwrap_or_default();
        let near = near.split(',').filter(|seat| !seat.is_empty());
        let near: Option<Vec<SeatId>> = near.map(SeatId::parse).collect();
        let request = FindBestSeats {
            showtime_id: id.0.0,
            count: count.0,
            kind: kind.0.map(|kind| kind.0),
            near: near.ok_or_else(|| bad_query("near", "must be seat ids such as C7,C8"))?,
        };
        self.house.pass(&caller, request).await
    }

    /// Hold seats
    ///
    /// Name them, or have the best available chosen. They are kept until `expiresAt`: pay before. Sent again with
    /// the same `Idempotency-Key`, the first answer comes again. What is held unpaid is bounded by account, showtime and
    /// network (409 `hold-limit` with `limit`); after two holds that were not paid the next one waits (409 `hold-cooldown`
    /// with `retryAt`). Seats that cost nothing are only for a proven e-mail address (409 `email-unproven`).
    #[oai(path = "/v1/reservations", method = "post")]
    async fn create(&self, caller: Caller, body: Body<CreateReservation>) -> Answered<Reservation, 201> {
        self.house.pass(&caller, body.0).await
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
            paging: paging(page.0, page_size.0),
        };
        self.house.pass(&caller, request).await
    }

    /// One reservation
    ///
    /// With `wait` the answer comes as soon as there is news, at the latest after so many seconds.
    #[oai(path = "/v1/reservations/:id", method = "get")]
    async fn get(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// Seconds to wait for news, at most 30.
        wait: Query<Option<u32>>,
        /// With `wait`: news is a `version` above this. Without it, news is a status that is not PENDING.
        since: Query<Option<i64>>,
    ) -> Answered<Reservation> {
        match wait.0 {
            Some(seconds) if seconds > WAIT_SECONDS_MAX => {
                Err(bad_query("wait", "must be at most 30").into())
            }
            Some(seconds) => self.wait(&caller, id.0.0, seconds, since.0).await,
            None => self.house.pass(&caller, GetReservation { id: id.0.0 }).await,
        }
    }

    /// Give seats back
    ///
    /// A reservation that is not yet paid is cancelled. A paid one gives back what `cancellation` says, by the
    /// `refundPolicy` it was made on; an ADMIN may say otherwise with `refundPercent`.
    #[oai(path = "/v1/reservations/:id/cancel", method = "post")]
    async fn cancel(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<CancelReservation>,
    ) -> Answered<Reservation> {
        self.house.pass(&caller, body.with_id(id.0.0)?).await
    }

    /// Put the address right
    ///
    /// For staff, where it was mistyped. The order's mails go to the new address; a CONFIRMED order's tickets are sent there
    /// at once. The saga's log keeps who changed it.
    #[oai(path = "/v1/reservations/:id", method = "patch")]
    async fn update(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateReservation>,
    ) -> Answered<Reservation, 202> {
        self.house.pass(&caller, body.with_id(id.0.0)?).await
    }

    /// Take other seats
    ///
    /// Of a CONFIRMED reservation, as long as it may be cancelled for its money. For the same price or less it is done
    /// at once (200), and the difference is given back. For more, a new reservation with `exchangeOf` is made (201): pay it
    /// before `expiresAt`, and the old one is given back in full; let it expire, and the old one stays.
    #[oai(path = "/v1/reservations/:id/exchange", method = "post")]
    async fn exchange(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<ExchangeReservation>,
    ) -> Result<Changed<Reservation>, Refused> {
        let request: ExchangeReservation = body.with_id(id.0.0)?;
        valid(&request)?;
        let json = self.house.ask(&request, &caller.0).await?;
        let answered: Created = serde_json::from_slice(&json).map_err(|_| Problem::internal())?;
        Ok(if answered.id == id.0.0 {
            Changed::This(Answer::new(json))
        } else {
            Changed::Another(Answer::new(json))
        })
    }

    /// What an exchange would do
    ///
    /// Nothing is changed. Send its `version` with the exchange: should the reservation have changed meanwhile, the exchange
    /// is refused with `plan-changed` instead of being done at another price.
    #[oai(path = "/v1/reservations/:id/exchange", method = "get")]
    async fn plan_exchange(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// The same showtime without it.
        #[oai(name = "showtimeId")]
        showtime_id: Query<Option<Of<Uuid>>>,
        /// Seat ids, separated by commas: `C7,C8`.
        seats: Query<String>,
    ) -> Answered<ReservationPlan> {
        let ids = seats.0.split(',').map(|seat| SeatId::parse(seat.trim()));
        let ids: Option<Vec<SeatId>> = ids.collect();
        let seats = ids.ok_or_else(|| bad_query("seats", "must be seat ids such as C7,C8"))?;
        let showtime_id = showtime_id.0.map(|id| id.0);
        self.house.pass(&caller, PlanExchange { id: id.0.0, showtime_id, seats }).await
    }

    /// The tickets
    ///
    /// One for each seat, signed: each verifies offline against `/.well-known/jwks.json`.
    #[oai(path = "/v1/reservations/:id/tickets", method = "get")]
    async fn tickets(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Tickets> {
        self.house.pass(&caller, GetTickets { id: id.0.0 }).await
    }

    /// Who holds seats unpaid
    ///
    /// The accounts with unpaid reservations, those with most seats first.
    #[oai(path = "/v1/admin/holds", method = "get")]
    async fn holders(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Holder>> {
        self.house.pass(&caller, ListHolders { paging: paging(page.0, page_size.0) }).await
    }

    /// Sagas
    ///
    /// Each carries one reservation. Those that need a person come first, then the newest.
    #[oai(path = "/v1/admin/sagas", method = "get")]
    async fn sagas(
        &self,
        caller: Caller,
        state: Query<Option<Of<SagaState>>>,
        /// Only those that need a person, or only the others.
        attention: Query<Option<bool>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<SagaSummary>> {
        let request = ListSagas {
            state: state.0.map(|state| state.0),
            attention: attention.0,
            paging: paging(page.0, page_size.0),
        };
        self.house.pass(&caller, request).await
    }

    /// One saga with its story
    #[oai(path = "/v1/admin/sagas/:reservationId", method = "get")]
    async fn saga(
        &self,
        caller: Caller,
        #[oai(name = "reservationId")] reservation_id: Path<Of<Uuid>>,
    ) -> Answered<Saga> {
        self.house.pass(&caller, GetSaga { reservation_id: reservation_id.0.0 }).await
    }

    /// Let a saga go on
    ///
    /// One that needs a person asks again for what did not settle, with a new refund where the old one was refused.
    #[oai(path = "/v1/admin/sagas/:reservationId/resume", method = "post")]
    async fn resume(
        &self,
        caller: Caller,
        #[oai(name = "reservationId")] reservation_id: Path<Of<Uuid>>,
    ) -> Answered<Reservation> {
        self.house.pass(&caller, ResumeSaga { reservation_id: reservation_id.0.0 }).await
    }

    /// How a showtime's cancellation is getting on
    #[oai(path = "/v1/admin/showtimes/:id/cancellation", method = "get")]
    async fn cancellation(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<ShowtimeCancellation> {
        self.house.pass(&caller, GetShowtimeCancellation { showtime_id: id.0.0 }).await
    }

    /// How full the showtimes are
    ///
    /// Those that start in a span of time, the earliest first.
    #[oai(path = "/v1/admin/reports/occupancy", method = "get")]
    async fn occupancy(
        &self,
        caller: Caller,
        /// The earliest start.
        from: Query<Of<Timestamp>>,
        /// The latest start.
        to: Query<Of<Timestamp>>,
        #[oai(name = "movieId")] movie_id: Query<Option<Of<Uuid>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Occupancy>> {
        let request = ReportOccupancy {
            from: from.0.0,
            to: to.0.0,
            movie_id: movie_id.0.map(|id| id.0),
            paging: paging(page.0, page_size.0),
        };
        self.house.pass(&caller, request).await
    }
}

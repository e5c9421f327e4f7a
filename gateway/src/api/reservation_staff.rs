//! REST of the reservation domain for staff: unpaid holds, sagas, cancelled showtimes, and occupancy.

use std::sync::Arc;

use bus::contract::reservation::{
    GetSaga, GetShowtimeCancellation, Holder, ListHolders, ListSagas, Occupancy, ReportOccupancy,
    Reservation, ResumeSaga, Saga, SagaState, SagaSummary, ShowtimeCancellation,
};
use bus::contract::{Page, Timestamp};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Caller, Of};

pub struct ReservationStaff {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Reservation")]
impl ReservationStaff {
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
        self.hosts.forward(&caller, ListHolders { paging: paging(page.0, page_size.0) }).await
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
        self.hosts.forward(&caller, request).await
    }

    /// One saga with its story
    #[oai(path = "/v1/admin/sagas/:reservationId", method = "get")]
    async fn saga(
        &self,
        caller: Caller,
        #[oai(name = "reservationId")] reservation_id: Path<Of<Uuid>>,
    ) -> Answered<Saga> {
        self.hosts.forward(&caller, GetSaga { reservation_id: reservation_id.0.0 }).await
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
        self.hosts.forward(&caller, ResumeSaga { reservation_id: reservation_id.0.0 }).await
    }

    /// How a showtime's cancellation is getting on
    #[oai(path = "/v1/admin/showtimes/:id/cancellation", method = "get")]
    async fn cancellation(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<ShowtimeCancellation> {
        self.hosts.forward(&caller, GetShowtimeCancellation { showtime_id: id.0.0 }).await
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
        self.hosts.forward(&caller, request).await
    }
}

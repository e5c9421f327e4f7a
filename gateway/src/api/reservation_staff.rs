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
    /// Accounts with unpaid holds
    ///
    /// Those with most seats first.
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
    /// One for each reservation. Those that need attention come first, then the newest.
    #[oai(path = "/v1/admin/sagas", method = "get")]
    async fn sagas(
        &self,
        caller: Caller,
        state: Query<Option<Of<SagaState>>>,
        /// Only those that need attention, or only the others.
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

    /// One saga with its history
    #[oai(path = "/v1/admin/sagas/:reservationId", method = "get")]
    async fn saga(
        &self,
        caller: Caller,
        #[oai(name = "reservationId")] reservation_id: Path<Of<Uuid>>,
    ) -> Answered<Saga> {
        self.hosts.forward(&caller, GetSaga { reservation_id: reservation_id.0.0 }).await
    }

    /// Resume a saga
    ///
    /// One that needs attention retries what did not settle, with a new refund where the old one was refused.
    #[oai(path = "/v1/admin/sagas/:reservationId/resume", method = "post")]
    async fn resume(
        &self,
        caller: Caller,
        #[oai(name = "reservationId")] reservation_id: Path<Of<Uuid>>,
    ) -> Answered<Reservation> {
        self.hosts.forward(&caller, ResumeSaga { reservation_id: reservation_id.0.0 }).await
    }

    /// The progress of a showtime's cancellation
    #[oai(path = "/v1/admin/showtimes/:id/cancellation", method = "get")]
    async fn cancellation(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<ShowtimeCancellation> {
        self.hosts.forward(&caller, GetShowtimeCancellation { showtime_id: id.0.0 }).await
    }

    /// Occupancy of showtimes
    ///
    /// Of those that start in a period of time, the earliest first.
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

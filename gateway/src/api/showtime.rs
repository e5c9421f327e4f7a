//! REST of the movie domain: auditoriums with their seats, showtimes with their prices, and the currencies of these.
//!
//! Reading is public; what changes the programme is for ADMIN.

use std::sync::Arc;

use bus::contract::currency::Currencies;
use bus::contract::movie::{
    Auditorium, CancelShowtime, CreateAuditorium, CreateShowtime, CreateShowtimes, CreatedShowtimes,
    DeleteAuditorium, GetAuditorium, GetShowtime, ListAuditoriums, ListShowtimes, Showtime, UpdateAuditorium,
    UpdateShowtime,
};
use bus::contract::{Page, Timestamp};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Body, Caller, Done, Of, Rest};
use crate::problem::Refused;
use crate::site::SiteCache;

pub struct Showtimes {
    pub hosts: Arc<dyn Hosts>,
    pub site: Arc<SiteCache>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Showtimes {
    /// The currencies that prices may have
    ///
    /// Amounts are in minor units. `default` is the currency that a new price has unless another is chosen.
    #[oai(path = "/v1/currencies", method = "get")]
    async fn list_currencies(&self) -> Answered<Currencies> {
        // No host is asked: it is a table of the contract.
        let currencies = Currencies::with_default(self.site.get().of.currency);
        let json = serde_json::to_vec(&currencies).expect("plain fields always serialize");
        Ok(Answer::new(json.into()))
    }

    /// All auditoriums
    #[oai(path = "/v1/auditoriums", method = "get")]
    async fn list_auditoriums(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Auditorium>> {
        self.hosts.forward(&caller, ListAuditoriums { paging: paging(page.0, page_size.0) }).await
    }

    /// Add an auditorium
    ///
    /// A seat's id is its row's label and its number, such as `C7`.
    #[oai(path = "/v1/auditoriums", method = "post")]
    async fn create_auditorium(
        &self,
        caller: Caller,
        body: Body<CreateAuditorium>,
    ) -> Answered<Auditorium, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// One auditorium
    #[oai(path = "/v1/auditoriums/:id", method = "get")]
    async fn get_auditorium(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Auditorium> {
        self.hosts.forward(&caller, GetAuditorium { id: id.0.0 }).await
    }

    /// Change an auditorium
    ///
    /// Absent fields stay unchanged. New rows also count for showtimes to come; 409 `seats-sold`, with the seats of each
    /// showtime, where seats that are held or sold would vanish or become of another kind.
    #[oai(path = "/v1/auditoriums/:id", method = "patch")]
    async fn update_auditorium(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateAuditorium>,
    ) -> Answered<Auditorium> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Delete an auditorium
    ///
    /// 409 while it has showtimes to come.
    #[oai(path = "/v1/auditoriums/:id", method = "delete")]
    async fn delete_auditorium(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&DeleteAuditorium { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
    }

    /// Find showtimes
    #[oai(path = "/v1/showtimes", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_showtimes(
        &self,
        caller: Caller,
        #[oai(name = "movieId")] movie_id: Query<Option<Of<Uuid>>>,
        #[oai(name = "auditoriumId")] auditorium_id: Query<Option<Of<Uuid>>>,
        /// `YYYY-MM-DD` or `today`, in the auditorium's time zone.
        date: Query<Option<String>>,
        /// The earliest start.
        from: Query<Option<Of<Timestamp>>>,
        /// The latest start.
        to: Query<Option<Of<Timestamp>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Showtime>> {
        let request = ListShowtimes {
            movie_id: movie_id.0.map(|id| id.0),
            auditorium_id: auditorium_id.0.map(|id| id.0),
            date: date.0,
            from: from.0.map(|at| at.0),
            to: to.0.map(|at| at.0),
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// Schedule a showtime
    ///
    /// With plain `prices`, or with those of a price card: of `priceCardId`, else of the card that applies at the start. The card is
    /// copied, with its `surcharges` that are named here and those of long movies: later changes of it do not count. 422
    /// `price-card-missing` where no card applies.
    #[oai(path = "/v1/showtimes", method = "post")]
    async fn create_showtime(&self, caller: Caller, body: Body<CreateShowtime>) -> Answered<Showtime, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// One showtime
    #[oai(path = "/v1/showtimes/:id", method = "get")]
    async fn get_showtime(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Showtime> {
        self.hosts.forward(&caller, GetShowtime { id: id.0.0 }).await
    }

    /// Schedule a programme
    ///
    /// One showtime at each time on each day, by the auditorium's clock, at most 200. What cannot be is skipped, with the
    /// reason; a time that is there twice, since the clocks go back, is the first of the two. Without `prices` and `priceCardId`
    /// each gets the price card that applies at its start.
    #[oai(path = "/v1/showtimes/bulk", method = "post")]
    async fn create_showtimes(
        &self,
        caller: Caller,
        body: Body<CreateShowtimes>,
    ) -> Answered<CreatedShowtimes, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Change a showtime
    ///
    /// Absent fields stay unchanged. Prices count for new reservations; the start moves only while no seat is held or sold, and
    /// leaves the prices as they are. `priceCardId` copies the card as it is now, with the `surcharges` that are named.
    #[oai(path = "/v1/showtimes/:id", method = "patch")]
    async fn update_showtime(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateShowtime>,
    ) -> Answered<Showtime> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Cancel a showtime
    ///
    /// Every reservation is cancelled and refunded. Again changes nothing.
    #[oai(path = "/v1/showtimes/:id", method = "delete")]
    async fn cancel_showtime(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&CancelShowtime { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
    }
}

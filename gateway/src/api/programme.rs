//! REST of the programme: one document of all that plays, the table of rating schemes, and what staff do with drafts.

use std::sync::Arc;

use bus::contract::movie::{
    ListPlannedShowtimes, ListShowtimes, Programme, PublishShowtime, PublishShowtimes, PublishedShowtimes,
    RATING_SCHEMES, RatingSchemes, Showtime, ShowtimeStatus,
};
use bus::contract::{Page, Problem, Timestamp};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Body, Caller, Of};
use crate::programme::Programmes;

pub struct Programmed {
    pub hosts: Arc<dyn Hosts>,
    pub programmes: Arc<Programmes>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Programmed {
    /// The whole programme
    ///
    /// Every movie with showtimes to come, those that play soonest first, each with these showtimes. Some seconds old. Read it with
    /// `If-None-Match`: without a change the answer is 304. As a calendar it is `/programme.ics`.
    #[oai(path = "/v1/programme", method = "get")]
    async fn get_programme(&self) -> Answered<Programme> {
        match self.programmes.now().await {
            Some(snapshot) => Ok(Answer::new(snapshot.document.clone())),
            None => Err(Problem::unavailable("The programme cannot be read just now.").into()),
        }
    }

    /// The schemes of age ratings
    ///
    /// Each with the values that an `ageRating` may have.
    #[oai(path = "/v1/rating-schemes", method = "get")]
    async fn list_rating_schemes(&self) -> Answered<RatingSchemes> {
        let schemes = RatingSchemes { items: RATING_SCHEMES };
        Ok(Answer::new(serde_json::to_vec(&schemes).expect("plain fields always serialize").into()))
    }

    /// Find showtimes, with drafts
    ///
    /// As `GET /v1/showtimes`, which has no drafts.
    #[oai(path = "/v1/admin/showtimes", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_planned_showtimes(
        &self,
        caller: Caller,
        #[oai(name = "movieId")] movie_id: Query<Option<Of<Uuid>>>,
        #[oai(name = "auditoriumId")] auditorium_id: Query<Option<Of<Uuid>>>,
        status: Query<Option<Of<ShowtimeStatus>>>,
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
        let of = ListShowtimes {
            movie_id: movie_id.0.map(|id| id.0),
            auditorium_id: auditorium_id.0.map(|id| id.0),
            date: date.0,
            from: from.0.map(|at| at.0),
            to: to.0.map(|at| at.0),
            paging: paging(page.0, page_size.0),
        };
        let status = status.0.map(|status| status.0);
        self.hosts.forward(&caller, ListPlannedShowtimes { of, status }).await
    }

    /// Publish a draft
    ///
    /// From now on customers see it; its seats are sold from `onSaleAt` on. Again changes nothing.
    #[oai(path = "/v1/showtimes/:id/publish", method = "post")]
    async fn publish_showtime(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Showtime> {
        self.hosts.forward(&caller, PublishShowtime { id: id.0.0 }).await
    }

    /// Publish drafts
    ///
    /// At most 200, in one transaction. Those that cannot be published are left out, with the reason.
    #[oai(path = "/v1/showtimes/publish", method = "post")]
    async fn publish_showtimes(
        &self,
        caller: Caller,
        body: Body<PublishShowtimes>,
    ) -> Answered<PublishedShowtimes> {
        self.hosts.forward_body(&caller, body).await
    }
}

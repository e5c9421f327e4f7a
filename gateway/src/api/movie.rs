//! REST of the movie domain: what is shown, where, when and at which price.
//!
//! Reading is public; what changes the catalogue is for ADMIN.

use std::sync::Arc;

use bus::contract::movie::{
    Auditorium, CreateAuditorium, CreateGenre, CreateMovie, CreateShowtime, Genre, GetAuditorium, GetMovie,
    GetShowtime, ListAuditoriums, ListGenres, ListMovies, ListShowtimes, Movie, Showtime,
};
use bus::contract::{Page, Timestamp};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::house::House;
use crate::payload::{Answered, Body, Caller, Of};

pub struct Movies {
    pub house: Arc<House>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Movies {
    /// Find movies
    #[oai(path = "/v1/movies", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_movies(
        &self,
        caller: Caller,
        /// Part of the title, without case.
        name: Query<Option<String>>,
        /// A genre's name or id.
        genre: Query<Option<String>>,
        /// `YYYY-MM-DD` of a showtime, in the auditorium's time zone.
        date: Query<Option<String>>,
        /// `HH:MM` of a showtime, in the auditorium's time zone.
        #[oai(name = "showTime")]
        show_time: Query<Option<String>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Movie>> {
        let paging = paging(page.0, page_size.0);
        let request =
            ListMovies { name: name.0, genre: genre.0, date: date.0, show_time: show_time.0, paging };
        self.house.pass(&caller, request).await
    }

    /// Add a movie
    #[oai(path = "/v1/movies", method = "post")]
    async fn create_movie(&self, caller: Caller, body: Body<CreateMovie>) -> Answered<Movie, 201> {
        self.house.pass(&caller, body.0).await
    }

    /// One movie
    #[oai(path = "/v1/movies/:id", method = "get")]
    async fn get_movie(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Movie> {
        self.house.pass(&caller, GetMovie { id: id.0.0 }).await
    }

    /// All genres
    #[oai(path = "/v1/genres", method = "get")]
    async fn list_genres(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Genre>> {
        self.house.pass(&caller, ListGenres { paging: paging(page.0, page_size.0) }).await
    }

    /// Add a genre
    #[oai(path = "/v1/genres", method = "post")]
    async fn create_genre(&self, caller: Caller, body: Body<CreateGenre>) -> Answered<Genre, 201> {
        self.house.pass(&caller, body.0).await
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
        self.house.pass(&caller, ListAuditoriums { paging: paging(page.0, page_size.0) }).await
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
        self.house.pass(&caller, body.0).await
    }

    /// One auditorium
    #[oai(path = "/v1/auditoriums/:id", method = "get")]
    async fn get_auditorium(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Auditorium> {
        self.house.pass(&caller, GetAuditorium { id: id.0.0 }).await
    }

    /// Find showtimes
    #[oai(path = "/v1/showtimes", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_showtimes(
        &self,
        caller: Caller,
        #[oai(name = "movieId")] movie_id: Query<Option<Of<Uuid>>>,
        /// `YYYY-MM-DD` in the auditorium's time zone.
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
            date: date.0,
            from: from.0.map(|at| at.0),
            to: to.0.map(|at| at.0),
            paging: paging(page.0, page_size.0),
        };
        self.house.pass(&caller, request).await
    }

    /// Schedule a showtime
    #[oai(path = "/v1/showtimes", method = "post")]
    async fn create_showtime(&self, caller: Caller, body: Body<CreateShowtime>) -> Answered<Showtime, 201> {
        self.house.pass(&caller, body.0).await
    }

    /// One showtime
    #[oai(path = "/v1/showtimes/:id", method = "get")]
    async fn get_showtime(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Showtime> {
        self.house.pass(&caller, GetShowtime { id: id.0.0 }).await
    }
}

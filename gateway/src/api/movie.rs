//! REST of the movie domain: movies and their genres. What is shown where and when is in `showtime`.
//!
//! Reading is public; what changes the catalogue is for ADMIN.

use std::sync::Arc;

use bus::contract::Page;
use bus::contract::movie::{
    ChangedMovie, CreateGenre, CreateMovie, DeleteGenre, DeleteMovie, Genre, GetMovie, ListGenres,
    ListMovies, Movie, MovieSort, UpdateGenre, UpdateMovie,
};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Body, Caller, Done, Of, Rest};
use crate::problem::Refused;

pub struct Movies {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Movies {
    /// Find movies
    #[oai(path = "/v1/movies", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list_movies(
        &self,
        caller: Caller,
        /// Words, each the beginning of a word of the title, or a part of one in scripts without spaces; without case and accents.
        name: Query<Option<String>>,
        /// A genre's name or id.
        genre: Query<Option<String>>,
        /// `YYYY-MM-DD` of a showtime, or `today`, in the auditorium's time zone.
        date: Query<Option<String>>,
        /// `HH:MM` of a showtime, in the auditorium's time zone.
        #[oai(name = "showTime")]
        show_time: Query<Option<String>>,
        /// By title without it.
        sort: Query<Option<Of<MovieSort>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Movie>> {
        let paging = paging(page.0, page_size.0);
        let request = ListMovies {
            name: name.0,
            genre: genre.0,
            date: date.0,
            show_time: show_time.0,
            sort: sort.0.map(|sort| sort.0).unwrap_or_default(),
            paging,
        };
        self.hosts.forward(&caller, request).await
    }

    /// Add a movie
    #[oai(path = "/v1/movies", method = "post")]
    async fn create_movie(&self, caller: Caller, body: Body<CreateMovie>) -> Answered<Movie, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// One movie
    #[oai(path = "/v1/movies/:id", method = "get")]
    async fn get_movie(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Movie> {
        self.hosts.forward(&caller, GetMovie { id: id.0.0 }).await
    }

    /// Change a movie
    ///
    /// Absent fields stay unchanged. With a new `durationMinutes` the ends of its showtimes to come move. Where showtimes of one
    /// auditorium overlap by that, it is refused with 409 `showtimes-overlap` and the `overlaps`, unless `acceptOverlaps` is
    /// true; the answer then lists them.
    #[oai(path = "/v1/movies/:id", method = "patch")]
    async fn update_movie(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateMovie>,
    ) -> Answered<ChangedMovie> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Delete a movie
    ///
    /// Its showtimes to come are cancelled; 409 while one of them has seats held or sold.
    #[oai(path = "/v1/movies/:id", method = "delete")]
    async fn delete_movie(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&DeleteMovie { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
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
        self.hosts.forward(&caller, ListGenres { paging: paging(page.0, page_size.0) }).await
    }

    /// Add a genre
    #[oai(path = "/v1/genres", method = "post")]
    async fn create_genre(&self, caller: Caller, body: Body<CreateGenre>) -> Answered<Genre, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Rename a genre
    #[oai(path = "/v1/genres/:id", method = "patch")]
    async fn update_genre(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<UpdateGenre>,
    ) -> Answered<Genre> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Delete a genre
    ///
    /// 409 while a movie has it.
    #[oai(path = "/v1/genres/:id", method = "delete")]
    async fn delete_genre(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&DeleteGenre { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
    }
}

//! Movie's contract: movies, genres, auditoriums with their seats, showtimes with their prices.
//!
//! This file has the types of the answers; the requests are in one file for each noun, rejections in `rejection`, events in
//! `event`. `version` counts the changes of a row: a consumer that keeps a copy ignores an older one.

mod auditorium;
mod catalogue;
mod event;
mod layout;
mod overlap;
mod rejection;
mod showtime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::{Money, Timestamp};

pub use auditorium::{CreateAuditorium, DeleteAuditorium, GetAuditorium, ListAuditoriums, UpdateAuditorium};
pub use catalogue::{
    CreateGenre, CreateMovie, DeleteGenre, DeleteMovie, GetMovie, ListGenres, ListMovies, MovieSort,
    UpdateGenre, UpdateMovie,
};
pub(super) use event::event_checks;
pub use event::{
    MovieCreated, MovieDeleted, MovieUpdated, ShowtimeCancelled, ShowtimeChangeRefused, ShowtimeScheduled,
    ShowtimeUpdated, event_schemas,
};
pub use layout::{COLUMNS_MAX, ROWS_MAX, Row, SEATS_MAX, SEATS_PER_ROW_MAX, Seat, SeatKind, with_columns};
pub use overlap::{ChangedMovie, OVERLAPS_MAX, Overlap, OverlappingShowtime};
pub use rejection::{InTheWay, Rejection};
pub use showtime::{
    BULK_MAX, CancelShowtime, CreateShowtime, CreateShowtimes, CreatedShowtimes, DescribeShowtime,
    GetShowtime, ListShowtimes, SkipReason, SkippedShowtime, UpdateShowtime, Weekday,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Genre {
    pub id: Uuid,
    pub name: String,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Movie {
    pub id: Uuid,
    pub title: String,
    pub synopsis: String,
    pub duration_minutes: u16,
    pub rating: String,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    pub language: String,
    pub genre_ids: Vec<Uuid>,
    pub genres: Vec<Genre>,
    /// Absolute, or a path from this API's root; so are the next two.
    pub poster_url: Option<String>,
    /// The poster at most 400 pixels wide, for lists.
    pub poster_small_url: Option<String>,
    pub trailer_url: Option<String>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auditorium {
    pub id: Uuid,
    pub name: String,
    pub time_zone: String,
    pub rows: Vec<Row>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Price of each kind of seat that the auditorium has.
pub type Prices = BTreeMap<SeatKind, Money>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShowtimeStatus {
    OnSale,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Showtime {
    pub id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub prices: Prices,
    pub status: ShowtimeStatus,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether it is a date such as 2026-05-01.
pub fn is_date(text: &str) -> bool {
    // Ten characters: without a sign, which the parser would take.
    text.len() == 10
        && time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).is_ok()
}

/// Whether it is a time of day such as 20:15.
pub fn is_time(text: &str) -> bool {
    time::Time::parse(text, time::macros::format_description!("[hour]:[minute]")).is_ok()
}

/// Refuses a change in which every field is absent.
fn some_change(changes: &[bool], fields: &mut super::Fields) {
    fields.check(changes.contains(&true), "", "must change at least one field");
}

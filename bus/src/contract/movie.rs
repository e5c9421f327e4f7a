//! Movie's contract: movies, genres, auditoriums with their seats, showtimes with their prices.
//!
//! This file has the types of the answers; the requests are in one file for each noun, rejections in `rejection`, events in
//! `event`. `version` counts the changes of a row: a consumer that keeps a copy ignores an older one.

mod auditorium;
mod catalogue;
mod draft;
mod event;
mod layout;
mod overlap;
mod price_card;
mod programme;
mod rating;
mod rejection;
mod showing;
mod showtime;
mod ticket_type;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::site::{ShowtimeOverrides, default_site};
use super::tariff::TariffCard;
use super::{Money, TariffCode, Timestamp};

pub use auditorium::{CreateAuditorium, DeleteAuditorium, GetAuditorium, ListAuditoriums, UpdateAuditorium};
pub use catalogue::{
    CreateGenre, CreateMovie, DeleteGenre, DeleteMovie, GetMovie, ListGenres, ListMovies, MovieSort,
    UpdateGenre, UpdateMovie,
};
pub use draft::{
    InitialStatus, ListPlannedShowtimes, PublishShowtime, PublishShowtimes, PublishedShowtimes,
    UnpublishedReason, UnpublishedShowtime,
};
pub(super) use event::event_checks;
pub use event::{
    MovieCreated, MovieDeleted, MovieUpdated, ShowtimeCancelled, ShowtimeChangeRefused, ShowtimeScheduled,
    ShowtimeUpdated, event_schemas,
};
pub use layout::{COLUMNS_MAX, ROWS_MAX, Row, SEATS_MAX, SEATS_PER_ROW_MAX, Seat, SeatKind, with_columns};
pub use overlap::{ChangedMovie, OVERLAPS_MAX, Overlap, OverlappingShowtime};
pub use price_card::{
    CreatePriceCard, DeletePriceCard, ListPriceCards, MatchPriceCard, PriceCard, PriceCardFields,
    PriceCardMatch, Surcharge, UpdatePriceCard,
};
pub use programme::{Programme, ProgrammeMovie};
pub use rating::{AgeRating, RATING_SCHEMES, RatingScheme, RatingSchemes, RatingValue};
pub use rejection::{InTheWay, Rejection};
pub use showing::{FORMATS, FilmVersion, Sale, Showing, VersionKind, is_language_tag, sale};
pub use showtime::{
    BULK_MAX, CancelShowtime, CreateShowtime, CreateShowtimes, CreatedShowtimes, DescribeShowtime,
    GetShowtime, ListShowtimes, SkipReason, SkippedShowtime, UpdateShowtime, Weekday,
};

pub use ticket_type::{
    CreateTicketType, DeleteTicketType, ListTicketTypes, TicketType, TicketTypeFields, UpdateTicketType,
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
    /// Free text; that of `ageRating` where the movie has one.
    pub rating: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_rating: Option<AgeRating>,
    /// The age in years from which a person may see it alone, by `ageRating`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_age: Option<u8>,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    pub language: String,
    /// The versions that a showtime may have.
    #[serde(default)]
    pub versions: Vec<FilmVersion>,
    /// The formats that a showtime may have, such as `3D`.
    #[serde(default)]
    pub formats: Vec<String>,
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
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Price of each kind of seat that the auditorium has: of the default ticket type, as it is first shown.
pub type Prices = BTreeMap<SeatKind, Money>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShowtimeStatus {
    /// Not published: only staff see it, and no event has it.
    Draft,
    OnSale,
    Cancelled,
}

/// How many seats are left. A seat that is held counts as taken, so that `SOLD_OUT` may end when a hold does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Availability {
    Free,
    /// At most a tenth of the seats.
    Few,
    SoldOut,
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
    /// Of the default ticket type, with surcharges and the fees of a ticket.
    pub prices: Prices,
    /// The price card that its tariff was copied from; absent where it has plain prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_card: Option<TariffCard>,
    /// The codes of the surcharges that its tariff has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<TariffCode>,
    /// The fees of a whole order on the web, with tax, which stand beside the prices; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_fee: Option<Money>,
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    /// What it has otherwise than its site: the refund policy, the end of the sale.
    #[serde(default, skip_serializing_if = "ShowtimeOverrides::is_empty")]
    pub overrides: ShowtimeOverrides,
    pub status: ShowtimeStatus,
    #[serde(flatten)]
    pub showing: Showing,
    /// Sales on the web end then, by the showtime's rules or its site's; absent where they end with the start. Staff sell until
    /// the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sales_end_at: Option<Timestamp>,
    /// In lists, some seconds old, of showtimes that have not begun; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Instead of a date: the current one by the clock of each auditorium.
pub const TODAY: &str = "today";

/// Whether it is a date or [`TODAY`].
pub fn is_day(text: &str) -> bool {
    text == TODAY || is_date(text)
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
    fields.check(changes.contains(&true), "", super::Rule::NoChange);
}

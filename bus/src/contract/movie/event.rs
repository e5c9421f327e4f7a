//! Movie's events: a row as it is after a change, with the row's version.
//!
//! Invariant: a consumer that keeps a copy ignores a version that is not newer than its own; so order does not matter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AgeRating, FilmVersion, Prices, Row, Showing, ShowtimeStatus};
use crate::contract::site::{ShowtimeOverrides, default_site};
use crate::contract::{Tariff, Timestamp, events};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovieCreated {
    pub movie_id: Uuid,
    pub title: String,
    pub genres: Vec<String>,
    pub created_by: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovieUpdated {
    pub movie_id: Uuid,
    pub version: i64,
    pub title: String,
    pub synopsis: String,
    pub duration_minutes: u16,
    pub rating: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_rating: Option<AgeRating>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<FilmVersion>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    pub language: String,
    pub genres: Vec<String>,
    pub poster_url: Option<String>,
    pub trailer_url: Option<String>,
    /// Who changed it.
    pub by: Uuid,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovieDeleted {
    pub movie_id: Uuid,
    pub version: i64,
    pub title: String,
    /// Who deleted it.
    pub by: Uuid,
}

/// A published showtime with all that selling its seats needs, frozen as it was when it was scheduled or last changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeScheduled {
    pub showtime_id: Uuid,
    /// Absent in events from before showtimes could change.
    #[serde(default = "first")]
    pub version: i64,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub rows: Vec<Row>,
    /// Of the default ticket type, as they are first shown.
    pub prices: Prices,
    /// Absent where the showtime has plain prices: then `prices` are all that it sells by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<Tariff>,
    /// The site of its auditorium when it was scheduled.
    #[serde(default = "default_site")]
    pub site_id: Uuid,
    /// What it has otherwise than its site.
    #[serde(default, skip_serializing_if = "ShowtimeOverrides::is_empty")]
    pub overrides: ShowtimeOverrides,
    pub status: ShowtimeStatus,
    #[serde(flatten)]
    pub showing: Showing,
}

fn first() -> i64 {
    1
}

/// The showtime after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeUpdated {
    #[serde(flatten)]
    pub showtime: ShowtimeScheduled,
    /// Who changed it; absent when the movie host undid a refused change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    /// The former prices, where prices changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_prices: Option<Prices>,
    /// What it had otherwise than its site before, where that has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_overrides: Option<ShowtimeOverrides>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeCancelled {
    #[serde(flatten)]
    pub showtime: ShowtimeScheduled,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
}

/// Published by reservation: this version of the showtime would take seats from somebody who got them while the change was
/// decided.
/// Rows and start stay as given here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeChangeRefused {
    pub showtime_id: Uuid,
    /// The version that is refused.
    pub version: i64,
    pub starts_at: Timestamp,
    pub rows: Vec<Row>,
}

events! {
    MovieCreated => "movie.created",
    MovieUpdated => "movie.updated",
    MovieDeleted => "movie.deleted",
    ShowtimeScheduled => "showtime.scheduled",
    ShowtimeUpdated => "showtime.updated",
    ShowtimeCancelled => "showtime.cancelled",
    ShowtimeChangeRefused => "showtime.change_refused",
}

//! Showtimes of one auditorium that overlap since a movie became longer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Movie;
use crate::contract::Timestamp;

/// Overlaps that an answer lists, soonest first: more than a planner reads, and far within a message.
pub const OVERLAPS_MAX: usize = 200;

/// One of two showtimes that overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverlappingShowtime {
    pub id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
}

/// Two showtimes of one auditorium: `later` begins before `earlier` is over and the auditorium is clean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overlap {
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub earlier: OverlappingShowtime,
    pub later: OverlappingShowtime,
}

/// A movie after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedMovie {
    #[serde(flatten)]
    pub movie: Movie,
    /// Showtimes that overlap by the movie's new length, soonest first; at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlaps: Vec<Overlap>,
}

//! Showtimes of one auditorium that overlap since a movie became longer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Movie;
pub use crate::contract::problem::{Overlap, OverlappingShowtime};

/// Overlaps that an answer lists, soonest first: more than a planner reads, and far within a message.
pub const OVERLAPS_MAX: usize = 200;

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

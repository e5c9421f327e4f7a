//! The programme as one document: every movie that has showtimes to come, with them. The gateway makes it of the public lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Movie, Showtime};

/// The answer of `GET /v1/programme`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Programme {
    /// Those that play soonest first.
    pub movies: Vec<ProgrammeMovie>,
}

/// A movie with its showtimes to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgrammeMovie {
    #[serde(flatten)]
    pub movie: Movie,
    /// By start; cancelled ones too.
    pub showtimes: Vec<Showtime>,
}

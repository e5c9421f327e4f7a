//! Drafts: showtimes that staff plan before customers see them. Requests to publish them, and the list that has them.
//!
//! Invariant: a draft is in no public answer and in no event. Publishing it publishes `showtime.scheduled`; nothing makes a
//! published showtime a draft again.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BULK_MAX, ListShowtimes, Showtime, ShowtimeStatus};
use crate::contract::{Access, Fields, Page, Request, Rule};

/// The status that a new showtime may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InitialStatus {
    Draft,
    #[default]
    OnSale,
}

impl InitialStatus {
    pub fn is_on_sale(&self) -> bool {
        *self == Self::OnSale
    }
}

impl From<InitialStatus> for ShowtimeStatus {
    fn from(status: InitialStatus) -> Self {
        match status {
            InitialStatus::Draft => Self::Draft,
            InitialStatus::OnSale => Self::OnSale,
        }
    }
}

/// Publishes a draft: from now on customers see it. Publishing it again changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishShowtime {
    pub id: Uuid,
}

impl Request for PublishShowtime {
    const SUBJECT: &'static str = "rpc.movie.publish_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = Showtime;
}

/// Publishes many drafts in one transaction. Those that cannot be published are left out, with the reason.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishShowtimes {
    /// At most 200.
    pub ids: Vec<Uuid>,
}

impl Request for PublishShowtimes {
    const SUBJECT: &'static str = "rpc.movie.publish_showtimes";
    const ACCESS: Access = Access::Admin;
    type Answer = PublishedShowtimes;
    fn validate(&self, fields: &mut Fields) {
        fields.count(self.ids.len(), 1..=BULK_MAX, "ids", "showtimes");
        let distinct: HashSet<_> = self.ids.iter().collect();
        fields.check(distinct.len() == self.ids.len(), "ids", Rule::Twice);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedShowtimes {
    /// Those that were drafts.
    pub published: Vec<Showtime>,
    pub skipped: Vec<UnpublishedShowtime>,
}

/// A showtime that was not published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnpublishedShowtime {
    pub id: Uuid,
    pub reason: UnpublishedReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnpublishedReason {
    NotFound,
    AlreadyPublished,
    ShowtimeCancelled,
    ShowtimeStarted,
}

/// Showtimes with drafts, by start, for staff. Without `date`, `from` and `to`: those that have not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListPlannedShowtimes {
    #[serde(flatten)]
    pub of: ListShowtimes,
    #[serde(default)]
    pub status: Option<ShowtimeStatus>,
}

impl Request for ListPlannedShowtimes {
    const SUBJECT: &'static str = "rpc.movie.list_planned_showtimes";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Showtime>;
    fn validate(&self, fields: &mut Fields) {
        self.of.validate(fields);
    }
}

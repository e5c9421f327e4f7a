//! Reminders: the scheduler's requests to the movie host, and the event that it publishes.
//!
//! A reminder is of one showtime and one start: a showtime that is moved afterwards is reminded of again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, Fields, Request, Rule, Timestamp, events};

/// Showtimes of one answer; the next ones follow once these are marked.
pub const UPCOMING_MAX: usize = 200;

/// Showtimes that start within so many minutes, have not begun, are not cancelled and were not reminded of; the next
/// first, at most 200.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListUpcoming {
    pub within_minutes: u32,
}

impl Request for ListUpcoming {
    const SUBJECT: &'static str = "rpc.movie.upcoming";
    const ACCESS: Access = Access::Internal;
    type Answer = Upcoming;
    fn validate(&self, fields: &mut Fields) {
        fields.range(self.within_minutes, 1..=10_080, "withinMinutes");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Upcoming {
    pub showtimes: Vec<MovieReminder>,
}

/// Marks showtimes as reminded of. A showtime that was moved after the reminder stays unmarked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MarkReminded {
    pub reminded: Vec<Reminded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reminded {
    pub showtime_id: Uuid,
    /// The start that the reminder named.
    pub starts_at: Timestamp,
}

impl Request for MarkReminded {
    const SUBJECT: &'static str = "rpc.movie.reminded";
    const ACCESS: Access = Access::Internal;
    type Answer = ();
    fn validate(&self, fields: &mut Fields) {
        let sized = (1..=UPCOMING_MAX).contains(&self.reminded.len());
        fields.check(sized, "reminded", Rule::Count { min: 1, max: 200, of: "showtimes" });
    }
}

/// A showtime starts soon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovieReminder {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
}

impl MovieReminder {
    /// The event's id: the same for one showtime and start, whichever scheduler publishes it and however often.
    pub fn event_id(&self) -> Uuid {
        /// Made once at random, and used only here.
        const NAMESPACE: Uuid = Uuid::from_u128(0x9b0d_6f5e_2c41_4b8a_8d3e_71c5_0a94_e6f2);
        let name = format!("{}/{}", self.showtime_id, self.starts_at.unix_micros());
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}

events! {
    MovieReminder => "movie.reminder",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_has_one_id_for_each_showtime_and_start() {
        let starts_at = Timestamp::wall_clock();
        let reminder = MovieReminder {
            showtime_id: Uuid::now_v7(),
            movie_id: Uuid::now_v7(),
            movie_title: "Heat".into(),
            starts_at,
        };
        let renamed = MovieReminder { movie_title: "Heat (1995)".into(), ..reminder.clone() };
        assert_eq!(reminder.event_id(), renamed.event_id());
        let moved = MovieReminder {
            starts_at: starts_at.plus(std::time::Duration::from_secs(1)),
            ..reminder.clone()
        };
        assert_ne!(reminder.event_id(), moved.event_id());
        let other = MovieReminder { showtime_id: Uuid::now_v7(), ..reminder.clone() };
        assert_ne!(reminder.event_id(), other.event_id());
    }
}

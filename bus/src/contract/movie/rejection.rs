//! Why movie rejects a request, and the problem that the caller receives.

use uuid::Uuid;

use super::{OVERLAPS_MAX, Overlap, SeatKind};
use crate::contract::{Fields, Problem, ProblemShowtime, SeatId, Timestamp};

/// The showtime that has the auditorium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    pub id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    NoSuchGenre,
    NoSuchMovie,
    NoSuchAuditorium,
    NoSuchShowtime,
    GenreTaken,
    /// A movie has the genre.
    GenreInUse,
    AuditoriumNameTaken,
    /// The auditorium has showtimes to come.
    AuditoriumInUse,
    /// A genre id in the body that does not exist.
    UnknownGenre,
    UnknownMovie,
    UnknownAuditorium,
    UnknownTimeZone,
    /// A kind of seat in the auditorium has no price.
    PriceMissing(SeatKind),
    /// The conflicting showtime, where it is known.
    AuditoriumTaken(Option<InTheWay>),
    StartsInThePast,
    /// A movie's new length makes showtimes overlap.
    Overlaps(Vec<Overlap>),
    /// More showtimes than one request may schedule.
    TooManyShowtimes {
        most: usize,
    },
    /// More showtimes to come than one change may touch.
    TooManyToCome {
        most: usize,
    },
    /// The days and times of a programme contain no showtime.
    NoDays,
    ShowtimeStarted,
    ShowtimeOver,
    ShowtimeCancelled,
    /// Showtimes with seats held or sold, which seats of each.
    ShowtimeSold(Vec<(Uuid, Timestamp, Vec<SeatId>)>),
    /// Seats held or sold that would vanish or change, by showtime.
    SeatsSold(Vec<(Uuid, Timestamp, Vec<SeatId>)>),
    /// A file that was given up before it was attached, or whose movie is gone.
    MediaGone,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchGenre => Problem::not_found("genre"),
            Rejection::NoSuchMovie => Problem::not_found("movie"),
            Rejection::NoSuchAuditorium => Problem::not_found("auditorium"),
            Rejection::NoSuchShowtime => Problem::not_found("showtime"),
            Rejection::GenreTaken => {
                Problem::new(409, "genre-taken", "There is already a genre of this name.")
            }
            Rejection::GenreInUse => Problem::new(409, "genre-in-use", "A movie has this genre."),
            Rejection::AuditoriumNameTaken => {
                Problem::new(409, "auditorium-name-taken", "There is already an auditorium of this name.")
            }
            Rejection::AuditoriumInUse => Problem::new(
                409,
                "auditorium-in-use",
                "The auditorium has showtimes to come; cancel them first.",
            ),
            Rejection::UnknownGenre => field("genreIds", "names a genre that does not exist"),
            Rejection::UnknownMovie => field("movieId", "names a movie that does not exist"),
            Rejection::UnknownAuditorium => field("auditoriumId", "names an auditorium that does not exist"),
            Rejection::UnknownTimeZone => {
                field("timeZone", "must be an IANA time zone such as Europe/Berlin")
            }
            Rejection::PriceMissing(kind) => {
                let kind = serde_json::to_value(kind).unwrap_or_default();
                field("prices", &format!("lacks a price for {}", kind.as_str().unwrap_or("a kind of seat")))
            }
            Rejection::AuditoriumTaken(in_the_way) => taken(in_the_way),
            Rejection::Overlaps(mut overlaps) => {
                let detail = format!(
                    "{} planned showtimes overlap by the new length; see overlaps. Move or cancel them first, or send \
                     acceptOverlaps.",
                    overlaps.len()
                );
                overlaps.truncate(OVERLAPS_MAX);
                Problem { overlaps, ..Problem::new(409, "showtimes-overlap", detail) }
            }
            Rejection::StartsInThePast => field("startsAt", "must lie in the future"),
            Rejection::TooManyShowtimes { most } => {
                field("to", &format!("makes more than {most} showtimes; ask for fewer days at once"))
            }
            Rejection::TooManyToCome { most } => {
                let detail = format!("More than {most} showtimes are to come; cancel some of them first.");
                Problem::new(409, "too-many-showtimes", detail)
            }
            Rejection::NoDays => field("weekdays", "leaves no day between from and to"),
            Rejection::ShowtimeStarted => Problem::new(409, "showtime-started", "The showtime has begun."),
            Rejection::ShowtimeOver => Problem::new(409, "showtime-over", "The showtime is over."),
            Rejection::ShowtimeCancelled => {
                Problem::new(409, "showtime-cancelled", "The showtime was cancelled.")
            }
            Rejection::ShowtimeSold(sold) => {
                let detail = "Seats are held or sold. Cancel the showtime to give the money back.";
                Problem::new(409, "showtime-sold", detail).with_showtimes(showtimes(sold))
            }
            Rejection::SeatsSold(sold) => {
                let detail = "Seats that are held or sold would vanish or change; see showtimes.";
                Problem::new(409, "seats-sold", detail).with_showtimes(showtimes(sold))
            }
            Rejection::MediaGone => Problem::new(
                409,
                "media-gone",
                "The upload took too long, or its movie is gone. Send it again.",
            ),
        }
    }
}

fn field(field: &str, message: &str) -> Problem {
    let mut fields = Fields::default();
    fields.check(false, field, message);
    fields.into_result().expect_err("one field was reported")
}

fn taken(in_the_way: Option<InTheWay>) -> Problem {
    let Some(InTheWay { id, movie_title, starts_at, ends_at }) = in_the_way else {
        return Problem::new(409, "auditorium-taken", "Another showtime has the auditorium at that time.");
    };
    let detail = format!(
        "{movie_title:?} has the auditorium from {starts_at} to {ends_at}, and it is cleaned between showtimes."
    );
    let showtime = ProblemShowtime { id, starts_at, seats: Vec::new() };
    Problem::new(409, "auditorium-taken", detail).with_showtimes(vec![showtime])
}

fn showtimes(sold: Vec<(Uuid, Timestamp, Vec<SeatId>)>) -> Vec<ProblemShowtime> {
    sold.into_iter().map(|(id, starts_at, seats)| ProblemShowtime { id, starts_at, seats }).collect()
}

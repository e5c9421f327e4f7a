//! Why movie rejects a request, and the problem that the caller receives.

use uuid::Uuid;

use super::{OVERLAPS_MAX, Overlap, SeatKind};
use crate::contract::{FieldError, Problem, ProblemShowtime, Rule, SeatId, TariffCode, Timestamp};

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
    NoSuchTicketType,
    NoSuchPriceCard,
    NoSuchSite,
    /// A logo would save the settings of this host as the site, which may lack what other hosts have.
    SiteUnsaved,
    /// The row has another version than the one that the change replaces.
    VersionChanged,
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
    SiteSlugTaken,
    TicketTypeTaken,
    /// A price card has it, or another type accompanies it.
    TicketTypeInUse,
    /// The code of a ticket type is the same forever.
    TicketTypeCodeChanged,
    /// The type that it accompanies does not exist.
    UnknownAccompanied,
    /// Ticket types in the prices of a card that do not exist.
    UnknownTicketTypes(Vec<TariffCode>),
    UnknownPriceCard,
    /// No price card applies at the start.
    PriceCardMissing,
    /// The card has no such surcharge; the place in the request's list.
    SurchargeUnknown {
        index: usize,
    },
    /// A kind of seat in the auditorium has no price, or none for the default ticket type.
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
    /// The movie is not shown in the version, or format, that the request names.
    VersionUnknown,
    FormatUnknown,
    /// The sale would begin when the show has begun.
    SaleAfterStart,
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
            Rejection::NoSuchTicketType => Problem::not_found("ticket type"),
            Rejection::NoSuchPriceCard => Problem::not_found("price card"),
            Rejection::NoSuchSite => Problem::not_found("site"),
            Rejection::SiteUnsaved => {
                Problem::new(409, "site-unsaved", "Save the site first, and then its logo.")
            }
            Rejection::VersionChanged => {
                Problem::new(409, "version-changed", "It was changed meanwhile. Read it again first.")
            }
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
            Rejection::UnknownGenre => Problem::invalid_field("genreIds", Rule::Unknown { of: "a genre" }),
            Rejection::UnknownMovie => Problem::invalid_field("movieId", Rule::Unknown { of: "a movie" }),
            Rejection::UnknownAuditorium => {
                Problem::invalid_field("auditoriumId", Rule::Unknown { of: "an auditorium" })
            }
            Rejection::UnknownTimeZone => Problem::invalid_field("timeZone", Rule::TimeZone),
            Rejection::SiteSlugTaken => {
                Problem::new(409, "site-slug-taken", "There is already a site of this short name.")
            }
            Rejection::TicketTypeTaken => {
                Problem::new(409, "ticket-type-taken", "There is already a ticket type of this code.")
            }
            Rejection::TicketTypeInUse => Problem::new(
                409,
                "ticket-type-in-use",
                "A price card has this ticket type, or another type accompanies it.",
            ),
            Rejection::TicketTypeCodeChanged => {
                let message = "must be the code that the ticket type has: it never changes".to_owned();
                Problem::invalid_field("code", Rule::Type { message })
            }
            Rejection::UnknownAccompanied => {
                Problem::invalid_field("accompanies", Rule::Unknown { of: "a ticket type" })
            }
            Rejection::UnknownTicketTypes(codes) => {
                let unknown = Rule::Unknown { of: "a ticket type" };
                let error = |code| FieldError::new(format!("prices.{code}"), unknown.clone());
                Problem::invalid(codes.iter().map(error).collect())
            }
            Rejection::UnknownPriceCard => {
                Problem::invalid_field("priceCardId", Rule::Unknown { of: "a price card" })
            }
            Rejection::PriceCardMissing => {
                let detail = "No price card applies at that time; name a card or prices.";
                Problem::new(422, "price-card-missing", detail)
            }
            Rejection::SurchargeUnknown { index } => {
                Problem::invalid_field(&format!("surcharges[{index}]"), Rule::SurchargeUnknown)
            }
            Rejection::PriceMissing(kind) => {
                Problem::invalid_field("prices", Rule::PriceMissing { kind: Some(kind) })
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
            Rejection::StartsInThePast => Problem::invalid_field("startsAt", Rule::Future),
            Rejection::TooManyShowtimes { most } => {
                Problem::invalid_field("to", Rule::TooManyShowtimes { max: most as u64 })
            }
            Rejection::TooManyToCome { most } => {
                let detail = format!("More than {most} showtimes are to come; cancel some of them first.");
                Problem::new(409, "too-many-showtimes", detail)
            }
            Rejection::NoDays => Problem::invalid_field("weekdays", Rule::NoDays),
            Rejection::ShowtimeStarted => Problem::new(409, "showtime-started", "The showtime has begun."),
            Rejection::ShowtimeOver => Problem::new(409, "showtime-over", "The showtime is over."),
            Rejection::ShowtimeCancelled => {
                Problem::new(409, "showtime-cancelled", "The showtime was cancelled.")
            }
            Rejection::VersionUnknown => Problem::invalid_field("filmVersion", Rule::VersionUnknown),
            Rejection::FormatUnknown => Problem::invalid_field("format", Rule::FormatUnknown),
            Rejection::SaleAfterStart => {
                Problem::invalid_field("onSaleAt", Rule::Before { other: "startsAt" })
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

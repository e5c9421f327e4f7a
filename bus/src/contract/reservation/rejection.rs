//! Why reservation rejects a request, and the problem that the caller receives.

use super::ReservationPlan;
use crate::contract::problem::{HoldLimit, HoldLimitOf};
use crate::contract::{FieldError, Money, Problem, SeatId, Timestamp, seat_list};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    NoSuchReservation,
    NoSuchShowtime,
    /// Ids that the hall does not have, gaps among them.
    SeatUnknown(Vec<SeatId>),
    /// Seats that the hall has but that are not for sale.
    SeatBlocked(Vec<SeatId>),
    SeatsTaken(Vec<SeatId>),
    /// Fewer seats of the kind are free than `bestAvailable` requests.
    NotEnoughSeats {
        left: usize,
    },
    /// Companion places whose wheelchair place is not in the order.
    CompanionAlone(Vec<SeatId>),
    /// All seats of the units of which the order takes a part; none where `bestAvailable` requests a count that no whole units
    /// make.
    UnitSplit(Vec<SeatId>),
    SeatsPerOrder {
        most: usize,
    },
    /// Too many seats or reservations are held unpaid already.
    HoldLimit {
        of: HoldLimitOf,
        most: usize,
    },
    /// The account's last holds ended unpaid: the next one waits until then.
    HoldCooldown {
        retry_at: Timestamp,
        now: Timestamp,
    },
    /// The order costs nothing, and the account's e-mail address is not proven.
    EmailUnproven,
    ShowtimeStarted,
    ShowtimeNotOnSale,
    HoldExpired,
    AlreadyPaid,
    /// The reservation's status does not allow this.
    NotPending,
    /// Not paid, or not any more.
    NotConfirmed,
    RefundWindowClosed,
    /// More than was captured and not yet given back.
    RefundTooLarge {
        left: Money,
    },
    /// The provider gives back only multiples of `step` in this currency.
    RefundNotWhole {
        step: Money,
    },
    /// Only an ADMIN may set how much a cancellation gives back.
    RefundByStaffOnly,
    /// A dearer reservation that will replace this one waits to be paid.
    ExchangeRunning,
    /// The reservation has these seats already.
    SameSeats,
    /// Seats of the old reservation, which a dearer new one could only have after it is paid.
    ExchangeKeepsSeats(Vec<SeatId>),
    OtherCurrency,
    /// The reservation has another version than the one that the caller's plan was made on: the plan as it is now, where it is
    /// known.
    PlanChanged(Option<ReservationPlan>),
    IdempotencyKeyMissing,
    IdempotencyMismatch,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let field = |field: &str, message: String| {
            Problem::invalid(vec![FieldError { field: field.to_owned(), message }])
        };
        match rejection {
            Rejection::NoSuchReservation => Problem::not_found("reservation"),
            Rejection::NoSuchShowtime => Problem::not_found("showtime"),
            Rejection::SeatUnknown(seats) => {
                let errors = field("seats", format!("the hall has no seat {}", seat_list(&seats))).errors;
                let detail = "The hall has no such seat.";
                Problem { errors, ..Problem::new(422, "seat-unknown", detail) }.with_seats(seats)
            }
            Rejection::SeatBlocked(seats) => {
                Problem::new(409, "seat-blocked", "These seats are not for sale.").with_seats(seats)
            }
            Rejection::SeatsTaken(seats) => {
                Problem::new(409, "seats-taken", "Someone else was faster with these seats.")
                    .with_seats(seats)
            }
            Rejection::NotEnoughSeats { left } => {
                Problem::new(409, "not-enough-seats", format!("Only {left} seats of this kind are left."))
            }
            Rejection::CompanionAlone(seats) => {
                let what = "A companion place is sold only together with the wheelchair place beside it.";
                let message = format!("needs the wheelchair place beside {}", seat_list(&seats));
                let errors = field("seats", message).errors;
                Problem { errors, ..Problem::new(422, "companion-alone", what) }.with_seats(seats)
            }
            Rejection::UnitSplit(seats) => unit_split(seats),
            Rejection::SeatsPerOrder { most } => {
                let what = format!("an order may have at most {most} seats");
                Problem { code: "seats-per-order".into(), ..field("seats", what) }
            }
            Rejection::HoldLimit { of, most } => hold_limit(of, most),
            Rejection::HoldCooldown { retry_at, now } => hold_cooldown(retry_at, now),
            Rejection::EmailUnproven => {
                let detail = "Free seats are only for a proven e-mail address. Open the link that was mailed to it, \
                    refresh the access token, and order again.";
                Problem::new(409, "email-unproven", detail)
            }
            Rejection::ShowtimeStarted => Problem::new(409, "showtime-started", "The show has begun."),
            Rejection::ShowtimeNotOnSale => {
                Problem::new(409, "showtime-cancelled", "The showtime was cancelled.")
            }
            Rejection::HoldExpired => {
                Problem::new(409, "hold-expired", "The seats were kept until now; they are free again.")
            }
            Rejection::AlreadyPaid => Problem::new(409, "already-paid", "The reservation is already paid."),
            Rejection::NotPending => {
                Problem::new(409, "not-pending", "The reservation's status does not allow this.")
            }
            Rejection::NotConfirmed => {
                Problem::new(409, "not-confirmed", "This is only for a reservation that is CONFIRMED.")
            }
            Rejection::RefundWindowClosed => Problem::new(
                409,
                "refund-window-closed",
                "It is too late to cancel for a refund or to exchange.",
            ),
            Rejection::RefundTooLarge { left } => {
                let detail = format!("At most {} can be refunded.", left.shown());
                Problem::new(409, "refund-too-large", detail)
            }
            Rejection::RefundNotWhole { step } => {
                let message = format!("must be a multiple of {}", step.shown());
                let errors = vec![FieldError { field: "amount".into(), message }];
                Problem { code: "refund-not-whole".into(), ..Problem::invalid(errors) }
            }
            Rejection::RefundByStaffOnly => {
                Problem::new(403, "forbidden", "Only an ADMIN may say how much is given back.")
            }
            Rejection::ExchangeRunning => Problem::new(
                409,
                "exchange-running",
                "A reservation that takes this one's place waits to be paid. Pay or cancel it first.",
            ),
            Rejection::SameSeats => {
                Problem::new(409, "same-seats", "The reservation has exactly these seats already.")
            }
            Rejection::ExchangeKeepsSeats(seats) => Problem::new(
                409,
                "exchange-keeps-seats",
                "For a higher price all seats must be new ones: the old are freed when the new are paid.",
            )
            .with_seats(seats),
            Rejection::OtherCurrency => {
                Problem::new(409, "other-currency", "The other showtime is sold in another currency.")
            }
            Rejection::PlanChanged(plan) => {
                let detail = "The reservation changed meanwhile. Look at it again before you go on.";
                Problem { plan: plan.map(Box::new), ..Problem::new(409, "plan-changed", detail) }
            }
            Rejection::IdempotencyKeyMissing => {
                Problem::new(400, "idempotency-key-missing", "The header Idempotency-Key is required here.")
            }
            Rejection::IdempotencyMismatch => idempotency_mismatch(),
        }
    }
}

fn hold_limit(of: HoldLimitOf, most: usize) -> Problem {
    let detail = match of {
        HoldLimitOf::Orders => {
            format!("You may hold seats in at most {most} unpaid reservations. Pay or cancel one.")
        }
        HoldLimitOf::Seats => {
            format!("You may hold at most {most} unpaid seats of a showtime. Pay or cancel a reservation.")
        }
        HoldLimitOf::Network => {
            "Too many seats are held unpaid from your network. Please try again when some are paid or released."
                .to_owned()
        }
    };
    // The network's limit is not published, so that nobody can adapt to it.
    let most = (of != HoldLimitOf::Network).then_some(most as u64);
    Problem { limit: Some(HoldLimit { of, most }), ..Problem::new(409, "hold-limit", detail) }
}

fn hold_cooldown(retry_at: Timestamp, now: Timestamp) -> Problem {
    let detail = "Your last holds were not paid. You can hold seats again at retryAt.";
    let micros = u64::try_from(retry_at.unix_micros() - now.unix_micros()).unwrap_or_default();
    // Rounded up: a client that waits this long is not refused again.
    let seconds = micros.div_ceil(1_000_000).max(1);
    Problem { retry_at: Some(retry_at), ..Problem::new(409, "hold-cooldown", detail) }
        .with_retry_after(seconds)
}

fn unit_split(seats: Vec<SeatId>) -> Problem {
    if seats.is_empty() {
        let message = "must be a number that whole units make up".to_owned();
        let errors = vec![FieldError { field: "bestAvailable.count".to_owned(), message }];
        let detail =
            "Seats of this kind are sold in units of two or more; this number of seats would split one.";
        return Problem { errors, ..Problem::new(422, "unit-split", detail) };
    }
    let message = format!("must name all or none of {}", seat_list(&seats));
    let errors = vec![FieldError { field: "seats".to_owned(), message }];
    let detail = "These seats are sold together.";
    Problem { errors, ..Problem::new(422, "unit-split", detail) }.with_seats(seats)
}

/// The same in every domain that keeps idempotency records.
pub fn idempotency_mismatch() -> Problem {
    Problem::new(422, "idempotency-mismatch", "This Idempotency-Key was used with another request.")
}

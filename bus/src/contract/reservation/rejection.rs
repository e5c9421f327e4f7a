//! Why reservation rejects a request, and the problem that the caller receives.

use super::ReservationPlan;
use crate::contract::problem::{HoldLimit, HoldLimitOf};
use crate::contract::tariff::TicketRefusal;
use crate::contract::{Money, Problem, Rule, SeatId, TariffCode, Timestamp};

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
    /// Seats to be given back that the reservation does not have.
    NotYourSeats(Vec<SeatId>),
    /// Without the seats to be given back the order could not be bought: seats of it that are sold only together with them, and
    /// the ticket type that is left alone, with the one that it needs.
    OrderIncomplete {
        seats: Vec<SeatId>,
        ticket_types: Vec<TariffCode>,
    },
    SeatsPerOrder {
        most: usize,
    },
    /// The tariff does not sell tickets in this combination.
    Tickets(TicketRefusal),
    /// Not the total that the customer has seen.
    PriceChanged {
        total: Money,
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
    /// A guest has given no address yet.
    CustomerMissing,
    /// One of the guest's orders is being paid.
    MergeWhilePaying,
    /// The order belongs to an account, not to a guest.
    NoGuestOrder,
    /// The order of a mail's link has another address than the account.
    MergeOtherAddress,
    /// The link is of an earlier address or owner.
    LinkRevoked,
    /// The token is neither a guest's nor an order's.
    NoGuestToken,
    ShowtimeStarted,
    /// The show has not begun, but guests can buy no more.
    SalesEnded,
    ShowtimeNotOnSale,
    /// The sale of the showtime begins then.
    NotOnSaleYet {
        on_sale_at: Timestamp,
    },
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
    /// Its money is of as many payments as one order may have.
    ExchangeLimit,
    /// The reservation has these seats already.
    SameSeats,
    /// Seats of the old reservation, which a dearer new one could only have after it is paid.
    ExchangeKeepsSeats(Vec<SeatId>),
    OtherCurrency,
    /// The reservation has another version than the one that the caller's plan was made on: the plan as it is now, where it is
    /// known.
    PlanChanged(Option<ReservationPlan>),
    /// More days than a report may have.
    ReportRange {
        days: u64,
    },
    NoSuchTimeZone,
    IdempotencyKeyMissing,
    IdempotencyMismatch,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchReservation => Problem::not_found("reservation"),
            Rejection::NoSuchShowtime => Problem::not_found("showtime"),
            Rejection::SeatUnknown(seats) => {
                let errors = Problem::invalid_field("seats", Rule::SeatUnknown).errors;
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
                let errors = Problem::invalid_field("seats", Rule::CompanionAlone).errors;
                Problem { errors, ..Problem::new(422, "companion-alone", what) }.with_seats(seats)
            }
            Rejection::UnitSplit(seats) => unit_split(seats),
            Rejection::NotYourSeats(seats) => {
                let errors = Problem::invalid_field("seats", Rule::NotYourSeats).errors;
                let detail = "The reservation does not have these seats.";
                Problem { errors, ..Problem::new(422, "not-your-seats", detail) }.with_seats(seats)
            }
            Rejection::OrderIncomplete { seats, ticket_types } => {
                let errors = Problem::invalid_field("seats", Rule::OrderIncomplete).errors;
                let detail = "What is left would be no order that can be bought: seats and ticketTypes are sold only together \
                    with others.";
                Problem { errors, ..Problem::new(422, "order-incomplete", detail) }
                    .with_seats(seats)
                    .with_ticket_types(ticket_types)
            }
            Rejection::SeatsPerOrder { most } => {
                let rule = Rule::SeatsPerOrder { max: most as u64 };
                Problem { code: "seats-per-order".into(), ..Problem::invalid_field("seats", rule) }
            }
            Rejection::Tickets(refusal) => tickets_refused(refusal),
            Rejection::PriceChanged { total } => {
                let detail = format!("The price has changed meanwhile: it is {} now.", total.shown());
                Problem { total: Some(Box::new(total)), ..Problem::new(409, "price-changed", detail) }
            }
            Rejection::HoldLimit { of, most } => hold_limit(of, most),
            Rejection::HoldCooldown { retry_at, now } => hold_cooldown(retry_at, now),
            Rejection::EmailUnproven => {
                let detail = "Free seats are only for a proven e-mail address. Open the link that was mailed to it, \
                    refresh the access token, and order again.";
                Problem::new(409, "email-unproven", detail)
            }
            Rejection::CustomerMissing => {
                let detail = "The order has no e-mail address yet. Set its customer before paying.";
                let errors = Problem::invalid_field("customer", Rule::Required).errors;
                Problem { errors, ..Problem::new(422, "customer-missing", detail) }
            }
            Rejection::MergeWhilePaying => {
                let detail = "One of the orders is being paid. Add them to the account when that has ended.";
                Problem::new(409, "merge-while-paying", detail)
            }
            Rejection::NoGuestOrder => {
                Problem::new(409, "order-has-account", "The order belongs to an account already.")
            }
            Rejection::MergeOtherAddress => {
                let detail = "By its link an order is added only to the account of its own e-mail address.";
                Problem::new(409, "merge-other-address", detail)
            }
            Rejection::LinkRevoked => {
                let detail = "The link is not valid any more: the order's mails go to another address.";
                Problem::unauthorized("token-revoked", detail)
            }
            Rejection::NoGuestToken => {
                let errors = Problem::invalid_field("token", Rule::GuestToken).errors;
                let detail = "The token must be a guest's access token or the token of an order.";
                Problem { errors, ..Problem::new(422, "guest-token", detail) }
            }
            Rejection::ShowtimeStarted => Problem::new(409, "showtime-started", "The show has begun."),
            Rejection::SalesEnded => Problem::new(
                409,
                "sales-ended",
                "Sales on the web have ended; the box office may sell still.",
            ),
            Rejection::ShowtimeNotOnSale => {
                Problem::new(409, "showtime-cancelled", "The showtime was cancelled.")
            }
            Rejection::NotOnSaleYet { on_sale_at } => {
                let detail = format!("The sale begins at {on_sale_at}.");
                Problem { retry_at: Some(on_sale_at), ..Problem::new(409, "not-on-sale-yet", detail) }
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
                let rule = Rule::Multiple { step: step.amount, currency: step.currency };
                Problem { code: "refund-not-whole".into(), ..Problem::invalid_field("amount", rule) }
            }
            Rejection::RefundByStaffOnly => {
                Problem::new(403, "forbidden", "Only an ADMIN may say how much is given back.")
            }
            Rejection::ExchangeLimit => {
                Problem::new(409, "exchange-limit", "The order was exchanged for dearer seats too often.")
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
            Rejection::ReportRange { days } => {
                let rule = Rule::Within { max: days, other: "from" };
                Problem { code: "report-range".into(), ..Problem::invalid_field("to", rule) }
            }
            Rejection::NoSuchTimeZone => Problem::invalid_field("timeZone", Rule::TimeZone),
            Rejection::IdempotencyKeyMissing => {
                Problem::new(400, "idempotency-key-missing", "The header Idempotency-Key is required here.")
            }
            Rejection::IdempotencyMismatch => idempotency_mismatch(),
        }
    }
}

fn tickets_refused(refusal: TicketRefusal) -> Problem {
    match refusal {
        TicketRefusal::UnknownTypes(types) => {
            Problem::new(422, "ticket-type-unknown", "The showtime does not sell these ticket types.")
                .with_ticket_types(types)
        }
        TicketRefusal::NotOnChannel(of) => {
            Problem::new(422, "ticket-type-channel", "This ticket type is not sold here.")
                .with_ticket_types([of])
        }
        TicketRefusal::NotForSeats(of, seats) => {
            Problem::new(422, "ticket-type-seats", "This ticket type is not sold for these seats.")
                .with_ticket_types([of])
                .with_seats(seats)
        }
        TicketRefusal::TooMany { of, most } => {
            let rule = Rule::TicketTypeMost { max: most.into() };
            let errors = Problem::invalid_field("tickets", rule).errors;
            let detail = format!("An order may have at most {most} tickets of the type {of}.");
            Problem { errors, ..Problem::new(422, "ticket-type-most", detail) }.with_ticket_types([of])
        }
        TicketRefusal::Unaccompanied { of, needs } => {
            let detail =
                format!("Each ticket of the type {of} needs one of the type {needs} in the same order.");
            Problem::new(422, "ticket-type-alone", detail).with_ticket_types([of, needs])
        }
        TicketRefusal::TotalOutOfBounds { total, least, most } => {
            let rule = Rule::Price { min: least, max: most, currency: total.currency };
            let errors = Problem::invalid_field("tickets", rule).errors;
            let detail = "The payment provider cannot charge this total.";
            Problem {
                errors,
                total: Some(Box::new(total)),
                ..Problem::new(422, "total-out-of-bounds", detail)
            }
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
        let errors = Problem::invalid_field("bestAvailable.count", Rule::UnitCount).errors;
        let detail =
            "Seats of this kind are sold in units of two or more; this number of seats would split one.";
        return Problem { errors, ..Problem::new(422, "unit-split", detail) };
    }
    let errors = Problem::invalid_field("seats", Rule::UnitSplit).errors;
    let detail = "These seats are sold together.";
    Problem { errors, ..Problem::new(422, "unit-split", detail) }.with_seats(seats)
}

/// The same in every domain that keeps idempotency records.
pub fn idempotency_mismatch() -> Problem {
    Problem::new(422, "idempotency-mismatch", "This Idempotency-Key was used with another request.")
}

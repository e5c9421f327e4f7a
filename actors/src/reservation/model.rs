//! A reservation as one value: its row, its views and its events.

use bus::Context;
use bus::contract::movie::{Row, ShowtimeScheduled, ShowtimeStatus};
use bus::contract::payment::PaymentStatus;
use bus::contract::reservation::{
    Cancellation, Customer, RefundRequested, RefundStatus, Rejection, Reservation as View,
    ReservationCancelled, ReservationConfirmed, ReservationCreated, ReservationExchanged, ReservationPayment,
    ReservationPlan, ReservationReaddressed, ReservationRefund, ReservationStatus, ReservationUpdated,
    Saga as SagaView, SagaRefund, SagaStep, SagaSummary, SeatStatus,
};
use bus::contract::site::ShowtimeOverrides;
use bus::contract::tariff::taxes;
use bus::contract::{Money, OrderCode, SeatId, Tariff, Timestamp};
use bus::event::Outgoing;
use uuid::Uuid;

use super::holds::Bounds;
use super::saga::{
    Cancel, CancelledBy, Claim, Input, OldOrder, Part, PartState, Refund, Replacement, Saga, SagaEvent,
    State, Step, ask_again_at, times_asked,
};

pub const DOMAIN: &str = "reservation";

/// The part of a showtime that selling needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Showtime {
    pub id: Uuid,
    /// Counts movie's changes.
    pub version: i64,
    pub status: ShowtimeStatus,
    pub starts_at: Timestamp,
    /// When the sale begins; `None`: it has begun.
    pub on_sale_at: Option<Timestamp>,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub layout: Vec<Row>,
    pub tariff: Tariff,
    pub site_id: Uuid,
    /// What it has otherwise than its site.
    pub overrides: ShowtimeOverrides,
}

impl From<ShowtimeScheduled> for Showtime {
    fn from(event: ShowtimeScheduled) -> Self {
        Self {
            id: event.showtime_id,
            version: event.version,
            status: event.status,
            starts_at: event.starts_at,
            on_sale_at: event.showing.on_sale_at,
            movie_id: event.movie_id,
            movie_title: event.movie_title,
            layout: event.rows,
            tariff: event.tariff.unwrap_or_else(|| Tariff::of_prices(&event.prices)),
            site_id: event.site_id,
            overrides: event.overrides,
        }
    }
}

/// A showtime with its claims, as one statement read them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub showtime: Showtime,
    pub sequence: i64,
    pub claims: Vec<(SeatId, SeatStatus)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reservation {
    pub id: Uuid,
    pub code: OrderCode,
    pub user_id: Uuid,
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    /// Counts the changes; a save expects the one before.
    pub version: i64,
    pub saga: Saga,
    /// The next deadline for the sweep. A deadline that only repeats a request moves in the row, without a new version.
    pub deadline: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Reservation {
    /// The seats of its lines, in their order.
    pub fn seats(&self) -> Vec<SeatId> {
        self.saga.terms.lines.iter().map(|line| line.seat.clone()).collect()
    }

    pub fn has_seat(&self, seat: &SeatId) -> bool {
        self.saga.terms.lines.iter().any(|line| line.seat == *seat)
    }

    /// The saga's step, if the input was decided on this version: a plan that was made on another one is made again.
    pub fn step(&self, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
        let moved = input.planned_on().is_some_and(|version| version != self.version);
        #[cfg(feature = "planted")]
        let moved = moved && !super::saga::ignores_versions();
        let is_early = *input == Input::Deadline && self.deadline.is_none_or(|deadline| deadline > now);
        if is_early || self.is_for(input) {
            return Ok(Step::to(self.saga.clone()));
        }
        if matches!(input, Input::BeginPayment { .. }) && self.email.is_empty() {
            return Err(Rejection::CustomerMissing);
        }
        match self.saga.step(input, now) {
            // A step that changes nothing is right for every version: a cancellation that is repeated.
            Ok(step) if moved && !step.writes_nothing(&self.saga) => {
                Err(Rejection::PlanChanged(Some(self.plan(input, now))))
            }
            Err(Rejection::PlanChanged(None)) => Err(Rejection::PlanChanged(Some(self.plan(input, now)))),
            stepped => stepped,
        }
    }

    /// Whether the order has the address, the name or the owner of the input already.
    fn is_for(&self, input: &Input) -> bool {
        match input {
            Input::Readdress { email, .. } => *email == self.email,
            Input::SetCustomer { email, name } => *email == self.email && *name == self.saga.customer_name,
            Input::Merge { user_id, .. } => *user_id == self.user_id,
            _ => false,
        }
    }

    /// Whether the step writes nothing. An address is in the row only, not in the saga.
    pub fn is_left_by(&self, step: &Step, input: &Input) -> bool {
        let is_named = matches!(input, Input::SetCustomer { .. }) && !self.is_for(input);
        !is_named && step.writes_nothing(&self.saga)
    }

    /// Who the order is for, once that is known.
    fn customer(&self) -> Option<Customer> {
        let (email, name) = (self.email.clone(), self.saga.customer_name.clone());
        (!email.is_empty()).then_some(Customer { email, name })
    }

    /// The plan of a cancellation now: the one that was requested, or else the owner's.
    fn plan(&self, input: &Input, now: Timestamp) -> ReservationPlan {
        let cancel = match input {
            Input::Cancel(cancel) => cancel.clone(),
            Input::Return(back) => back.cancel.clone(),
            _ => Cancel::by(CancelledBy::User),
        };
        let nothing = Money { amount: 0, ..self.saga.terms.total };
        let refund = self.cancellation(cancel, now).map_or(nothing, |cancellation| cancellation.refund);
        ReservationPlan { version: self.version, total: nothing, refund, payable: nothing }
    }

    /// The reservation after a step of its saga.
    pub fn with(&self, saga: Saga, input: &Input, now: Timestamp) -> Self {
        let deadline = saga.deadline(now);
        let after = Self { saga, deadline, version: self.version + 1, updated_at: now, ..self.clone() };
        match input {
            Input::Exchange(to) => Self {
                showtime_id: to.showtime_id,
                movie_id: to.movie_id,
                movie_title: to.movie_title.clone(),
                starts_at: to.starts_at,
                ..after
            },
            Input::Readdress { email, .. } | Input::SetCustomer { email, .. } => {
                Self { email: email.clone(), ..after }
            }
            Input::Merge { user_id, email } => Self { user_id: *user_id, email: email.clone(), ..after },
            _ => after,
        }
    }

    /// The new reservation that shall take its place.
    pub fn replaced_by(&self, new: &Replacement) -> Self {
        Self {
            id: new.id,
            code: new.code,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: new.to.showtime_id,
            movie_id: new.to.movie_id,
            movie_title: new.to.movie_title.clone(),
            starts_at: new.to.starts_at,
            version: 1,
            deadline: new.saga.deadline(new.created_at),
            saga: new.saga.clone(),
            created_at: new.created_at,
            updated_at: new.created_at,
        }
    }

    /// With everything that ends it in the commit of another reservation.
    pub fn as_old_order(&self) -> OldOrder {
        OldOrder {
            id: self.id,
            code: self.code,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            version: self.version,
            saga: self.saga.clone(),
            created_at: self.created_at,
        }
    }

    /// The moviegoer's view; `now` decides how much a cancellation would give back.
    pub fn view(&self, now: Timestamp) -> View {
        let (reason, refund) = match &self.saga.state {
            State::Cancelled { reason } => (Some(*reason), None),
            State::Refunding { reason, refund, .. } => {
                (Some(*reason), Some((refund, RefundStatus::Requested)))
            }
            State::Refunded { reason, refund } => (Some(*reason), Some((refund, RefundStatus::Completed))),
            State::NeedsAttention { reason, refund, .. } => {
                (Some(*reason), Some((refund, RefundStatus::Failed)))
            }
            State::AwaitingPayment { .. }
            | State::Ending { .. }
            | State::Replacing { .. }
            | State::Confirmed { .. } => (None, None),
        };
        let exchanging_to = self.saga.exchanging_to();
        let shown = |(refund, status): (&Refund, RefundStatus)| ReservationRefund {
            id: refund.id,
            status,
            total: refund.total,
        };
        let (of_whole, parts): (Vec<&Part>, Vec<&Part>) =
            self.saga.parts.iter().partition(|part| part.of_whole);
        let refund =
            refund.map(shown).map(|first| of_whole.iter().fold(first, |sum, part| with_share(sum, part)));
        View {
            id: self.id,
            code: self.code,
            status: self.saga.status(),
            version: self.version,
            user_id: self.user_id,
            email: self.email.clone(),
            customer: self.customer(),
            guest: self.saga.guest,
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats(),
            lines: self.saga.terms.lines.clone(),
            fees: self.saga.terms.fees.clone(),
            total: self.saga.terms.total,
            taxes: taxes(&self.saga.terms.lines, &self.saga.terms.fees),
            expires_at: self.saga.expires_at,
            reason,
            payment: self.payment(),
            refund,
            partial_refunds: parts.iter().map(|p| shown((&p.refund, p.status()))).collect(),
            refund_policy: Some(self.saga.terms.refund_policy),
            cancellation: self.cancellation(Cancel::by(CancelledBy::User), now),
            exchange_of: self.saga.exchange_of,
            credit: self.saga.credit.as_ref().map(|credit| credit.total),
            waived: self.saga.credit.as_ref().map(|credit| credit.waived).filter(|waived| waived.amount > 0),
            due: (self.saga.status() == ReservationStatus::Pending).then(|| self.saga.due()),
            exchanging_to,
            exchange_refund: exchanging_to.map(|_| Money { amount: 0, ..self.saga.terms.total }),
            locale: self.saga.terms.locale,
            attention: self.saga.needs_attention(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The refund of this cancellation now.
    fn cancellation(&self, cancel: Cancel, now: Timestamp) -> Option<Cancellation> {
        let terms = &self.saga.terms;
        let step = match &self.saga.state {
            State::Confirmed { .. } => self.saga.step(&Input::Cancel(cancel), now).ok()?,
            _ => return None,
        };
        let amount = step.next.promised() - self.saga.promised();
        let refund = Money { amount, ..terms.total };
        Some(Cancellation { refund, until: terms.refund_applies_until(now) })
    }

    fn payment(&self) -> Option<ReservationPayment> {
        let payment = self.saga.payment.as_ref()?;
        let kept = self.saga.captured.is_some() || matches!(self.saga.state, State::Confirmed { .. });
        let parted = self.saga.parts.iter().any(|part| part.state == PartState::Completed);
        let paid = if parted { PaymentStatus::PartiallyRefunded } else { PaymentStatus::Succeeded };
        let status = match &self.saga.state {
            State::AwaitingPayment { .. } | State::Ending { .. } | State::Replacing { .. } => {
                PaymentStatus::Processing
            }
            State::Cancelled { .. } if !kept => PaymentStatus::Failed,
            State::Refunded { .. } if self.saga.left().amount == 0 => PaymentStatus::Refunded,
            State::Refunded { .. } => PaymentStatus::PartiallyRefunded,
            _ => paid,
        };
        Some(ReservationPayment { id: payment.id, status, checkout_url: payment.checkout_url.clone() })
    }

    /// The events published with the change from `before` to this version.
    /// `by`: the person who requested it.
    pub fn events(
        &self,
        before: &Self,
        events: &[SagaEvent],
        by: Option<Uuid>,
        context: &Context,
    ) -> Vec<Outgoing> {
        events.iter().map(|event| self.outgoing(before, event, by, context)).collect()
    }

    fn outgoing(&self, before: &Self, event: &SagaEvent, by: Option<Uuid>, context: &Context) -> Outgoing {
        let (at, reservation) = (self.updated_at, self.event());
        match event {
            SagaEvent::Created => Outgoing::new(DOMAIN, &reservation, at, context),
            SagaEvent::Confirmed { payment_id } => {
                let event = ReservationConfirmed { payment_id: *payment_id, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Cancelled { reason } => {
                let credited = self.saga.credited.clone();
                // A credit that paid for nothing stays with the order that was to be replaced: payment reverses its booking.
                let credit = reservation.credit.clone().filter(|_| self.saga.captured.is_some());
                let reservation = ReservationCreated { credit, ..reservation };
                let event = ReservationCancelled { reason: *reason, credited, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Exchanged { payment_id } => {
                let event = ReservationExchanged {
                    payment_id: *payment_id,
                    previous_showtime_id: before.showtime_id,
                    previous_seats: before.seats(),
                    reservation,
                };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Updated { payment_id, returned, refund } => {
                let (payment_id, returned_seats, refund) = (*payment_id, returned.clone(), *refund);
                let event = ReservationUpdated { payment_id, returned_seats, refund, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::Readdressed => {
                let previous_email = Some(before.email.clone());
                let status = self.saga.status();
                let event = ReservationReaddressed { status, by, previous_email, reservation };
                Outgoing::new(DOMAIN, &event, at, context)
            }
            SagaEvent::RefundRequested(refund) => {
                Outgoing::new(DOMAIN, &self.refund_requested(refund), at, context)
            }
        }
    }

    /// The content of every `reservation.*` event.
    pub fn event(&self) -> ReservationCreated {
        ReservationCreated {
            reservation_id: self.id,
            code: Some(self.code),
            version: self.version,
            user_id: self.user_id,
            email: self.email.clone(),
            showtime_id: self.showtime_id,
            movie_id: self.movie_id,
            movie_title: self.movie_title.clone(),
            starts_at: self.starts_at,
            seats: self.seats(),
            lines: self.saga.terms.lines.clone(),
            fees: self.saga.terms.fees.clone(),
            total: self.saga.terms.total,
            expires_at: self.saga.expires_at,
            locale: self.saga.terms.locale,
            site_id: self.saga.terms.site_id,
            access: self.saga.access,
            exchange_of: self.saga.exchange_of,
            credit: self.saga.credit.clone(),
            due: self.saga.credit.as_ref().map(|_| self.saga.due()),
        }
    }

    fn refund_requested(&self, refund: &Refund) -> RefundRequested {
        RefundRequested {
            refund_id: refund.id,
            reservation_id: self.id,
            payment_id: refund.payment_id,
            total: refund.total,
            provider_ref: refund.provider_ref.clone(),
            reason: refund.reason.clone(),
            by: refund.by,
            version: self.version,
        }
    }

    pub fn summary(&self) -> SagaSummary {
        SagaSummary {
            reservation_id: self.id,
            code: self.code,
            state: self.saga.state.name(),
            status: self.saga.status(),
            version: self.version,
            attention: self.saga.needs_attention(),
            user_id: self.user_id,
            showtime_id: self.showtime_id,
            total: self.saga.terms.total,
            deadline: self.deadline,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The view of staff, with the saga's steps.
    pub fn saga_view(&self, steps: Vec<SagaStep>, now: Timestamp) -> SagaView {
        let shown = |refund: &Refund, status, asked, ask_at| SagaRefund {
            id: refund.id,
            total: refund.total,
            status,
            reason: refund.reason.clone(),
            by: refund.by,
            asked,
            ask_at,
        };
        let requested = |refund: &Refund, since: Timestamp| {
            let (asked, ask_at) = (times_asked(since, now), ask_again_at(since, now));
            shown(refund, RefundStatus::Requested, asked, Some(ask_at))
        };
        let whole = match &self.saga.state {
            State::Refunding { refund, requested_at, .. } => Some(requested(refund, *requested_at)),
            State::Refunded { refund, .. } => Some(shown(refund, RefundStatus::Completed, 0, None)),
            State::NeedsAttention { refund, .. } => Some(shown(refund, RefundStatus::Failed, 0, None)),
            State::AwaitingPayment { .. }
            | State::Ending { .. }
            | State::Replacing { .. }
            | State::Confirmed { .. }
            | State::Cancelled { .. } => None,
        };
        let parts = self.saga.parts.iter().map(|part| match part.requested_at() {
            Some(since) => requested(&part.refund, since),
            None => shown(&part.refund, part.status(), 0, None),
        });
        SagaView {
            summary: self.summary(),
            reservation: self.view(now),
            captured: self.saga.captured,
            refunds: whole.into_iter().chain(parts).collect(),
            steps,
        }
    }
}

impl From<OldOrder> for Reservation {
    fn from(old: OldOrder) -> Self {
        Self {
            id: old.id,
            code: old.code,
            user_id: old.user_id,
            email: old.email,
            showtime_id: old.showtime_id,
            movie_id: old.movie_id,
            movie_title: old.movie_title,
            starts_at: old.starts_at,
            version: old.version,
            saga: old.saga,
            deadline: None,
            created_at: old.created_at,
            // Of the step that ends it.
            updated_at: old.created_at,
        }
    }
}

/// A refund that is split over captures is one to its customer: done when all shares are, and failed when one has.
fn with_share(refund: ReservationRefund, part: &Part) -> ReservationRefund {
    let amount = refund.total.amount + part.refund.total.amount;
    let status = match (refund.status, part.status()) {
        (RefundStatus::Failed, _) | (_, RefundStatus::Failed) => RefundStatus::Failed,
        (RefundStatus::Requested, _) | (_, RefundStatus::Requested) => RefundStatus::Requested,
        (RefundStatus::Completed, RefundStatus::Completed) => RefundStatus::Completed,
    };
    ReservationRefund { total: Money { amount, ..refund.total }, status, ..refund }
}

/// How a step changes the reservation's seats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seats {
    Keep,
    /// A new reservation holds its seats, which must be free.
    New {
        /// How much may be held unpaid, this reservation included.
        bounds: Bounds,
        /// The showtime's version that the seats and their prices were chosen by.
        showtime_version: i64,
    },
    /// The seats that it holds are sold.
    Sell,
    Free,
    /// Money that came after the seats were freed buys them again: they must still be free.
    Reclaim,
    /// An exchange frees the seats that are given up and buys those that are new, in one transaction; a return only frees some.
    Move {
        from_showtime: Uuid,
        from_seats: Vec<SeatId>,
        showtime_version: i64,
    },
}

impl Seats {
    /// Of a step from `before` to a state with the claim `after`.
    pub fn of_step(before: &Reservation, input: &Input, after: Claim) -> Self {
        let moved = match input {
            Input::Exchange(to) => Some(to),
            Input::Return(back) => Some(&back.rest),
            _ => None,
        };
        if let Some(to) = moved {
            return Self::Move {
                from_showtime: before.showtime_id,
                from_seats: before.seats(),
                showtime_version: to.showtime_version,
            };
        }
        match (before.saga.state.claim(), after) {
            (Claim::None, Claim::Sold) => Self::Reclaim,
            (Claim::Held, Claim::Sold) => Self::Sell,
            (Claim::Held | Claim::Sold, Claim::None) => Self::Free,
            (Claim::None, Claim::None) | (Claim::Held, Claim::Held) | (Claim::Sold, Claim::Sold) => {
                Self::Keep
            }
            (Claim::None | Claim::Sold, Claim::Held) => unreachable!("only a new reservation holds seats"),
        }
    }
}

//! Reservation's contract: seats held, paid for, exchanged, given back; the live seat map.
//!
//! What only staff ask is in `staff.rs`, exchanges are in `exchange.rs`, the best seats in `best.rs`, why something is refused in
//! `rejection.rs`.

mod best;
mod exchange;
mod rejection;
mod staff;

pub use super::problem::HoldLimitOf;
pub use best::{BestSeats, FindBestSeats};
pub use exchange::{ExchangeReservation, PlanExchange, ReservationPlan};
pub use rejection::{Rejection, idempotency_mismatch};
pub use staff::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::movie::SeatKind;
use super::payment::PaymentStatus;
use super::{Access, Fields, Line, Money, Page, Paging, Request, SeatId, Timestamp, events};

/// Core NATS subject of a showtime's seat changes: [`SeatsChanged`].
pub fn seats_subject(showtime: Uuid) -> String {
    format!("seats.{showtime}")
}

/// Core NATS subject that says that a reservation has a new version: [`ReservationChanged`].
pub fn changed_subject(reservation: Uuid) -> String {
    format!("changed.reservation.{reservation}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatStatus {
    Free,
    Held,
    Sold,
    /// Not for sale: the kind has no price, or staff keep it.
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatView {
    pub id: SeatId,
    pub row: String,
    /// What is written on the seat.
    pub number: u16,
    /// Where it stands, counted from 1 at the left; seats in adjacent columns of a row are neighbours.
    #[serde(default)]
    pub column: u16,
    pub kind: SeatKind,
    /// Seats of a row with the same unit are sold together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u16>,
    pub status: SeatStatus,
    pub price: Option<Money>,
}

/// The seat map at one version of the showtime. Gaps are left out; columns tell where they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatMap {
    pub sequence: i64,
    pub seats: Vec<SeatView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatChange {
    pub id: SeatId,
    pub status: SeatStatus,
}

/// All changes of one version: a map at `sequence - 1` becomes one at `sequence`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatsChanged {
    pub sequence: i64,
    pub changes: Vec<SeatChange>,
    /// Seats or prices themselves changed: this version can only be read, not computed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reload: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationChanged {
    pub version: i64,
    pub status: ReservationStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReservationStatus {
    Pending,
    Confirmed,
    Cancelled,
    Refunded,
}

impl ReservationStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Confirmed => "CONFIRMED",
            Self::Cancelled => "CANCELLED",
            Self::Refunded => "REFUNDED",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CancelReason {
    UserRequest,
    PaymentFailed,
    HoldExpired,
    ShowtimeCancelled,
    Admin,
    /// Another reservation took its place.
    Exchanged,
}

impl CancelReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserRequest => "USER_REQUEST",
            Self::PaymentFailed => "PAYMENT_FAILED",
            Self::HoldExpired => "HOLD_EXPIRED",
            Self::ShowtimeCancelled => "SHOWTIME_CANCELLED",
            Self::Admin => "ADMIN",
            Self::Exchanged => "EXCHANGED",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundStatus {
    Requested,
    Completed,
    Failed,
}

/// The payment as the reservation knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationPayment {
    pub id: Uuid,
    pub status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationRefund {
    pub id: Uuid,
    pub status: RefundStatus,
    pub total: Money,
}

/// What a cancellation gives back, agreed when the reservation was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundPolicy {
    /// Until so many minutes before the show.
    pub until_minutes: u64,
    /// So much of what was paid; nothing later.
    pub percent: u8,
}

/// What a cancellation would give back now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cancellation {
    pub refund: Money,
    /// Until when this is so.
    pub until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    pub id: Uuid,
    pub status: ReservationStatus,
    /// Grows with every change; give it back as `since` with `?wait=`.
    pub version: i64,
    pub user_id: Uuid,
    /// Where mails about it go.
    #[serde(default)]
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<SeatId>,
    /// What each seat costs; the prices add up to `total`.
    pub lines: Vec<Line>,
    pub total: Money,
    /// Until when the seats are kept; no meaning once the status is not PENDING.
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<ReservationPayment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<ReservationRefund>,
    /// Parts that were given back besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial_refunds: Vec<ReservationRefund>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_policy: Option<RefundPolicy>,
    /// While CONFIRMED and the show has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// The reservation whose place this one takes once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// The unpaid reservation that will take this one's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanging_to: Option<Uuid>,
    /// Something did not settle by itself; our staff look at it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attention: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BestAvailable {
    pub count: u16,
    /// STANDARD when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SeatKind>,
}

/// Either `seats` or `bestAvailable`. Needs an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateReservation {
    pub showtime_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<SeatId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_available: Option<BestAvailable>,
}

impl Request for CreateReservation {
    const SUBJECT: &'static str = "rpc.reservation.create";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_choice(&self.seats, &self.best_available, fields);
    }
}

fn validate_version(version: Option<i64>, fields: &mut Fields) {
    fields.check(
        version.is_none_or(|version| version >= 1),
        "version",
        "must be a version of the reservation",
    );
}

/// Either seats by name or the best available, never both.
fn validate_choice(seats: &Option<Vec<SeatId>>, best: &Option<BestAvailable>, fields: &mut Fields) {
    fields.check(seats.is_some() != best.is_some(), "seats", "give either seats or bestAvailable");
    if let Some(seats) = seats {
        // How many an order may have is the host's setting; this only bounds the message.
        fields.check((1..=100).contains(&seats.len()), "seats", "must name 1–100 seats");
        let mut seen = std::collections::HashSet::new();
        for (index, seat) in seats.iter().enumerate() {
            let field = format!("seats[{index}]");
            fields.check(seen.insert(seat), &field, "is there twice");
        }
    }
    if let Some(best) = best {
        fields.check((1..=100).contains(&best.count), "bestAvailable.count", "must be 1–100");
        fields.check(best.kind != Some(SeatKind::Gap), "bestAvailable.kind", "a gap is not sold");
    }
}

/// The right of entry for each seat, signed. Only of a CONFIRMED reservation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetTickets {
    pub id: Uuid,
}

impl Request for GetTickets {
    const SUBJECT: &'static str = "rpc.reservation.tickets";
    const ACCESS: Access = Access::User;
    type Answer = Tickets;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tickets {
    pub tickets: Vec<SeatTicket>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatTicket {
    pub seat: SeatId,
    /// A compact JWS that verifies offline against `/.well-known/jwks.json`.
    pub token: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetReservation {
    pub id: Uuid,
}

impl Request for GetReservation {
    const SUBJECT: &'static str = "rpc.reservation.get";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
}

/// The caller's own reservations, newest first; an ADMIN sees all, or those of `userId`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListReservations {
    pub status: Option<ReservationStatus>,
    pub user_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    pub paging: Paging,
}

/// Where a show stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// It has not begun.
    Upcoming,
    Past,
}

impl Request for ListReservations {
    const SUBJECT: &'static str = "rpc.reservation.list";
    const ACCESS: Access = Access::User;
    type Answer = Page<Reservation>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelReservation {
    pub id: Uuid,
    /// The caller's own words, kept in the saga's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only for ADMIN: gives back so much of what was paid, whatever the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_percent: Option<u8>,
    /// The reservation's version whose `cancellation` the caller has seen; another one is refused with `plan-changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl Request for CancelReservation {
    const SUBJECT: &'static str = "rpc.reservation.cancel";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        if let Some(reason) = &self.reason {
            fields.text(reason, 0..=500, "reason");
        }
        fields.check(self.refund_percent.is_none_or(|p| p <= 100), "refundPercent", "must be 0–100");
        validate_version(self.version, fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetSeatMap {
    pub showtime_id: Uuid,
}

impl Request for GetSeatMap {
    const SUBJECT: &'static str = "rpc.reservation.seats";
    const ACCESS: Access = Access::Public;
    type Answer = SeatMap;
}

/// The reservation with all that its events tell, for a host that missed them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescribeReservation {
    pub id: Uuid,
}

impl Request for DescribeReservation {
    const SUBJECT: &'static str = "rpc.reservation.describe";
    const ACCESS: Access = Access::Internal;
    type Answer = ReservationDescribed;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationDescribed {
    pub status: ReservationStatus,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Showtimes that one question may be about: the answer, at worst every seat of the largest halls, stays below the
/// size of a message.
pub const CLAIMED_SHOWTIMES_MAX: usize = 50;

/// Which seats of these showtimes are held or sold. Asked by movie before it changes what is on sale; true only until
/// the next sale.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListClaimed {
    pub showtime_ids: Vec<Uuid>,
}

impl Request for ListClaimed {
    const SUBJECT: &'static str = "rpc.reservation.claimed";
    const ACCESS: Access = Access::Internal;
    type Answer = Claimed;
    fn validate(&self, fields: &mut Fields) {
        let few = self.showtime_ids.len() <= CLAIMED_SHOWTIMES_MAX;
        fields.check(few, "showtimeIds", "must name at most 50 showtimes");
    }
}

/// Showtimes without a claim are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    pub showtimes: BTreeMap<Uuid, Vec<SeatId>>,
}

/// Asked by the payment host in the moviegoer's name before it begins an attempt: commits that a payment has
/// begun and extends the hold once, or refuses. Asking again with the same payment is harmless.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeginPayment {
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
}

impl Request for BeginPayment {
    const SUBJECT: &'static str = "rpc.reservation.begin_payment";
    const ACCESS: Access = Access::User;
    type Answer = PaymentBegun;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentBegun {
    pub reservation_id: Uuid,
    pub user_id: Uuid,
    pub email: String,
    /// What the provider's page calls the purchase.
    pub description: String,
    pub total: Money,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Sale>,
}

/// What is paid for, as reports group it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub tickets: u16,
}

/// What every `reservation.*` event says. A projection ignores a `version` lower than the one it knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationCreated {
    pub reservation_id: Uuid,
    pub version: i64,
    pub user_id: Uuid,
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<SeatId>,
    /// What each seat costs; the prices add up to `total`. Empty in events from before orders had lines.
    #[serde(default)]
    pub lines: Vec<Line>,
    pub total: Money,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationConfirmed {
    pub payment_id: Uuid,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationCancelled {
    pub reason: CancelReason,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// A confirmed reservation has other seats now, perhaps of another showtime; it stays confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationExchanged {
    pub payment_id: Uuid,
    pub previous_showtime_id: Uuid,
    pub previous_seats: Vec<SeatId>,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Mails about the reservation go to another address from now on: the one in `email`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationReaddressed {
    pub status: ReservationStatus,
    #[serde(flatten)]
    pub reservation: ReservationCreated,
}

/// Payment gives back `total`. The same `refundId` again asks how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequested {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    pub reason: String,
    /// Who asked, where it was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
}

events! {
    ReservationCreated => "reservation.created",
    ReservationConfirmed => "reservation.confirmed",
    ReservationCancelled => "reservation.cancelled",
    ReservationExchanged => "reservation.exchanged",
    ReservationReaddressed => "reservation.readdressed",
    RefundRequested => "refund.requested",
}

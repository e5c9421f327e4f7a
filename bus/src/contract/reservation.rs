//! Reservation's contract: seats held, paid for, given back; the live seat map.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::movie::SeatKind;
use super::payment::PaymentStatus;
use super::{Access, Fields, Money, Page, Paging, Problem, Request, Timestamp, events};

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
    pub id: String,
    pub row: String,
    pub number: u16,
    pub kind: SeatKind,
    pub status: SeatStatus,
    pub price: Option<Money>,
}

/// The seat map at one version of the showtime. Gaps are left out; numbers tell where they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatMap {
    pub sequence: i64,
    pub seats: Vec<SeatView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeatChange {
    pub id: String,
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    pub id: Uuid,
    pub status: ReservationStatus,
    /// Grows with every change; give it back as `since` with `?wait=`.
    pub version: i64,
    pub user_id: Uuid,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub seats: Vec<String>,
    pub total: Money,
    /// Until when the seats are kept; no meaning once the status is not PENDING.
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<ReservationPayment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<ReservationRefund>,
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
    pub seats: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_available: Option<BestAvailable>,
}

impl Request for CreateReservation {
    const SUBJECT: &'static str = "rpc.reservation.create";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        let one = self.seats.is_some() != self.best_available.is_some();
        fields.check(one, "seats", "give either seats or bestAvailable");
        if let Some(seats) = &self.seats {
            // How many an order may have is the host's setting; this only bounds the message.
            fields.check((1..=100).contains(&seats.len()), "seats", "must name 1–100 seats");
            let mut seen = std::collections::HashSet::new();
            for (index, seat) in seats.iter().enumerate() {
                let field = format!("seats[{index}]");
                fields.check(is_seat_id(seat), &field, "must be a seat id such as C7");
                fields.check(seen.insert(seat), &field, "is there twice");
            }
        }
        if let Some(best) = &self.best_available {
            fields.check((1..=100).contains(&best.count), "bestAvailable.count", "must be 1–100");
            fields.check(best.kind != Some(SeatKind::Gap), "bestAvailable.kind", "a gap is not sold");
        }
    }
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
    pub paging: Paging,
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
}

impl Request for CancelReservation {
    const SUBJECT: &'static str = "rpc.reservation.cancel";
    const ACCESS: Access = Access::User;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        if let Some(reason) = &self.reason {
            fields.text(reason, 0..=500, "reason");
        }
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
    pub showtimes: BTreeMap<Uuid, Vec<String>>,
}

/// Lets a saga that needs a person go on: it asks again for what did not settle.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeSaga {
    pub reservation_id: Uuid,
}

impl Request for ResumeSaga {
    const SUBJECT: &'static str = "rpc.reservation.resume";
    const ACCESS: Access = Access::SuperAdmin;
    type Answer = Reservation;
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    NoSuchReservation,
    NoSuchShowtime,
    /// Ids that the hall does not have, gaps among them.
    SeatUnknown(Vec<String>),
    /// Seats that the hall has but that are not for sale.
    SeatBlocked(Vec<String>),
    SeatsTaken(Vec<String>),
    /// Fewer seats of the kind are left than `bestAvailable` asked for.
    NotEnoughSeats {
        left: usize,
    },
    SeatsPerOrder {
        most: usize,
    },
    HoldLimit {
        most: usize,
    },
    ShowtimeStarted,
    ShowtimeNotOnSale,
    HoldExpired,
    AlreadyPaid,
    /// The reservation's status does not allow this.
    NotPending,
    RefundWindowClosed,
    IdempotencyKeyMissing,
    IdempotencyMismatch,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let field = |field: &str, message: String| {
            Problem::invalid(vec![super::FieldError { field: field.to_owned(), message }])
        };
        match rejection {
            Rejection::NoSuchReservation => Problem::not_found("reservation"),
            Rejection::NoSuchShowtime => Problem::not_found("showtime"),
            Rejection::SeatUnknown(seats) => {
                let errors = field("seats", format!("the hall has no seat {}", seats.join(", "))).errors;
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
            Rejection::SeatsPerOrder { most } => {
                let what = format!("an order may have at most {most} seats");
                Problem { code: "seats-per-order".into(), ..field("seats", what) }
            }
            Rejection::HoldLimit { most } => {
                let detail =
                    format!("You may hold seats in at most {most} unpaid reservations. Pay or cancel one.");
                Problem::new(409, "hold-limit", detail)
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
            Rejection::RefundWindowClosed => {
                Problem::new(409, "refund-window-closed", "It is too late to cancel for a refund.")
            }
            Rejection::IdempotencyKeyMissing => {
                Problem::new(400, "idempotency-key-missing", "The header Idempotency-Key is required here.")
            }
            Rejection::IdempotencyMismatch => idempotency_mismatch(),
        }
    }
}

/// The same in every domain that keeps idempotency records.
pub fn idempotency_mismatch() -> Problem {
    Problem::new(422, "idempotency-mismatch", "This Idempotency-Key was used with another request.")
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
    pub seats: Vec<String>,
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

/// Payment gives back `total`. The same `refundId` again asks how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequested {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    pub reason: String,
}

events! {
    ReservationCreated => "reservation.created",
    ReservationConfirmed => "reservation.confirmed",
    ReservationCancelled => "reservation.cancelled",
    RefundRequested => "refund.requested",
}

/// 1–3 letters and 1–3 digits; whether the hall has it is the showtime's to say.
pub fn is_seat_id(id: &str) -> bool {
    let letters = id.bytes().take_while(u8::is_ascii_uppercase).count();
    let digits = &id.as_bytes()[letters..];
    (1..=3).contains(&letters) && (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

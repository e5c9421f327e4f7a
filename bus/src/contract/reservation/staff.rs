//! Requests of staff to reservation: sagas and their history, refunds, the progress of a cancelled showtime, occupancy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{RefundStatus, Reservation, ReservationStatus};
use crate::contract::auth::validate_email;
use crate::contract::movie::ShowtimeStatus;
use crate::contract::payment::Refund;
use crate::contract::{Access, Fields, Money, OrderCode, Page, Paging, Request, Rule, Timestamp};

/// Lets a saga that needs a person go on: it requests again what did not settle.
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

/// Puts a mistyped address right: the order's mails go to the new one, with its tickets first, and links in earlier mails open
/// the order no more. The owner may do it until the show begins, staff at any time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateReservation {
    pub id: Uuid,
    pub email: String,
}

impl Request for UpdateReservation {
    const SUBJECT: &'static str = "rpc.reservation.update";
    const ACCESS: Access = Access::Guest;
    type Answer = Reservation;
    fn validate(&self, fields: &mut Fields) {
        validate_email(&self.email, "email", fields);
    }
}

/// The state of a saga, finer than a reservation's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SagaState {
    AwaitingPayment,
    Paying,
    Ending,
    /// Paid; the order that it replaces is about to end.
    Replacing,
    Confirmed,
    Cancelled,
    Refunding,
    Refunded,
    NeedsAttention,
}

impl SagaState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting-payment",
            Self::Paying => "paying",
            Self::Ending => "ending",
            Self::Replacing => "replacing",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::NeedsAttention => "needs-attention",
        }
    }

    /// The status under which the moviegoer sees it.
    pub fn status(self) -> ReservationStatus {
        match self {
            Self::AwaitingPayment | Self::Paying | Self::Ending | Self::Replacing => {
                ReservationStatus::Pending
            }
            Self::Confirmed => ReservationStatus::Confirmed,
            Self::Cancelled | Self::Refunding | Self::NeedsAttention => ReservationStatus::Cancelled,
            Self::Refunded => ReservationStatus::Refunded,
        }
    }
}

/// Sagas that need a person first, then the newest.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListSagas {
    pub state: Option<SagaState>,
    /// Only those that need a person, or only the others.
    pub attention: Option<bool>,
    pub paging: Paging,
}

impl Request for ListSagas {
    const SUBJECT: &'static str = "rpc.reservation.sagas";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<SagaSummary>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SagaSummary {
    pub reservation_id: Uuid,
    pub code: OrderCode,
    pub state: SagaState,
    pub status: ReservationStatus,
    pub version: i64,
    /// A person must look; `POST …/resume` lets it go on.
    pub attention: bool,
    pub user_id: Uuid,
    pub showtime_id: Uuid,
    pub total: Money,
    /// When the saga checks again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetSaga {
    pub reservation_id: Uuid,
}

impl Request for GetSaga {
    const SUBJECT: &'static str = "rpc.reservation.saga";
    const ACCESS: Access = Access::Admin;
    type Answer = Saga;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Saga {
    #[serde(flatten)]
    pub summary: SagaSummary,
    pub reservation: Reservation,
    /// The captured money, once it is captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<Money>,
    pub refunds: Vec<SagaRefund>,
    /// Every change, oldest first.
    pub steps: Vec<SagaStep>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SagaRefund {
    pub id: Uuid,
    pub total: Money,
    pub status: RefundStatus,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    /// How often payment was requested since the saga was last resumed.
    pub asked: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SagaStep {
    pub version: i64,
    /// What happened.
    pub input: String,
    /// The state after the step.
    pub state: String,
    pub at: Timestamp,
    /// The person who requested it, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Refunds a paid reservation: the whole remaining money cancels it, a part leaves it CONFIRMED.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRefund {
    /// The payment.
    pub id: Uuid,
    /// The whole remaining money when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<RefundAmount>,
    pub reason: String,
}

/// An amount in minor units, in the payment's currency or with its currency named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "must be minor units such as 500, or money such as {amount: 500, currency: EUR}"
)]
pub enum RefundAmount {
    Minor(i64),
    Money(Money),
}

impl RefundAmount {
    pub fn amount(self) -> i64 {
        match self {
            Self::Minor(amount) | Self::Money(Money { amount, .. }) => amount,
        }
    }
}

impl Request for RequestRefund {
    const SUBJECT: &'static str = "rpc.reservation.refund";
    const ACCESS: Access = Access::Admin;
    type Answer = Refund;
    fn validate(&self, fields: &mut Fields) {
        fields.check(self.amount.is_none_or(|amount| amount.amount() > 0), "amount", Rule::Positive);
        fields.text(&self.reason, 1..=500, "reason");
    }
}

/// The progress of the reservations of a cancelled showtime.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetShowtimeCancellation {
    pub showtime_id: Uuid,
}

impl Request for GetShowtimeCancellation {
    const SUBJECT: &'static str = "rpc.reservation.showtime_cancellation";
    const ACCESS: Access = Access::Admin;
    type Answer = ShowtimeCancellation;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeCancellation {
    /// While ON_SALE, `reservations` are those that a cancellation would end.
    pub status: ShowtimeStatus,
    pub reservations: u64,
    /// Ended, with or without money to give back.
    pub cancelled: u64,
    pub refunding: u64,
    pub refunded: u64,
    /// A refund does not settle: a person must look.
    pub attention: u64,
}

/// The accounts that hold seats unpaid, those with most seats first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListHolders {
    pub paging: Paging,
}

impl Request for ListHolders {
    const SUBJECT: &'static str = "rpc.reservation.holders";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Holder>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

/// An account that holds seats unpaid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    pub user_id: Uuid,
    pub email: String,
    /// Seats in all its unpaid reservations.
    pub seats: u64,
    /// Unpaid reservations.
    pub holds: u64,
    /// Holds that expired or were given back unpaid within the last 24 hours.
    pub unpaid_ended: u64,
    /// The networks that it holds from, such as `203.0.113.0/24`; none where bounds are off.
    pub networks: Vec<String>,
}

/// How full the showtimes that start in a span of time are, the earliest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportOccupancy {
    pub from: Timestamp,
    pub to: Timestamp,
    pub movie_id: Option<Uuid>,
    pub paging: Paging,
}

impl Request for ReportOccupancy {
    const SUBJECT: &'static str = "rpc.reservation.occupancy";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Occupancy>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        fields.check(self.from <= self.to, "to", Rule::NotBefore { other: "from" });
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Occupancy {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub status: ShowtimeStatus,
    /// Seats that have a price.
    pub capacity: u64,
    pub sold: u64,
    pub held: u64,
}

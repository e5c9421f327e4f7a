//! Notification's contract: the log of mails, and sending one again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, Page, Paging, Problem, Request, Timestamp};
use crate::contract::Fields;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationKind {
    /// Seats are held: pay before they go.
    ReservationCreated,
    /// Paid; it brings the tickets.
    ReservationConfirmed,
    /// Other seats or another showtime; it brings the new tickets.
    ReservationExchanged,
    HoldExpired,
    PaymentFailed,
    ReservationCancelled,
    ShowtimeCancelled,
    RefundRequested,
    RefundCompleted,
    /// The show starts soon.
    Reminder,
    PasswordReset,
    /// The account has another password.
    PasswordChanged,
    /// A link that proves the address.
    EmailVerification,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationStatus {
    /// To be sent, at `nextTry` at the latest.
    Queued,
    Sent,
    /// Given up; `error` says why. It may be sent again by `resend`.
    Failed,
    /// It would not have been true any more when its turn came; `reason` says why.
    Skipped,
}

/// One mail, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub id: Uuid,
    pub kind: NotificationKind,
    pub status: NotificationStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<Uuid>,
    /// Absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Tries to send it since it was queued.
    pub attempts: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// How the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same on every retry; another after a `resend`.
    pub message_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListNotifications {
    pub reservation_id: Option<Uuid>,
    pub status: Option<NotificationStatus>,
    pub paging: Paging,
}

impl Request for ListNotifications {
    const SUBJECT: &'static str = "rpc.notification.list";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Notification>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetNotification {
    pub id: Uuid,
}

impl Request for GetNotification {
    const SUBJECT: &'static str = "rpc.notification.get";
    const ACCESS: Access = Access::Admin;
    type Answer = Notification;
}

/// Queues a mail again that was sent, given up or skipped. Whether it is still true is judged again when it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResendNotification {
    pub id: Uuid,
}

impl Request for ResendNotification {
    const SUBJECT: &'static str = "rpc.notification.resend";
    const ACCESS: Access = Access::Admin;
    type Answer = Notification;
}

/// Mails that one request queues again; more takes the answer's `left` and another request.
pub const RESEND_MAX: i64 = 10_000;

/// Queues again all mails that failed between two times, the oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResendFailed {
    /// When they failed.
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Request for ResendFailed {
    const SUBJECT: &'static str = "rpc.notification.resend_failed";
    const ACCESS: Access = Access::Admin;
    type Answer = Resent;
    fn validate(&self, fields: &mut Fields) {
        fields.check(self.from <= self.to, "to", "must not be before from");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resent {
    pub queued: u64,
    /// Failed ones of that time that are left, beyond 10,000.
    pub left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    NoSuchNotification,
    /// It waits to be sent anyway.
    StillQueued,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchNotification => Problem::not_found("notification"),
            Rejection::StillQueued => {
                Problem::new(409, "notification-queued", "The mail waits to be sent already.")
            }
        }
    }
}

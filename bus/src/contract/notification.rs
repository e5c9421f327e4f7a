//! Notification's contract: the log of mails, and sending one again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, Page, Paging, Problem, Request, Timestamp};
use crate::contract::Fields;

/// The subject of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationKind {
    /// Seats are held until they are paid or the hold expires.
    ReservationCreated,
    /// The reservation is paid; the mail contains the tickets.
    ReservationConfirmed,
    /// The reservation has other seats or another showtime; the mail contains the new tickets.
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
    /// Waits to be sent, at `nextTry` at the latest.
    Queued,
    Sent,
    /// Given up; `error` has the reason. It may be sent again by `resend`.
    Failed,
    /// Not sent, because its content was no longer true; `reason` has the cause.
    Skipped,
}

/// One mail of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub id: Uuid,
    pub kind: NotificationKind,
    pub status: NotificationStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<Uuid>,
    /// Absent until the address is known.
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

/// Queues a mail again that was sent, given up or skipped. Before it is sent, its content is checked again.
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

/// Mails that one request queues again; the answer's `left` counts the rest, for another request.
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
    /// Failed mails of that time beyond the first 10,000, which are left.
    pub left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    NoSuchNotification,
    /// The mail waits to be sent already.
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

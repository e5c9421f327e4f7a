//! Notification's contract: the log of mails, sending one again, and tickets and receipts as files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, OrderCode, Page, Paging, Problem, Request, Rule, Timestamp};
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
    /// Seats were given back; the mail contains the tickets that are left.
    ReservationUpdated,
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
    /// The code of the order that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_code: Option<OrderCode>,
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

/// The mails to the caller, newest first; with the token of an order those about the order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOwnNotifications {
    pub paging: Paging,
}

impl Request for ListOwnNotifications {
    const SUBJECT: &'static str = "rpc.notification.list_own";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
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
        fields.check(self.from <= self.to, "to", Rule::NotBefore { other: "from" });
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resent {
    pub queued: u64,
    /// Failed mails of that time beyond the first 10,000, which are left.
    pub left: u64,
}

/// Most bytes of a [`TicketFile`] and of a [`ReceiptFile`]: with base64, a third more, its answer is below the `max_payload` of `nats.conf`. A test
/// prints the largest order.
pub const TICKET_FILE_BYTES_MAX: usize = 700 * 1024;

/// The tickets of a CONFIRMED reservation as a PDF, for those who may read its tickets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintTickets {
    pub reservation_id: Uuid,
}

impl Request for PrintTickets {
    const SUBJECT: &'static str = "rpc.notification.print_tickets";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = TicketFile;
}

/// A PDF with a page for each seat, in the language of the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_code: Option<OrderCode>,
    /// In base64 (RFC 4648, 4).
    pub pdf: String,
}

/// One of the order's receipts and credit notes as a PDF, in the language of the order, for those who may read them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintReceipt {
    pub reservation_id: Uuid,
    /// Without it the receipt of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

impl Request for PrintReceipt {
    const SUBJECT: &'static str = "rpc.notification.print_receipt";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = ReceiptFile;
    fn validate(&self, fields: &mut Fields) {
        if let Some(number) = &self.number {
            fields.length(number.chars().count(), 1..=RECEIPT_NUMBER_MAX, "number");
        }
    }
}

/// The longest number of a receipt, with room for more digits than a cinema needs.
const RECEIPT_NUMBER_MAX: usize = 30;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptFile {
    pub number: String,
    /// In base64 (RFC 4648, 4).
    pub pdf: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    NoSuchReceipt,
    NoSuchNotification,
    /// The mail waits to be sent already.
    StillQueued,
    /// Its recipient was erased.
    Erased,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchReceipt => Problem::not_found("receipt"),
            Rejection::NoSuchNotification => Problem::not_found("notification"),
            Rejection::Erased => Problem::new(
                409,
                "notification-erased",
                "The address of this mail is erased: it cannot be sent again.",
            ),
            Rejection::StillQueued => {
                Problem::new(409, "notification-queued", "The mail waits to be sent already.")
            }
        }
    }
}

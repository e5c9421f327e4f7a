//! Payment's contract: attempts to pay, their results, refunds. Disputes, receipts and the requests of staff are in files of
//! their own.

mod dispute;
mod privacy;
mod receipt;
mod staff;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::reservation::{CREDITED_CAPTURES_MAX, CreditedCapture};
use super::{Access, Fields, Money, Problem, Request, Rule, Timestamp, events};
pub use dispute::{Dispute, DisputeStatus, PaymentDisputed};
pub use privacy::{AreOpen, OpenPayments};
pub use receipt::{Buyer, GetReceipts, Receipt, ReceiptKind, Receipts, Seller, SetBuyer};
pub use staff::{ListPayments, ReportRevenue, ResumePayment, Revenue, RevenueBy, RevenueReport, RevenueRow};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentStatus {
    /// No attempt was made, or the last one was declined.
    Open,
    /// An attempt is at the provider.
    Processing,
    Succeeded,
    /// Ended without money.
    Failed,
    PartiallyRefunded,
    Refunded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptStatus {
    /// Requested at the provider, not answered yet.
    Opening,
    /// The hosted page waits for the moviegoer.
    Open,
    Captured,
    Declined,
    /// Closed at the provider: it can capture nothing any more.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundStatus {
    Requested,
    Completed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub number: i32,
    pub status: AttemptStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<String>,
    /// The provider's decline code. Customers read some of them, such as that of a stolen card, as `generic_decline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub id: Uuid,
    pub total: Money,
    pub status: RefundStatus,
    pub created_at: Timestamp,
}

/// One line of the payment's history, for staff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    pub at: Timestamp,
    pub entry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub id: Uuid,
    pub reservation_id: Uuid,
    pub status: PaymentStatus,
    /// What is charged; `credit` and `waived` are the rest of the order's price.
    pub total: Money,
    /// The reservation whose place the paid one takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// The money of that reservation, which pays for a part of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Money>,
    /// What is left to pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Money>,
    /// The provider's page, while an attempt without a token waits there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout_url: Option<String>,
    pub expires_at: Timestamp,
    pub attempts: Vec<Attempt>,
    pub refunds: Vec<Refund>,
    #[serde(default)]
    pub disputes: Vec<Dispute>,
    /// Why a person must look; only for ADMIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<String>,
    /// Only for ADMIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<LogEntry>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// With `paymentMethod` (a provider token) it is charged at once; without one a hosted page is opened. Where nothing is due
/// it has succeeded at once, with or without one. Needs an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pay {
    pub reservation_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
}

impl Request for Pay {
    const SUBJECT: &'static str = "rpc.payment.pay";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = Payment;
    fn validate(&self, fields: &mut Fields) {
        if let Some(token) = &self.payment_method {
            let clean = token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            let sized = (1..=255).contains(&token.len());
            fields.check(clean && sized, "paymentMethod", Rule::PaymentMethod);
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetPayment {
    pub id: Uuid,
}

impl Request for GetPayment {
    const SUBJECT: &'static str = "rpc.payment.get";
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
    type Answer = Payment;
}

/// Sent by a saga whose hold is over: closes everything that is open at the provider and answers whether money can still
/// arrive. Harmless when repeated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndPayment {
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
}

impl Request for EndPayment {
    const SUBJECT: &'static str = "rpc.payment.end";
    const ACCESS: Access = Access::Internal;
    type Answer = PaymentEnd;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum PaymentEnd {
    /// Nothing was captured, and nothing can be captured any more.
    Over,
    /// The money was captured; `payment.success` is published too.
    Captured { success: PaymentSuccess },
    /// The provider has not answered yet; send the request again.
    Unknown,
}

/// The state of a refund that a saga has requested. Payment owns the refund until it settles; then `refund.completed` or
/// `refund.failed` is published too.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetRefund {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
}

impl Request for GetRefund {
    const SUBJECT: &'static str = "rpc.payment.get_refund";
    const ACCESS: Access = Access::Internal;
    type Answer = RefundAnswer;
}

/// `version` is the payment's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum RefundAnswer {
    Requested {
        version: i64,
    },
    Completed {
        version: i64,
    },
    Failed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        version: i64,
    },
    /// Payment has not received `refund.requested` yet; the stream delivers it again.
    Unknown,
}

/// Whether disputes hold or took money of these captures. Sent by a saga before it takes a credit over.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AreDisputed {
    pub captures: Vec<CreditedCapture>,
}

impl Request for AreDisputed {
    const SUBJECT: &'static str = "rpc.payment.are_disputed";
    const ACCESS: Access = Access::Internal;
    type Answer = Disputed;
    fn validate(&self, fields: &mut Fields) {
        fields.count(self.captures.len(), 1..=CREDITED_CAPTURES_MAX, "captures", "captures");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Disputed {
    pub disputed: bool,
}

/// The provider's webhook: the raw body (base64, so that it arrives byte for byte) and its signature header.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    pub body: String,
    pub signature: String,
}

impl Request for Webhook {
    const SUBJECT: &'static str = "rpc.payment.webhook";
    const ACCESS: Access = Access::Public;
    type Answer = ();
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    NoSuchPayment,
    /// The provider declined the card; the seats stay held. `code` is the decline code as customers read it.
    CardDeclined {
        code: String,
    },
    UnknownPaymentMethod,
    /// Too many direct charges of the order or the account were declined: only the hosted page is left.
    DeclinesLimit,
    AlreadyPaid,
    PaymentOver,
    /// Another request for this payment is running.
    AttemptRunning,
    /// The provider did not answer in time; payment finds out the outcome later.
    ProviderAway,
    BadSignature,
    BadWebhook,
    NoSuchTimeZone,
    /// No money was captured for the order, so that there is nothing to receipt.
    NotPaid,
    /// The receipt is made within seconds.
    ReceiptNotReady,
    /// The order was paid before receipts were made.
    NoReceipts,
    /// The receipts are made out to another buyer.
    BuyerSet,
    IdempotencyKeyMissing,
    IdempotencyMismatch,
    IdempotencyRunning,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchPayment => Problem::not_found("payment"),
            Rejection::CardDeclined { code } => {
                let detail =
                    format!("The card was declined ({code}). Your seats are still held; try another card.");
                Problem::new(402, "card-declined", detail)
            }
            Rejection::UnknownPaymentMethod => Problem::invalid_field("paymentMethod", Rule::PaymentMethod),
            Rejection::DeclinesLimit => {
                let detail = "Too many cards were declined. Pay on the provider's page: send the request without \
                    paymentMethod.";
                Problem::new(409, "declines-limit", detail)
            }
            Rejection::AlreadyPaid => Problem::new(409, "already-paid", "The reservation is already paid."),
            Rejection::PaymentOver => {
                Problem::new(409, "payment-over", "The reservation can no longer be paid.")
            }
            Rejection::AttemptRunning => {
                Problem::new(409, "payment-running", "A payment for this reservation is under way.")
                    .with_retry_after(1)
            }
            Rejection::ProviderAway => Problem::unavailable(
                "The payment provider did not answer. We are finding out; look at the reservation.",
            ),
            Rejection::BadSignature => Problem::new(
                400,
                "bad-signature",
                "The signature is missing, wrong, or older than five minutes.",
            ),
            Rejection::BadWebhook => {
                Problem::new(400, "bad-webhook", "The signed body is not a provider event.")
            }
            Rejection::NoSuchTimeZone => Problem::invalid_field("timeZone", Rule::TimeZone),
            Rejection::NotPaid => {
                Problem::new(409, "not-paid", "No money was paid for this order, so that it has no receipt.")
            }
            Rejection::ReceiptNotReady => {
                Problem::new(404, "receipt-not-ready", "The receipt is being made. Ask again in a moment.")
                    .with_retry_after(5)
            }
            Rejection::NoReceipts => Problem::not_found("receipt"),
            Rejection::BuyerSet => {
                Problem::new(409, "buyer-set", "The receipts of this order are made out to another buyer.")
            }
            Rejection::IdempotencyKeyMissing => {
                Problem::new(400, "idempotency-key-missing", "The header Idempotency-Key is required here.")
            }
            Rejection::IdempotencyMismatch => super::reservation::idempotency_mismatch(),
            Rejection::IdempotencyRunning => {
                let detail = "The first request with this Idempotency-Key is still running.";
                Problem::new(409, "idempotency-running", detail).with_retry_after(1)
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentInitiated {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub checkout_url: Option<String>,
    pub expires_at: Timestamp,
    /// The payment's version, as in its other events: an event of an older or equal version has nothing new.
    #[serde(default)]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentSuccess {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub total: Money,
    pub provider: String,
    pub provider_ref: String,
    pub paid_at: Timestamp,
    #[serde(default)]
    pub version: i64,
}

/// This payment is over: nothing was captured and nothing will be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed {
    pub payment_id: Uuid,
    pub reservation_id: Uuid,
    pub code: String,
    pub reason: String,
    #[serde(default)]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundCompleted {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    #[serde(default)]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundFailed {
    pub refund_id: Uuid,
    pub reservation_id: Uuid,
    pub payment_id: Uuid,
    pub total: Money,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default)]
    pub version: i64,
}

events! {
    PaymentInitiated => "payment.initiated",
    PaymentSuccess => "payment.success",
    PaymentFailed => "payment.failed",
    PaymentDisputed => "payment.disputed",
    RefundCompleted => "refund.completed",
    RefundFailed => "refund.failed",
}

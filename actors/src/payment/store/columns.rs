//! How the model's words are spelled in columns.

use bus::contract::payment::PaymentStatus;
use bus::contract::reservation::RefundStatus;
use time::OffsetDateTime;

use super::super::model::{Kind, Stage, State};

/// Stage, code, provider reference, time of payment.
pub fn stage_columns(stage: &Stage) -> (&'static str, Option<&str>, Option<&str>, Option<OffsetDateTime>) {
    match stage {
        Stage::Payable => ("PAYABLE", None, None, None),
        Stage::Ending { code } => ("ENDING", Some(code), None, None),
        Stage::Over { code } => ("OVER", Some(code), None, None),
        Stage::Captured { provider_ref, paid_at } => {
            ("CAPTURED", None, Some(provider_ref), Some(paid_at.date_time()))
        }
    }
}

pub fn kind_columns(kind: &Kind) -> ((&'static str, Option<&str>), Option<i64>) {
    match kind {
        Kind::Token { method } => (("TOKEN", method.as_deref()), None),
        Kind::Hosted { ends_at } => (("HOSTED", None), Some(*ends_at)),
    }
}

pub fn status_name(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Open => "OPEN",
        PaymentStatus::Processing => "PROCESSING",
        PaymentStatus::Succeeded => "SUCCEEDED",
        PaymentStatus::Failed => "FAILED",
        PaymentStatus::PartiallyRefunded => "PARTIALLY_REFUNDED",
        PaymentStatus::Refunded => "REFUNDED",
    }
}

pub fn state_name(state: State) -> &'static str {
    match state {
        State::Opening => "OPENING",
        State::Open => "OPEN",
        State::Closing => "CLOSING",
        State::Captured => "CAPTURED",
        State::Declined => "DECLINED",
        State::Closed => "CLOSED",
    }
}

pub fn refund_name(status: RefundStatus) -> &'static str {
    match status {
        RefundStatus::Requested => "REQUESTED",
        RefundStatus::Completed => "COMPLETED",
        RefundStatus::Failed => "FAILED",
    }
}

//! The personal data of one person as one document, which the gateway gathers from all domains in the person's name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::auth::User;
use super::notification::Notification;
use super::payment::{Payment, Receipt};
use super::reservation::Reservation;

/// Orders and mails of one document: some megabytes at most.
pub const EXPORTED_MAX: usize = 200;

/// What is stored about a person.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonalData {
    pub exported_at: Timestamp,
    /// Absent for guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<User>,
    /// Newest first; with the token of an order only this one.
    pub orders: Vec<ExportedOrder>,
    /// Newest first.
    pub mails: Vec<Notification>,
    /// There are more orders or mails than the newest 200 of each.
    pub has_more: bool,
}

/// An order with its payment and its receipts and credit notes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportedOrder {
    pub reservation: Reservation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    pub receipts: Vec<Receipt>,
}

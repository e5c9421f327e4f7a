//! Requests between hosts: a reservation for a host that missed its events, claimed seats, the start of a payment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ReservationCreated, ReservationStatus};
use crate::contract::{Access, Fields, Money, Request, SeatId, Timestamp};

/// The reservation with everything that its events contain, for a host that missed them.
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

/// Showtimes that one request may name: the answer, at worst every seat of the largest halls, stays below the size of a
/// message.
pub const CLAIMED_SHOWTIMES_MAX: usize = 50;

/// Which seats of these showtimes are held or sold. Movie requests them before it changes a showtime or a layout; true only
/// until the next sale.
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

/// Sent by the payment host in the moviegoer's name before it begins an attempt: commits that a payment has begun and extends
/// the hold once, or refuses. Repeating it with the same payment is harmless.
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
    /// The text for the purchase on the provider's page.
    pub description: String,
    pub total: Money,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Sale>,
}

/// The show that is paid for, by which reports group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub tickets: u16,
}

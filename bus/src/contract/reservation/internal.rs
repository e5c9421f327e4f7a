//! Requests between hosts: a reservation for a host that missed its events, claimed seats, the start of a payment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ReservationCreated, ReservationStatus};
use crate::contract::{Access, Fields, Money, Request, SeatId, Timestamp};

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

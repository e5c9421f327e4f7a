//! Requests between hosts: a reservation for a host that missed its events, claimed seats, the start of a payment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Credit, ReservationCreated, ReservationStatus};
use crate::contract::site::default_site;
use crate::contract::{
    Access, FeeLine, Fields, Line, Locale, Money, OrderCode, Request, Rule, SeatId, Timestamp,
};

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
        fields.check(few, "showtimeIds", Rule::Count { min: 0, max: 50, of: "showtimes" });
    }
}

/// Showtimes without a claim are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Claimed {
    pub showtimes: BTreeMap<Uuid, Vec<SeatId>>,
}

/// Showtimes that one request may name: those of a page of a list.
const COUNTED_SHOWTIMES_MAX: usize = 100;

/// How many seats of these showtimes are left. Movie requests it for lists; some seconds later it may be different.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountFreeSeats {
    pub showtime_ids: Vec<Uuid>,
}

impl Request for CountFreeSeats {
    const SUBJECT: &'static str = "rpc.reservation.free_seats";
    const ACCESS: Access = Access::Internal;
    type Answer = FreeSeats;
    fn validate(&self, fields: &mut Fields) {
        let few = self.showtime_ids.len() <= COUNTED_SHOWTIMES_MAX;
        fields.check(few, "showtimeIds", Rule::Count { min: 0, max: 100, of: "showtimes" });
    }
}

/// Showtimes that reservation does not know yet are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FreeSeats {
    pub showtimes: BTreeMap<Uuid, SeatCount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeatCount {
    /// Seats that have a price.
    pub capacity: u64,
    /// Those of them that are neither held nor sold.
    pub free: u64,
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
    const ACCESS: Access = Access::Guest;
    const BY_ORDER_TOKEN: bool = true;
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
    /// What is charged.
    pub total: Money,
    /// What pays for the rest of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Sale>,
    #[serde(default)]
    pub seats: Vec<SeatId>,
    /// With the fees, what the total is for; as receipts show it.
    #[serde(default)]
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fees: Vec<FeeLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<OrderCode>,
    /// The reservation whose place this one takes once it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// The language that the order was made in.
    #[serde(default)]
    pub locale: Locale,
    /// The site that sells it.
    #[serde(default = "default_site")]
    pub site_id: Uuid,
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

//! Ticket types: adult, child, student. Requests to list and to change them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

use super::SeatKind;
use crate::contract::tariff::{Channel, ReportedAs};
use crate::contract::{Access, Fields, Names, Page, Paging, Request, Rule, TariffCode, Timestamp};

/// A kind of visitor with a price of its own. A tariff copies it: a change counts for showtimes that get a tariff afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketType {
    pub id: Uuid,
    #[serde(flatten)]
    pub of: TicketTypeFields,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What staff say of a ticket type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketTypeFields {
    /// Unique, and the same forever.
    pub code: TariffCode,
    pub name: Names,
    /// What the visitor shows at the door, such as a student card.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub proof: Names,
    #[serde(default)]
    pub reported_as: ReportedAs,
    /// Where it may sit; every kind when empty.
    #[serde(default)]
    pub seat_kinds: Vec<SeatKind>,
    /// Where it is sold; at least one.
    pub channels: Vec<Channel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_per_order: Option<u16>,
    /// An order may have at most as many of this type as it has of that one: the free companion of a disabled visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accompanies: Option<TariffCode>,
    /// The place in lists, from 0. The first active type that is sold on the web and accompanies none is the default type.
    #[serde(default)]
    pub position: u16,
    /// Whether new tariffs have it.
    pub active: bool,
}

impl TicketTypeFields {
    fn validate(&self, fields: &mut Fields) {
        fields.check(!self.name.is_empty(), "name", Rule::Required);
        self.name.validate(fields, "name");
        self.proof.validate(fields, "proof");
        let kinds: HashSet<_> = self.seat_kinds.iter().collect();
        fields.check(kinds.len() == self.seat_kinds.len(), "seatKinds", Rule::Twice);
        fields.check(!kinds.contains(&SeatKind::Gap), "seatKinds", Rule::Gap);
        fields.count(self.channels.len(), 1..=3, "channels", "channels");
        let channels: HashSet<_> = self.channels.iter().collect();
        fields.check(channels.len() == self.channels.len(), "channels", Rule::Twice);
        if let Some(most) = self.most_per_order {
            fields.range(most, 1..=100, "mostPerOrder");
        }
        let itself = self.accompanies.as_ref() == Some(&self.code);
        fields.check(!itself, "accompanies", Rule::Accompanies);
        fields.range(self.position, 0..=999, "position");
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CreateTicketType(pub TicketTypeFields);

impl Request for CreateTicketType {
    const SUBJECT: &'static str = "rpc.movie.create_ticket_type";
    const ACCESS: Access = Access::Admin;
    type Answer = TicketType;
    fn validate(&self, fields: &mut Fields) {
        self.0.validate(fields);
    }
}

/// Replaces all fields but the code, which must be the same. Refused where the row has another version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateTicketType {
    pub id: Uuid,
    pub version: i64,
    pub of: TicketTypeFields,
}

impl Request for UpdateTicketType {
    const SUBJECT: &'static str = "rpc.movie.update_ticket_type";
    const ACCESS: Access = Access::Admin;
    type Answer = TicketType;
    fn validate(&self, fields: &mut Fields) {
        self.of.validate(fields);
    }
}

/// Refused while a price card has the type, or another type accompanies it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteTicketType {
    pub id: Uuid,
}

impl Request for DeleteTicketType {
    const SUBJECT: &'static str = "rpc.movie.delete_ticket_type";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

/// By position. Public, since the door shows what a visitor must show.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ListTicketTypes {
    pub paging: Paging,
}

impl Request for ListTicketTypes {
    const SUBJECT: &'static str = "rpc.movie.list_ticket_types";
    const ACCESS: Access = Access::Public;
    type Answer = Page<TicketType>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

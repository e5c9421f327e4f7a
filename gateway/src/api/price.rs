//! REST of prices: ticket types and price cards of the movie domain, and what tickets of a showtime cost, which the
//! reservation domain answers.
//!
//! Ticket types and tariffs are public; price cards are for ADMIN.

use std::sync::Arc;

use bus::contract::Page;
use bus::contract::movie::{
    CreatePriceCard, CreateTicketType, DeletePriceCard, DeleteTicketType, ListPriceCards, ListTicketTypes,
    MatchPriceCard, PriceCard, PriceCardFields, PriceCardMatch, TicketType, TicketTypeFields,
    UpdatePriceCard, UpdateTicketType, Weekday,
};
use bus::contract::reservation::{GetTariff, QuoteTickets, ShownTariff};
use bus::contract::tariff::Quote;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Body, Caller, Done, Of, OfShowtime, Rest};
use crate::problem::Refused;
use crate::replacement::Replacement;

pub struct Prices {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Prices {
    /// All ticket types
    ///
    /// By `position`.
    #[oai(path = "/v1/ticket-types", method = "get")]
    async fn list_ticket_types(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<TicketType>> {
        self.hosts.forward(&caller, ListTicketTypes { paging: paging(page.0, page_size.0) }).await
    }

    /// Add a ticket type
    #[oai(path = "/v1/ticket-types", method = "post")]
    async fn create_ticket_type(
        &self,
        caller: Caller,
        body: Body<CreateTicketType>,
    ) -> Answered<TicketType, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Replace a ticket type
    ///
    /// All fields, and the `version` that they replace: 409 `version-changed` where it is not the current one. The `code` stays.
    /// Showtimes that are scheduled keep the type as it was.
    #[oai(path = "/v1/ticket-types/:id", method = "put")]
    async fn update_ticket_type(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Replacement<TicketTypeFields>,
    ) -> Answered<TicketType> {
        let request = UpdateTicketType { id: id.0.0, version: body.version, of: body.of };
        self.hosts.forward(&caller, request).await
    }

    /// Delete a ticket type
    ///
    /// 409 while a price card has it or another type accompanies it. A type that is not `active` is in no new tariff.
    #[oai(path = "/v1/ticket-types/:id", method = "delete")]
    async fn delete_ticket_type(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&DeleteTicketType { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
    }

    /// All price cards
    ///
    /// By `position` and name: of several that apply to a showtime, the first is taken.
    #[oai(path = "/v1/price-cards", method = "get")]
    async fn list_price_cards(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<PriceCard>> {
        self.hosts.forward(&caller, ListPriceCards { paging: paging(page.0, page_size.0) }).await
    }

    /// Add a price card
    #[oai(path = "/v1/price-cards", method = "post")]
    async fn create_price_card(
        &self,
        caller: Caller,
        body: Body<CreatePriceCard>,
    ) -> Answered<PriceCard, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// The card of a time
    ///
    /// The card that a showtime would get that begins on this day at this time, by the auditorium's clock.
    #[oai(path = "/v1/price-cards/match", method = "get")]
    async fn match_price_card(
        &self,
        caller: Caller,
        weekday: Query<Of<Weekday>>,
        /// `HH:MM`
        time: Query<String>,
    ) -> Answered<PriceCardMatch> {
        let request = MatchPriceCard { weekday: weekday.0.0, time: time.0 };
        self.hosts.forward(&caller, request).await
    }

    /// Replace a price card
    ///
    /// All fields, and the `version` that they replace: 409 `version-changed` where it is not the current one. Showtimes that are
    /// scheduled keep their prices.
    #[oai(path = "/v1/price-cards/:id", method = "put")]
    async fn update_price_card(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Replacement<PriceCardFields>,
    ) -> Answered<PriceCard> {
        let request = UpdatePriceCard { id: id.0.0, version: body.version, of: body.of };
        self.hosts.forward(&caller, request).await
    }

    /// Delete a price card
    ///
    /// Showtimes that are scheduled keep their prices.
    #[oai(path = "/v1/price-cards/:id", method = "delete")]
    async fn delete_price_card(&self, caller: Caller, id: Path<Of<Uuid>>) -> Result<Done<204>, Refused> {
        self.hosts.request(&DeletePriceCard { id: id.0.0 }, &caller.0).await?;
        Ok(Done)
    }
}

pub struct Quotes {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Reservation")]
impl Quotes {
    /// What tickets cost
    ///
    /// The ticket types that are sold here, the default type first. `prices` have surcharges, fees of a ticket and tax in them: with
    /// `orderFee` they add up to the total of an order. A showtime with plain prices has one type, STANDARD, without a name.
    #[oai(path = "/v1/showtimes/:id/tariff", method = "get")]
    async fn tariff(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<ShownTariff> {
        self.hosts.forward(&caller, GetTariff { showtime_id: id.0.0 }).await
    }

    /// What an order would cost
    ///
    /// The lines, fees, taxes and total of these tickets now, whether or not the seats are free; nothing is held.
    #[oai(path = "/v1/showtimes/:id/quote", method = "post")]
    async fn quote(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<QuoteTickets, OfShowtime>,
    ) -> Answered<Quote> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }
}

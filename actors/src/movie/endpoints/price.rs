//! Requests about ticket types and price cards: what new tariffs are made of.
//!
//! Staff change a whole row, over the version that they have seen. A tariff is a copy: no change here touches a showtime.

use std::sync::Arc;

use bus::contract::TariffCode;
use bus::contract::movie::{
    CreatePriceCard, CreateTicketType, DeletePriceCard, DeleteTicketType, ListPriceCards, ListTicketTypes,
    MatchPriceCard, PriceCard, PriceCardFields, PriceCardMatch, Rejection, TicketType, UpdatePriceCard,
    UpdateTicketType,
};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::{Decision, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::store::{self, Write};
use crate::movie::tariff::Pricing;

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| create_type(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update_type(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| delete_type(env, call).boxed())).await?;
    server.serve_with(env, list_types).await?;
    server.serve(writing(env, |env, call| create_card(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update_card(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| delete_card(env, call).boxed())).await?;
    server.serve_with(env, list_cards).await?;
    server.serve_with(env, match_card).await
}

async fn create_type(env: &Env, call: &Call<CreateTicketType>) -> Result<Decision, Problem> {
    let of = call.request.0.clone();
    env.pricing().await?.check_accompanied(of.accompanies.as_ref())?;
    let now = env.clock.now();
    let made = TicketType { id: Uuid::now_v7(), of, version: 1, created_at: now, updated_at: now };
    Decision::new(&made, Write::TicketType(made.clone()), vec![])
}

async fn update_type(env: &Env, call: &Call<UpdateTicketType>) -> Result<Decision, Problem> {
    let UpdateTicketType { id, version, of } = call.request.clone();
    let pricing = env.pricing().await?;
    let current = pricing.find_type(id)?;
    if current.version != version {
        return Err(Rejection::VersionChanged.into());
    }
    if current.of.code != of.code {
        return Err(Rejection::TicketTypeCodeChanged.into());
    }
    pricing.check_accompanied(of.accompanies.as_ref())?;
    let (version, updated_at) = (version + 1, env.clock.now());
    let changed = TicketType { of, version, updated_at, ..current.clone() };
    Decision::new(&changed, Write::TicketType(changed.clone()), vec![])
}

async fn delete_type(env: &Env, call: &Call<DeleteTicketType>) -> Result<Decision, Problem> {
    let current = env.pricing().await?.find_type(call.request.id)?.clone();
    Decision::new(&(), Write::TicketTypeDeleted(current), vec![])
}

async fn list_types(env: Arc<Env>, call: Call<ListTicketTypes>) -> Answered {
    json(&store::list_ticket_types(&env.pool, &call.request.paging).await.map_err(read_failure)?)
}

async fn create_card(env: &Env, call: &Call<CreatePriceCard>) -> Result<Decision, Problem> {
    let of = call.request.0.clone();
    env.pricing().await?.check_priced(&of)?;
    let now = env.clock.now();
    let made = PriceCard { id: Uuid::now_v7(), of, version: 1, created_at: now, updated_at: now };
    Decision::new(&made, Write::PriceCard(made.clone()), vec![])
}

async fn update_card(env: &Env, call: &Call<UpdatePriceCard>) -> Result<Decision, Problem> {
    let UpdatePriceCard { id, version, of } = call.request.clone();
    let pricing = env.pricing().await?;
    let current = pricing.find_card(id)?;
    if current.version != version {
        return Err(Rejection::VersionChanged.into());
    }
    pricing.check_priced(&of)?;
    let (version, updated_at) = (version + 1, env.clock.now());
    let changed = PriceCard { of, version, updated_at, ..current.clone() };
    Decision::new(&changed, Write::PriceCard(changed.clone()), vec![])
}

async fn delete_card(env: &Env, call: &Call<DeletePriceCard>) -> Result<Decision, Problem> {
    let current = env.pricing().await?.find_card(call.request.id)?.clone();
    Decision::new(&(), Write::PriceCardDeleted(current), vec![])
}

async fn list_cards(env: Arc<Env>, call: Call<ListPriceCards>) -> Answered {
    json(&store::list_price_cards(&env.pool, &call.request.paging).await.map_err(read_failure)?)
}

async fn match_card(env: Arc<Env>, call: Call<MatchPriceCard>) -> Answered {
    let pricing = env.pricing().await?;
    let card = pricing.applying(call.request.weekday, &call.request.time).cloned();
    json(&PriceCardMatch { card })
}

impl Env {
    pub(super) async fn pricing(&self) -> Result<Pricing, Problem> {
        Ok(store::pricing(&self.pool).await.map_err(read_failure)?)
    }
}

impl Pricing {
    fn find_type(&self, id: Uuid) -> Result<&TicketType, Rejection> {
        self.types.iter().find(|of| of.id == id).ok_or(Rejection::NoSuchTicketType)
    }

    fn find_card(&self, id: Uuid) -> Result<&PriceCard, Rejection> {
        self.cards.iter().find(|card| card.id == id).ok_or(Rejection::NoSuchPriceCard)
    }

    fn has_type(&self, code: &TariffCode) -> bool {
        self.types.iter().any(|of| of.of.code == *code)
    }

    fn check_accompanied(&self, code: Option<&TariffCode>) -> Result<(), Rejection> {
        let is_known = code.is_none_or(|code| self.has_type(code));
        if is_known { Ok(()) } else { Err(Rejection::UnknownAccompanied) }
    }

    fn check_priced(&self, card: &PriceCardFields) -> Result<(), Rejection> {
        let unknown: Vec<TariffCode> =
            card.prices.keys().filter(|code| !self.has_type(code)).cloned().collect();
        if unknown.is_empty() { Ok(()) } else { Err(Rejection::UnknownTicketTypes(unknown)) }
    }
}

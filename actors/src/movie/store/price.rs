//! SQL of ticket types and price cards. A card's prices have a row for each ticket type, so that a foreign key keeps the types
//! that cards use.

use bus::contract::movie::{PriceCard, PriceCardFields, TicketType, TicketTypeFields};
use bus::contract::{Page, Paging};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};

use super::page::{Listing, timestamp};
use super::{Result, expect};
use crate::movie::tariff::Pricing;

const TYPES_ORDER: &str = "(fields->>'position')::int, code, id";
const CARDS_ORDER: &str = "(fields->>'position')::int, lower(fields->>'name'), id";

/// Cards with their fields as in the contract.
macro_rules! cards {
    () => {
        "select c.id, c.version, c.created_at, c.updated_at, c.fields || jsonb_build_object('prices',
           coalesce((select jsonb_object_agg(p.ticket_type, p.prices) from price_card_prices p where p.card_id = c.id),
                    '{}')) as fields
         from price_cards c"
    };
}

pub async fn put_ticket_type(db: &mut PgConnection, of: &TicketType) -> Result<()> {
    let query = if of.version == 1 {
        "insert into ticket_types (id, fields, created_at, updated_at, version) values ($1, $2, $3, $4, $5)"
    } else {
        "update ticket_types set fields = $2, created_at = $3, updated_at = $4, version = $5
         where id = $1 and version = $5 - 1"
    };
    let put = sqlx::query(query)
        .bind(of.id)
        .bind(Json(&of.of))
        .bind(of.created_at.date_time())
        .bind(of.updated_at.date_time())
        .bind(of.version);
    expect(put.execute(db).await?.rows_affected(), 1)
}

pub async fn delete_ticket_type(db: &mut PgConnection, of: &TicketType) -> Result<()> {
    let gone =
        sqlx::query("delete from ticket_types where id = $1 and version = $2").bind(of.id).bind(of.version);
    expect(gone.execute(db).await?.rows_affected(), 1)
}

pub async fn put_price_card(db: &mut PgConnection, card: &PriceCard) -> Result<()> {
    let query = if card.version == 1 {
        "insert into price_cards (id, fields, created_at, updated_at, version)
         values ($1, $2::jsonb - 'prices', $3, $4, $5)"
    } else {
        "update price_cards set fields = $2::jsonb - 'prices', created_at = $3, updated_at = $4, version = $5
         where id = $1 and version = $5 - 1"
    };
    let put = sqlx::query(query)
        .bind(card.id)
        .bind(Json(&card.of))
        .bind(card.created_at.date_time())
        .bind(card.updated_at.date_time())
        .bind(card.version);
    expect(put.execute(&mut *db).await?.rows_affected(), 1)?;
    if card.version > 1 {
        sqlx::query("delete from price_card_prices where card_id = $1")
            .bind(card.id)
            .execute(&mut *db)
            .await?;
    }
    sqlx::query(
        "insert into price_card_prices (card_id, ticket_type, prices)
         select $1, ticket_type, prices from jsonb_each($2) as priced (ticket_type, prices)",
    )
    .bind(card.id)
    .bind(Json(&card.of.prices))
    .execute(db)
    .await?;
    Ok(())
}

pub async fn delete_price_card(db: &mut PgConnection, card: &PriceCard) -> Result<()> {
    let gone = sqlx::query("delete from price_cards where id = $1 and version = $2")
        .bind(card.id)
        .bind(card.version);
    expect(gone.execute(db).await?.rows_affected(), 1)
}

pub async fn list_ticket_types<'e>(
    db: impl PgExecutor<'e>,
    paging: &Paging,
) -> sqlx::Result<Page<TicketType>> {
    Listing::new("select * from ticket_types").page(db, paging, TYPES_ORDER, "", ticket_type).await
}

pub async fn list_price_cards<'e>(db: impl PgExecutor<'e>, paging: &Paging) -> sqlx::Result<Page<PriceCard>> {
    Listing::new(cards!()).page(db, paging, CARDS_ORDER, "", price_card).await
}

/// All types and cards as they are at one instant: two statements could read a card of before a change and types of after it.
pub async fn pricing<'e>(db: impl PgExecutor<'e>) -> sqlx::Result<Pricing> {
    let rows = sqlx::query(concat!(
        "select is_card, id, fields, version, created_at, updated_at
         from (select false as is_card, id, fields, version, created_at, updated_at from ticket_types
               union all
               select true, id, fields, version, created_at, updated_at from (",
        cards!(),
        ") as cards) as pricing
         order by is_card, (fields->>'position')::int, coalesce(fields->>'code', lower(fields->>'name')), id"
    ))
    .fetch_all(db)
    .await?;
    let mut pricing = Pricing::default();
    for row in &rows {
        if row.try_get("is_card")? {
            pricing.cards.push(price_card(row)?);
        } else {
            pricing.types.push(ticket_type(row)?);
        }
    }
    Ok(pricing)
}

fn ticket_type(row: &PgRow) -> sqlx::Result<TicketType> {
    let Json(of): Json<TicketTypeFields> = row.try_get("fields")?;
    Ok(TicketType {
        id: row.try_get("id")?,
        of,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn price_card(row: &PgRow) -> sqlx::Result<PriceCard> {
    let Json(of): Json<PriceCardFields> = row.try_get("fields")?;
    Ok(PriceCard {
        id: row.try_get("id")?,
        of,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

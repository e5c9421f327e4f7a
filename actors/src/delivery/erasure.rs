//! Removes a person from the tables that every domain has: the answers of idempotency keys and the archive of published events.
//!
//! Invariant: an event keeps its id, subject and place, so that the relay and replays find it; its addresses and names become
//! empty. A domain that handles `user.erased` first remembers the user, so that nothing personal is stored any more, then removes
//! these traces, and blanks its rows last, so that an interrupted erasure finds the addresses again. Each step may be repeated.

use std::sync::LazyLock;
use std::time::Duration;

use bus::Failure;
use bus::contract::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::statements::archive;
use super::{read_failure, within};

/// Longest for one day of the archive: a busy day has some hundred thousand events, which are read as JSON.
const DAY_MAX: Duration = Duration::from_secs(60);
const ANSWERS_MAX: Duration = Duration::from_secs(20);

/// What a domain has of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// The user; also the guests whose orders the user took over, where that is known.
    pub user_ids: Vec<Uuid>,
    pub reservation_ids: Vec<Uuid>,
    /// As they are stored in this domain.
    pub addresses: Vec<String>,
    /// Likewise, of the customers of orders.
    pub names: Vec<String>,
}

/// The subjects of events with an address.
static SUBJECTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let schemas = bus::contract::event_schemas().into_iter();
    let with_address =
        schemas.filter(|(_, schema)| schema.clone().to_value().pointer("/properties/email").is_some());
    with_address.map(|(subject, _)| subject).collect()
});

/// From here on the domain stores nothing personal of the user: its statements look the user up in its table `erased_users`.
pub async fn remember_erased(pool: &PgPool, user: Uuid, at: Timestamp) -> Result<(), Failure> {
    let sql = "insert into erased_users (user_id, at) values ($1, $2) on conflict do nothing";
    let written = sqlx::query(sql).bind(user).bind(at.date_time()).execute(pool).await;
    written.map(drop).map_err(read_failure)
}

/// Removes the person's own answers, the person's addresses from the answers of others, and both addresses and names from
/// archived events. Repeating it changes nothing.
pub async fn erase_traces(pool: &PgPool, person: &Person) -> Result<(), Failure> {
    within(ANSWERS_MAX, erase_answers(pool, person)).await.map_err(read_failure)?;
    let days = within(ANSWERS_MAX, async { archive::days(&mut *pool.acquire().await?).await });
    let days = days.await.map_err(read_failure)?;
    for day in days {
        within(DAY_MAX, erase_events(pool, day, person)).await.map_err(read_failure)?;
    }
    Ok(())
}

async fn erase_answers(pool: &PgPool, person: &Person) -> sqlx::Result<()> {
    // The token of an order names the order where others name their user.
    sqlx::query("delete from idempotency where user_id = any($1) or user_id = any($2)")
        .bind(&person.user_ids)
        .bind(&person.reservation_ids)
        .execute(pool)
        .await?;
    let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let addresses = person.addresses.iter().map(|address| (quoted(address), "\"\""));
    // Only as the value of this field: a film may have the name of a person.
    let names = person.names.iter().map(|name| (format!("\"name\":{}", quoted(name)), "\"name\":\"\""));
    for (text, nothing) in addresses.chain(names) {
        sqlx::query(
            "update idempotency set response = convert_to(replace(convert_from(response, 'UTF8'), $1, $2), 'UTF8')
             where position(convert_to($1, 'UTF8') in response) > 0",
        )
        .bind(text)
        .bind(nothing)
        .execute(pool)
        .await?;
    }
    Ok(())
}

/// Blanks the events of one day that name the user or an order and have an address.
async fn erase_events(pool: &PgPool, day: time::Date, person: &Person) -> sqlx::Result<()> {
    const THEIRS: &str = "(event #>> '{payload,email}' <> '' and (event #>> '{payload,userId}' = any($3)
        or event #>> '{payload,guestId}' = any($3) or event #>> '{payload,reservationId}' = any($4)))";
    let statement = format!(
        "update outbox set events = (
           select json_agg(
             case when {THEIRS} then (event::jsonb || jsonb_build_object('payload', (
               select jsonb_object_agg(key,
                 case when key in ('email', 'previousEmail', 'name') then '\"\"'::jsonb else value end)
               from jsonb_each(event::jsonb -> 'payload'))))::json
             else event end order by nth)
           from json_array_elements(events) with ordinality as kept (event, nth))
         where day = $1 and subjects && $2
           and exists (select from json_array_elements(events) as kept (event) where {THEIRS})"
    );
    let texts = |ids: &[Uuid]| ids.iter().map(Uuid::to_string).collect::<Vec<_>>();
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(day)
        .bind(&*SUBJECTS)
        .bind(texts(&person.user_ids))
        .bind(texts(&person.reservation_ids))
        .execute(pool)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_searched_for_every_event_with_an_address() {
        for subject in ["reservation.created", "reservation.readdressed", "user.registered", "user.merged"] {
            assert!(SUBJECTS.contains(&subject), "{subject}");
        }
        for subject in ["payment.success", "movie.created", "user.erased"] {
            assert!(!SUBJECTS.contains(&subject), "{subject}");
        }
    }
}

//! The steps of a batch as parts of one statement: showtimes' sequences, reservations with their histories, claims, tickets.
//!
//! Invariant: every part that touches a claim names the reservation that owns it, or inserts where nobody does.
//! Invariant: a claim changes only in a transaction that holds its showtime's lock and raises its sequence. The sequence rises
//! also where seats are only sold, since the seat map shows that.

use std::collections::{BTreeMap, HashSet};

use bus::contract::reservation::Rejection;
use bus::contract::{SeatId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Placed, Step, ticket_log};
use crate::delivery::{Loss, Statement};
use crate::reservation::model::{Reservation, Seats};
use crate::reservation::saga::{MERGE, READDRESS, SET_CUSTOMER, Saga};
use crate::seat_column::seat_column;

/// A part that depends on this one runs after the showtimes are locked.
const AFTER_SHOWTIMES: &str = "(select count(*) from raised) >= 0";
/// And after seats were freed, so that they may be claimed again in the same batch.
const AFTER_FREED: &str = "(select count(*) from freed) >= 0";

/// The rows that the parts found, where they differ from the expected ones.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    updated: HashSet<Uuid>,
    made: HashSet<Uuid>,
    claimed: HashSet<(Uuid, SeatId)>,
    freed: usize,
    sold: usize,
}

pub fn of(steps: &[Placed<'_>]) -> Statement {
    let mut statement = Statement::new(steps.iter().any(|step| step.takes()));
    let showtimes = ticket_log::counts(steps);
    let mut found = Vec::new();
    let mut after = "true".to_owned();
    if !showtimes.is_empty() {
        raise_sequences(&mut statement, &showtimes);
        statement.written =
            Some("(select coalesce(json_object_agg(id, sequence), '{}'::json) from raised)".to_owned());
        after = AFTER_SHOWTIMES.to_owned();
    }
    let (new, old): (Vec<&Placed>, Vec<&Placed>) = steps.iter().partition(|step| step.is_new());
    if !old.is_empty() {
        update_reservations(&mut statement, &old, &after);
        found.push("'updated', (select coalesce(json_agg(id), '[]'::json) from updated)");
    }
    if !new.is_empty() {
        insert_reservations(&mut statement, &new, &after);
        found.push("'made', (select coalesce(json_agg(id), '[]'::json) from made)");
    }
    let freed = seats(steps, Step::freed);
    if !freed.is_empty() {
        free_claims(&mut statement, &freed, &after);
        found.push("'freed', (select count(*) from freed)");
        after = format!("{after} and {AFTER_FREED}");
    }
    let claimed =
        seats(steps, |step| step.claimed().map(|seat| (step.reservation.showtime_id, seat)).collect());
    if !claimed.is_empty() {
        insert_claims(&mut statement, &claimed, &after);
        found.push("'claimed', (select coalesce(json_agg(json_build_array(showtime_id, seat)), '[]'::json) from claimed)");
    }
    ticket_log::write(&mut statement, steps);
    if expect_sold(&mut statement, steps) {
        found.push("'sold', (select seats from sold)");
    }
    statement.found = Some(format!("json_build_object({})", found.join(", ")));
    statement
}

/// Which rows were not found as expected, and why.
pub fn lost(steps: &[Placed<'_>], found: &Value) -> Vec<(usize, Loss<Rejection>)> {
    let found = Found::deserialize(found).unwrap_or_default();
    let mut lost: Vec<(usize, Loss<Rejection>)> = Vec::new();
    for step in steps {
        if !step.is_new() && !found.updated.contains(&step.reservation.id) {
            lost.push((step.row, Loss::Stale));
            continue;
        }
        if step.is_new() && !found.made.contains(&step.reservation.id) {
            lost.push((step.row, code_taken(step)));
            continue;
        }
        let showtime = step.reservation.showtime_id;
        let taken = step.claimed().filter(|seat| !found.claimed.contains(&(showtime, (*seat).clone())));
        let mut taken: Vec<SeatId> = taken.cloned().collect();
        taken.sort_unstable();
        if !taken.is_empty() {
            lost.push((step.row, Loss::Rejected(Rejection::SeatsTaken(taken))));
        }
    }
    // A seat that its reservation should own and does not is a bug: fail as poison, so that it is noticed.
    if lost.is_empty() {
        let what =
            format!("{} claims freed and {} kept: some are not their owner's", found.freed, found.sold);
        let touches = |step: &&Placed| !step.freed().is_empty() || step.seats == Seats::Sell;
        lost.extend(steps.iter().filter(touches).map(|step| (step.row, Loss::Broken(what.clone()))));
    }
    // Of a pair one loss is enough.
    lost.sort_by_key(|(row, _)| *row);
    lost.dedup_by_key(|(row, _)| *row);
    lost
}

/// Another order has the code: the order is decided again, which draws another one. The input of an exchange has the code, so
/// it is planned again.
fn code_taken(step: &Step) -> Loss<Rejection> {
    match step.reservation.saga.exchange_of {
        Some(_) => Loss::Rejected(Rejection::PlanChanged(None)),
        None => Loss::Stale,
    }
}

/// Locks the showtimes whose seats change, in id order, raises each one's sequence once, and counts the tickets that are sold.
fn raise_sequences(statement: &mut Statement, showtimes: &BTreeMap<Uuid, i64>) {
    let ids = statement.add(showtimes.keys().copied().collect::<Vec<_>>());
    let counts = statement.add(showtimes.values().copied().collect::<Vec<_>>());
    statement.part(format!(
        "locked as (
           select id from reservation.showtimes where id = any({ids}) order by id for no key update),
         raised as (
           update reservation.showtimes as showtime
           set sequence = sequence + 1, tickets = showtime.tickets + sold.tickets
           from locked join unnest({ids}::uuid[], {counts}::bigint[]) as sold (id, tickets) using (id)
           where showtime.id = locked.id
           returning showtime.id, showtime.sequence, showtime.tickets - sold.tickets as tickets_before)"
    ));
}

fn insert_reservations(statement: &mut Statement, new: &[&Placed<'_>], after: &str) {
    let new: Vec<(&Reservation, &Placed)> = new.iter().map(|step| (&step.step.reservation, *step)).collect();
    let texts = |get: fn(&Reservation) -> String| new.iter().map(|(r, _)| get(r)).collect::<Vec<_>>();
    let uuids = |get: fn(&Reservation) -> Uuid| new.iter().map(|(r, _)| get(r)).collect::<Vec<_>>();
    let times =
        |get: fn(&Reservation) -> Timestamp| new.iter().map(|(r, _)| get(r).date_time()).collect::<Vec<_>>();
    let columns = [
        statement.add(uuids(|r| r.id)) + "::uuid[]",
        statement.add(texts(|r| r.code.as_str().to_owned())) + "::text[]",
        statement.add(uuids(|r| r.user_id)) + "::uuid[]",
        statement.add(texts(|r| r.email.clone())) + "::text[]",
        statement.add(uuids(|r| r.showtime_id)) + "::uuid[]",
        statement.add(uuids(|r| r.movie_id)) + "::uuid[]",
        statement.add(texts(|r| r.movie_title.clone())) + "::text[]",
        statement.add(times(|r| r.starts_at)) + "::timestamptz[]",
        statement.add(texts(|r| seat_column(&r.seats()))) + "::text[]",
        statement.add(new.iter().map(|(r, _)| r.saga.terms.total.amount).collect::<Vec<_>>()) + "::bigint[]",
        statement.add(texts(|r| r.saga.terms.total.currency.as_str().to_owned())) + "::text[]",
        statement.add(texts(|r| r.saga.status().as_str().to_owned())) + "::text[]",
        statement.add(texts(|r| checkpoint(&r.saga))) + "::text[]",
        statement.add(deadlines(new.iter().map(|(r, _)| *r))) + "::timestamptz[]",
        statement.add(times(|r| r.created_at)) + "::timestamptz[]",
        statement.add(new.iter().map(|(_, step)| step.step.network()).collect::<Vec<_>>()) + "::text[]",
        statement.add(new.iter().map(|(_, step)| entry(step)).collect::<Vec<_>>()) + "::text[]",
    ];
    statement.part(format!(
        "made as (
           insert into reservation.reservations (id, code, user_id, email, showtime_id, movie_id, movie_title, starts_at,
             seats, total, currency, version, status, checkpoint, deadline, created_at, updated_at, network, history)
           select id, code, user_id, email, showtime_id, movie_id, movie_title, starts_at,
             string_to_array(seats, ','), total, currency, 1, status, checkpoint::jsonb, deadline, created_at, created_at,
             network, array[step::json]
           from unnest({})
             as new (id, code, user_id, email, showtime_id, movie_id, movie_title, starts_at,
               seats, total, currency, status, checkpoint, deadline, created_at, network, step)
           where {after} and (email = '' or not exists (
             select from reservation.erased_users as erased where erased.user_id = new.user_id))
           on conflict on constraint one_code do nothing returning id)",
        columns.join(", ")
    ));
    let count = statement.add(new.len() as i64);
    statement.condition(format!("(select count(*) from made) = {count}"));
}

/// Later versions. Columns that only an exchange, a new address or a new owner changes are passed as JSON, null for all other steps.
fn update_reservations(statement: &mut Statement, old: &[&Placed<'_>], after: &str) {
    let reservations = || old.iter().map(|step| &step.step.reservation);
    let unpaid_ends: Vec<Option<OffsetDateTime>> = old.iter().map(|step| step.unpaid_ended_at()).collect();
    let columns = [
        statement.add(reservations().map(|r| r.id).collect::<Vec<_>>()) + "::uuid[]",
        statement.add(reservations().map(|r| r.version).collect::<Vec<_>>()) + "::bigint[]",
        statement.add(reservations().map(|r| r.saga.status().as_str()).collect::<Vec<_>>()) + "::text[]",
        statement.add(reservations().map(|r| checkpoint(&r.saga)).collect::<Vec<_>>()) + "::text[]",
        statement.add(deadlines(reservations())) + "::timestamptz[]",
        statement.add(reservations().map(|r| r.saga.needs_attention()).collect::<Vec<_>>()) + "::bool[]",
        statement.add(reservations().map(|r| r.updated_at.date_time()).collect::<Vec<_>>())
            + "::timestamptz[]",
        statement.add(unpaid_ends) + "::timestamptz[]",
        statement.add(old.iter().map(|step| entry(step)).collect::<Vec<_>>()) + "::text[]",
        statement.add(old.iter().map(|step| moved(step)).collect::<Vec<_>>()) + "::text[]",
    ];
    let expected = "kept.version = new.version - 1";
    #[cfg(feature = "planted")]
    let expected = if bus::config::planted("ignore-versions") { "true" } else { expected };
    statement.part(format!(
        "updated as (
           update reservation.reservations as kept set version = new.version, status = new.status,
             checkpoint = new.checkpoint::jsonb, deadline = new.deadline, attention = new.attention,
             updated_at = new.updated_at,
             history = (array_append(kept.history, new.step::json))[greatest(cardinality(kept.history) - 998, 1):],
             network = case when new.status = 'PENDING' then kept.network end,
             unpaid_ended_at = case when new.status = 'CANCELLED'
               then coalesce(new.unpaid_ended_at, kept.unpaid_ended_at) end,
             email = coalesce(new.moved ->> 'email', kept.email),
             user_id = coalesce((new.moved ->> 'userId')::uuid, kept.user_id),
             showtime_id = coalesce((new.moved ->> 'showtimeId')::uuid, kept.showtime_id),
             movie_id = coalesce((new.moved ->> 'movieId')::uuid, kept.movie_id),
             movie_title = coalesce(new.moved ->> 'movieTitle', kept.movie_title),
             starts_at = coalesce((new.moved ->> 'startsAt')::timestamptz, kept.starts_at),
             seats = coalesce(string_to_array(new.moved ->> 'seats', ','), kept.seats),
             total = coalesce((new.moved ->> 'total')::bigint, kept.total)
           from (select id, version, status, checkpoint, deadline, attention, updated_at, unpaid_ended_at, step,
               moved::json as moved
             from unnest({}) as new (id, version, status, checkpoint, deadline, attention, updated_at, unpaid_ended_at,
               step, moved)) as new
           where kept.id = new.id and {expected} and {after}
           returning kept.id)",
        columns.join(", ")
    ));
    let count = statement.add(old.len() as i64);
    statement.condition(format!("(select count(*) from updated) = {count}"));
}

/// The entry of a step in the history.
#[derive(Serialize)]
struct Entry<'a> {
    version: i64,
    input: &'static str,
    state: &'static str,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

fn entry(step: &Step) -> String {
    let reservation = &step.reservation;
    let entry = Entry {
        version: reservation.version,
        input: step.log.input,
        state: reservation.saga.state.name().as_str(),
        at: reservation.updated_at,
        by: step.log.by,
        detail: step.log.detail.as_deref(),
    };
    serde_json::to_string(&entry).expect("a step is plain data and always serializes")
}

/// The columns that only an exchange, a new address or a new owner changes.
fn moved(step: &Step) -> Option<String> {
    let r = &step.reservation;
    if matches!(step.seats, Seats::Move { .. }) {
        let moved = serde_json::json!({
            "showtimeId": r.showtime_id, "movieId": r.movie_id, "movieTitle": r.movie_title, "startsAt": r.starts_at,
            "seats": seat_column(&r.seats()), "total": r.saga.terms.total.amount,
        });
        return Some(moved.to_string());
    }
    match step.log.input {
        READDRESS | SET_CUSTOMER => Some(serde_json::json!({ "email": r.email }).to_string()),
        MERGE => Some(serde_json::json!({ "email": r.email, "userId": r.user_id }).to_string()),
        _ => None,
    }
}

/// A seat of a showtime, and its owner.
type Seat<'a> = (Uuid, &'a str, Uuid);

/// Seats of all steps, sorted, so that hosts lock them in one order.
fn seats<'a>(steps: &'a [Placed<'a>], of: impl Fn(&'a Step) -> Vec<(Uuid, &'a SeatId)>) -> Vec<Seat<'a>> {
    let mut seats: Vec<Seat> = Vec::new();
    for step in steps {
        let owner = step.step.reservation.id;
        seats.extend(of(step.step).into_iter().map(|(showtime, seat)| (showtime, seat.as_str(), owner)));
    }
    seats.sort_unstable();
    seats
}

fn add_seats(statement: &mut Statement, seats: &[Seat<'_>]) -> String {
    let showtimes = statement.add(seats.iter().map(|seat| seat.0).collect::<Vec<_>>());
    let names = statement.add(seats.iter().map(|seat| seat.1).collect::<Vec<_>>());
    let owners = statement.add(seats.iter().map(|seat| seat.2).collect::<Vec<_>>());
    format!("unnest({showtimes}::uuid[], {names}::text[], {owners}::uuid[])")
}

fn free_claims(statement: &mut Statement, seats: &[Seat<'_>], after: &str) {
    let mine = add_seats(statement, seats);
    statement.part(format!(
        "freed as (
           delete from reservation.claims as claim using {mine} as mine (showtime_id, seat, reservation_id)
           where claim.showtime_id = mine.showtime_id and claim.seat = mine.seat
             and claim.reservation_id = mine.reservation_id and {after}
           returning 1)"
    ));
    let count = statement.add(seats.len() as i64);
    statement.condition(format!("(select count(*) from freed) = {count}"));
}

fn insert_claims(statement: &mut Statement, seats: &[Seat<'_>], after: &str) {
    let new = add_seats(statement, seats);
    let where_taken = "do nothing";
    #[cfg(feature = "planted")]
    let where_taken = match bus::config::planted("claim-without-owner") {
        true => "do update set reservation_id = excluded.reservation_id",
        false => where_taken,
    };
    statement.part(format!(
        "claimed as (
           insert into reservation.claims (showtime_id, seat, reservation_id)
           select showtime_id, seat, reservation_id from {new} as new (showtime_id, seat, reservation_id) where {after}
           on conflict on constraint one_owner {where_taken} returning showtime_id, seat)"
    ));
    let count = statement.add(seats.len() as i64);
    statement.condition(format!("(select count(*) from claimed) = {count}"));
}

/// A reservation that is confirmed owns its seats already: no row of a claim changes. False where there is none.
fn expect_sold(statement: &mut Statement, steps: &[Placed<'_>]) -> bool {
    let sold: Vec<&Placed> = steps.iter().filter(|step| step.seats == Seats::Sell).collect();
    if sold.is_empty() {
        return false;
    }
    let seats: usize = sold.iter().map(|step| step.seats_now().count()).sum();
    let ids = statement.add(sold.iter().map(|step| step.reservation.id).collect::<Vec<_>>());
    statement.part(format!(
        "sold as (select count(*) as seats from reservation.claims where reservation_id = any({ids}))"
    ));
    let count = statement.add(seats as i64);
    statement.condition(format!("(select seats from sold) = {count}"));
    true
}

fn deadlines<'a>(reservations: impl Iterator<Item = &'a Reservation>) -> Vec<Option<OffsetDateTime>> {
    reservations.map(|r| r.deadline.map(Timestamp::date_time)).collect()
}

fn checkpoint(saga: &Saga) -> String {
    serde_json::to_string(saga).expect("a checkpoint is plain data and always serializes")
}

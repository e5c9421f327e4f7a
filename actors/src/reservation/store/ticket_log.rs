//! The ticket log as parts of a batch's statement: tickets sold, ended, refunded.
//!
//! Invariant: the numbers of a showtime are gapless: they follow from its column `tickets`, which is raised under its lock, in
//! the statement that adds the rows. A ticket ends once: by its primary key.
//! A missing ticket ends no sale: an order that a host of the version before has confirmed is cancelled like any other, and
//! `marquee fsck` reports it.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Placed, Step};
use crate::delivery::Statement;
use crate::reservation::tickets::Ticket;

/// How many tickets a batch sells of each showtime that it touches.
pub fn counts(steps: &[Placed<'_>]) -> BTreeMap<Uuid, i64> {
    let touched = steps.iter().flat_map(|step| step.showtimes());
    let mut counts: BTreeMap<Uuid, i64> = touched.map(|showtime| (showtime, 0)).collect();
    for step in steps.iter().filter(|step| !step.tickets.sold.is_empty()) {
        *counts.entry(step.reservation.showtime_id).or_default() += step.tickets.sold.len() as i64;
    }
    counts
}

pub fn write(statement: &mut Statement, steps: &[Placed<'_>]) {
    sell(statement, steps);
    end(statement, steps);
    refund(statement, steps);
}

/// The numbers continue from those that the showtime had before the batch.
fn sell(statement: &mut Statement, steps: &[Placed<'_>]) {
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut sold: Vec<(&Step, &Ticket, i64)> = Vec::new();
    for step in steps {
        for ticket in &step.tickets.sold {
            let nth = last.entry(step.reservation.showtime_id).or_default();
            *nth += 1;
            sold.push((step.step, ticket, *nth));
        }
    }
    if sold.is_empty() {
        return;
    }
    let uuids = |get: fn(&Step) -> Uuid| sold.iter().map(|(step, ..)| get(step)).collect::<Vec<_>>();
    let texts = |get: fn(&Ticket) -> &str| sold.iter().map(|(_, t, _)| get(t)).collect::<Vec<_>>();
    let numbers = |get: fn(&Ticket) -> i64| sold.iter().map(|(_, t, _)| get(t)).collect::<Vec<_>>();
    let currencies = sold.iter().map(|(step, ..)| step.reservation.saga.terms.total.currency.as_str());
    let columns = [
        statement.add(uuids(|step| step.reservation.showtime_id)) + "::uuid[]",
        statement.add(sold.iter().map(|(.., nth)| *nth).collect::<Vec<_>>()) + "::bigint[]",
        statement.add(uuids(|step| step.reservation.id)) + "::uuid[]",
        statement.add(sold.iter().map(|(step, ..)| step.reservation.version).collect::<Vec<_>>())
            + "::bigint[]",
        statement.add(uuids(|step| step.reservation.movie_id)) + "::uuid[]",
        statement.add(texts(|ticket| ticket.seat.as_str())) + "::text[]",
        statement.add(texts(|ticket| ticket.ticket_type.as_str())) + "::text[]",
        statement.add(texts(|ticket| ticket.reported_as.as_str())) + "::text[]",
        statement.add(numbers(|ticket| ticket.price)) + "::bigint[]",
        statement.add(numbers(|ticket| ticket.tax.rate.into())) + "::bigint[]",
        statement.add(numbers(|ticket| ticket.tax.amount)) + "::bigint[]",
        statement.add(numbers(|ticket| ticket.fee)) + "::bigint[]",
        statement.add(numbers(|ticket| ticket.fee_tax.rate.into())) + "::bigint[]",
        statement.add(numbers(|ticket| ticket.fee_tax.amount)) + "::bigint[]",
        statement.add(currencies.collect::<Vec<_>>()) + "::text[]",
        statement.add(sold.iter().map(|(step, ..)| step.tickets.channel.as_str()).collect::<Vec<_>>())
            + "::text[]",
        statement.add(sold.iter().map(|(step, ..)| step.tickets.paid_by.as_str()).collect::<Vec<_>>())
            + "::text[]",
        statement.add(sold.iter().map(|(step, ..)| step.tickets.at.date_time()).collect::<Vec<_>>())
            + "::timestamptz[]",
    ];
    statement.part(format!(
        "tickets_sold as (
           insert into reservation.tickets (showtime_id, number, reservation_id, version, movie_id, seat, ticket_type,
             reported_as, price, tax_rate, tax, fee, fee_tax_rate, fee_tax, currency, channel, paid_by, sold_at)
           select new.showtime_id, raised.tickets_before + new.nth, reservation_id, version, movie_id, seat, ticket_type,
             reported_as, price, tax_rate, tax, fee, fee_tax_rate, fee_tax, currency, channel, paid_by, sold_at
           from unnest({}) as new (showtime_id, nth, reservation_id, version, movie_id, seat, ticket_type, reported_as,
             price, tax_rate, tax, fee, fee_tax_rate, fee_tax, currency, channel, paid_by, sold_at)
           join raised on raised.id = new.showtime_id)",
        columns.join(", ")
    ));
}

/// The arrays that name the last ticket of each seat of an order, and when and how much goes back for it.
struct Rows<'a> {
    steps: Vec<&'a Step>,
    seats: Vec<&'a str>,
    returned: Vec<i64>,
}

impl Rows<'_> {
    /// As a table with the columns `showtime_id, reservation_id, version, at, seat, returned`, and the tickets' `number`.
    fn add(&self, statement: &mut Statement, further: &[(&str, String)]) -> String {
        let steps = || self.steps.iter();
        let at: Vec<OffsetDateTime> = steps().map(|step| step.tickets.at.date_time()).collect();
        let columns = [
            statement.add(steps().map(|step| step.tickets.showtime_before).collect::<Vec<_>>()) + "::uuid[]",
            statement.add(steps().map(|step| step.reservation.id).collect::<Vec<_>>()) + "::uuid[]",
            statement.add(steps().map(|step| step.reservation.version).collect::<Vec<_>>()) + "::bigint[]",
            statement.add(at) + "::timestamptz[]",
            statement.add(self.seats.clone()) + "::text[]",
            statement.add(self.returned.clone()) + "::bigint[]",
        ];
        let names: String = further.iter().map(|(name, _)| format!(", {name}")).collect();
        let more: String = further.iter().map(|(_, column)| format!(", {column}")).collect();
        format!(
            "unnest({}{more}) as new (showtime_id, reservation_id, version, at, seat, returned{names})
             cross join lateral (
               select number from reservation.tickets as ticket
               where ticket.reservation_id = new.reservation_id and ticket.showtime_id = new.showtime_id
                 and ticket.seat = new.seat
               order by number desc limit 1) as last",
            columns.join(", ")
        )
    }
}

fn end(statement: &mut Statement, steps: &[Placed<'_>]) {
    #[cfg(feature = "planted")]
    if bus::config::planted("tickets-never-end") {
        return;
    }
    let ends: Vec<_> =
        steps.iter().flat_map(|s| s.tickets.ended.iter().map(move |end| (s.step, end))).collect();
    if ends.is_empty() {
        return;
    }
    let rows = Rows {
        steps: ends.iter().map(|(step, _)| *step).collect(),
        seats: ends.iter().map(|(_, end)| end.seat.as_str()).collect(),
        returned: ends.iter().map(|(_, end)| end.returned).collect(),
    };
    let reasons = statement.add(ends.iter().map(|(_, end)| end.reason).collect::<Vec<_>>()) + "::text[]";
    let carried = statement.add(ends.iter().map(|(_, end)| end.carried).collect::<Vec<_>>()) + "::bigint[]";
    let from = rows.add(statement, &[("reason", reasons), ("carried", carried)]);
    statement.part(format!(
        "tickets_ended as (
           insert into reservation.ticket_ends (showtime_id, number, at, reason, returned, carried, version)
           select showtime_id, number, at, reason, returned, carried, version from {from})"
    ));
}

fn refund(statement: &mut Statement, steps: &[Placed<'_>]) {
    let refunds: Vec<_> =
        steps.iter().flat_map(|s| s.tickets.refunded.iter().map(move |back| (s.step, back))).collect();
    if refunds.is_empty() {
        return;
    }
    let rows = Rows {
        steps: refunds.iter().map(|(step, _)| *step).collect(),
        seats: refunds.iter().map(|(_, back)| back.seat.as_str()).collect(),
        returned: refunds.iter().map(|(_, back)| back.returned).collect(),
    };
    let from = rows.add(statement, &[]);
    statement.part(format!(
        "tickets_refunded as (
           insert into reservation.ticket_refunds (showtime_id, number, version, at, returned)
           select showtime_id, number, version, at, returned from {from})"
    ));
}

//! The promises about rows, each as a query for the rows that break it.
//!
//! Within one schema a promise holds in every snapshot. Across schemas it holds once the event is handled: those queries
//! allow a minute, counted from the row's last change.

/// One promise.
pub struct Promise {
    pub name: &'static str,
    pub text: &'static str,
    /// Checked where these tables exist: the program may be newer than the database.
    pub tables: &'static [&'static str],
    /// One text with the figures.
    pub figures: &'static str,
    /// One text a finding.
    pub findings: &'static str,
}

const SALES: &[&str] =
    &["reservation.reservations", "reservation.claims", "payment.payments", "payment.refunds"];

pub const ALL: &[Promise] = &[
    Promise {
        name: "one-owner",
        text: "no seat has two owners, and the constraint that sees to it is there",
        tables: &["reservation.claims"],
        figures: "select format('%s seats held or sold', count(*)) from reservation.claims",
        findings: "select format('%s %s has %s owners', showtime_id, seat, count(*)) from reservation.claims
             group by showtime_id, seat having count(*) > 1
             union all
             select 'the constraint one_owner is missing' where not exists (
               select from pg_constraint
               where conname = 'one_owner' and conrelid = 'reservation.claims'::regclass and convalidated)",
    },
    Promise {
        name: "claims",
        text: "pending reservations hold their seats, confirmed ones have bought them, others have none",
        tables: &["reservation.reservations", "reservation.claims"],
        figures: "select format('%s seats sold in %s confirmed reservations, %s held in %s pending',
               coalesce(sum(cardinality(seats)) filter (where status = 'CONFIRMED'), 0),
               count(*) filter (where status = 'CONFIRMED'),
               coalesce(sum(cardinality(seats)) filter (where status = 'PENDING'), 0),
               count(*) filter (where status = 'PENDING')) from reservation.reservations",
        findings: "select format('%s %s is claimed for reservation %s, which is %s of %s %s', c.showtime_id, c.seat,
                 c.reservation_id, coalesce(r.status, 'missing'), r.showtime_id, r.seats)
             from reservation.claims c left join reservation.reservations r on r.id = c.reservation_id
             where r.id is null or r.showtime_id <> c.showtime_id or c.seat <> all (r.seats)
                or r.status not in ('PENDING', 'CONFIRMED')
             union all
             select format('reservation %s is %s without its seat %s', r.id, r.status, wanted.seat)
             from reservation.reservations r cross join unnest(r.seats) as wanted (seat)
             where r.status in ('PENDING', 'CONFIRMED') and not exists (
               select from reservation.claims c
               where c.showtime_id = r.showtime_id and c.seat = wanted.seat and c.reservation_id = r.id)",
    },
    Promise {
        name: "paid",
        text: "what was captured less what was given back is the price of the seats, and what the refund policy kept",
        tables: SALES,
        figures: "select format('%s confirmed for %s', count(*), coalesce(string_agg(distinct money, ', '), 'nothing')) from (
               select sum(total) over (partition by currency) || ' ' || currency as money
               from reservation.reservations where status = 'CONFIRMED') sold",
        // Captured, credited and waived is the price of the seats and of those that fell away in exchanges and returns. What was waived
        // falls away first; of the rest the policy's share goes back (of those of `apart`, what was decided), rounded up to what the provider can move (`Currency::step`). More means seats for less than they cost, less means money kept. Staff may give back more.
        findings: "select format('reservation %s is confirmed for %s %s; its payment %s is %s of %s %s, %s promised back, %s of it for seats that fell away; due are %s',
                 r.id, r.total, r.currency, coalesce(p.id::text, 'is missing'), p.stage, p.amount, p.currency, back.amount,
                 back.differences, fell.due)
             from reservation.reservations r
             left join payment.overview p on p.reservation_id = r.id
             cross join lateral (select coalesce(sum(f.amount), 0) as amount,
                 coalesce(sum(f.amount) filter (where f.reason in ('EXCHANGED', 'RETURNED')), 0) as differences
               from payment.refunds f
               where f.payment_id = p.id and f.origin = 'ASKED' and f.status in ('REQUESTED', 'COMPLETED')) back
             cross join lateral (select case when r.currency in ('BHD', 'IQD', 'JOD', 'KWD', 'OMR', 'TND') then 10
                 when r.currency = 'MGA' then 100 else 1 end as least) coin
             -- Of what fell away, fees that are not refundable stay.
             cross join lateral (select greatest(0, coalesce((r.checkpoint #>> '{terms,feesKept}')::bigint, 0)
                 - coalesce(sum((fee #>> '{price,amount}')::bigint) filter (where not (fee ->> 'refundable')::bool), 0)) as amount
               from jsonb_array_elements(coalesce(r.checkpoint #> '{terms,fees}', '[]')) as fee) kept
             cross join lateral (select coalesce((r.checkpoint #>> '{apart,price}')::bigint, 0) as price,
                 coalesce((r.checkpoint #>> '{apart,back}')::bigint, 0) as back) apart
             -- Nothing, where seats without those fees took over their money, or where only waived money fell away.
             cross join lateral (select greatest(0, p.amount + p.credit - apart.price - r.total - kept.amount) as amount) gone
             cross join lateral (select apart.back + least(gone.amount, coin.least * ceil(
                 gone.amount * coalesce((r.checkpoint #>> '{terms,refundPolicy,percent}')::numeric, 100) / 100 / coin.least
               )) as due) fell
             where r.status = 'CONFIRMED' and not r.attention and r.updated_at < now() - interval '1 minute'
               and (p.id is null or p.stage <> 'CAPTURED' or p.currency <> r.currency
                 or p.amount + p.credit + p.waived < r.total
                 or back.differences > fell.due or back.amount < least(fell.due, p.amount + p.credit))
             union all
             select format('reservation %s costs %s, its seats %s cost %s and its fees %s', r.id, r.total, r.seats, lines.total, fees.total)
             from reservation.reservations r cross join lateral (
               select sum((line #>> '{price,amount}')::bigint) as total, array_agg(line ->> 'seat') as seats
               from jsonb_array_elements(r.checkpoint #> '{terms,lines}') as line) lines
             cross join lateral (
               select coalesce(sum((fee #>> '{price,amount}')::bigint), 0) as total
               from jsonb_array_elements(coalesce(r.checkpoint #> '{terms,fees}', '[]')) as fee) fees
             where lines.total + fees.total <> r.total or lines.seats <> r.seats",
    },
    Promise {
        name: "kept-for-nothing",
        text: "money that was captured is for seats that are sold, or is given back, or was kept by the refund policy",
        tables: SALES,
        figures: "select format('%s captured payments, %s refunds under way, %s done',
               (select count(*) from payment.overview where stage = 'CAPTURED'),
               (select count(*) from payment.refunds where status = 'REQUESTED'),
               (select count(*) from payment.refunds where status = 'COMPLETED'))",
        // What the saga promised: its refund; without one nothing where it knew of the money (the policy kept it), and all
        // where it did not.
        findings: "select format('payment %s of %s %s is captured since %s; reservation %s is %s, promised back %s',
                 p.id, p.amount, p.currency, p.paid_at, p.reservation_id, coalesce(r.status, 'missing'), back.amount)
             from payment.overview p
             left join reservation.reservations r on r.id = p.reservation_id
             cross join lateral (select coalesce(sum(f.amount), 0) as amount from payment.refunds f
               where f.payment_id = p.id and f.origin = 'ASKED' and f.status in ('REQUESTED', 'COMPLETED')) back
             -- a refund that is split over captures has further shares among the parts
             cross join lateral (select coalesce(sum((part #>> '{refund,total,amount}')::bigint), 0) as amount
               from jsonb_array_elements(coalesce(r.checkpoint -> 'parts', '[]')) as part) parts
             where p.stage = 'CAPTURED' and p.attention is null and not coalesce(r.attention, false)
               and p.updated_at < now() - interval '1 minute'
               and coalesce(r.updated_at < now() - interval '1 minute', true)
               and r.status is distinct from 'CONFIRMED'
               and back.amount < case
                 when r.checkpoint #> '{state,refund}' is not null then (r.checkpoint #>> '{state,refund,total,amount}')::bigint + parts.amount
                 when jsonb_typeof(r.checkpoint -> 'captured') = 'object' then 0
                 else p.amount end",
    },
    Promise {
        name: "captured-twice",
        text: "a capture that was not accepted is given back, and nothing is given back twice",
        tables: SALES,
        figures: "select format('%s attempts to pay, %s captured', count(*), count(*) filter (where state = 'CAPTURED'))
             from payment.attempts",
        findings: "select format('payment %s: attempt %s captured %s, which is neither accepted nor given back',
                 p.id, a.number, a.intent)
             from payment.attempts a join payment.overview p on p.id = a.payment_id
             where a.state = 'CAPTURED' and a.intent is distinct from p.provider_ref and p.attention is null
               and p.updated_at < now() - interval '1 minute'
               and not exists (select from payment.refunds f where f.payment_id = p.id and f.intent = a.intent)
             union all
             select format('payment %s: %s of %s were given back', p.id, sum(f.amount), p.amount)
             from payment.refunds f join payment.overview p on p.id = f.payment_id
             where f.status in ('REQUESTED', 'COMPLETED')
               and not exists (select from payment.overview o where o.provider_ref = f.intent)
             group by p.id, p.amount, f.intent having sum(f.amount) > p.amount
             union all
             -- also by the payments of orders that the capture was credited to
             select format('capture %s: %s of %s were given back', f.intent, sum(f.amount), p.amount)
             from payment.refunds f join payment.overview p on p.provider_ref = f.intent
             where f.status in ('REQUESTED', 'COMPLETED')
             group by f.intent, p.amount having sum(f.amount) > p.amount",
    },
    Promise {
        name: "saga-log",
        text: "a saga's log has every version of its reservation once",
        tables: &["reservation.reservations", "reservation.saga_steps"],
        figures: "select format('%s steps', count(*)) from reservation.saga_steps",
        findings: "select format('reservation %s has version %s and %s steps up to %s', r.id, r.version, s.steps, s.last)
             from reservation.reservations r cross join lateral (
               select count(*) as steps, max(version) as last from reservation.saga_steps where reservation_id = r.id) s
             -- the last thousand are kept
             where least(r.version, 1000) is distinct from s.steps or r.version is distinct from s.last",
    },
    Promise {
        name: "deadlines",
        text: "no deadline has passed unnoticed for a minute: a host is there and asks",
        tables: &["reservation.reservations", "payment.payments"],
        figures: "select format('%s reservations and %s payments wait for something',
               (select count(*) from reservation.reservations where deadline is not null),
               (select count(*) from payment.payments where next_check_at is not null))",
        findings: "select format('reservation %s (%s) was due at %s', id, status, deadline)
             from reservation.reservations where deadline < now() - interval '1 minute'
             union all
             select format('payment %s (%s) was due at %s', id, status, next_check_at)
             from payment.payments where next_check_at < now() - interval '1 minute'",
    },
    Promise {
        name: "ledger",
        text: "every booking in the ledger sums to zero",
        tables: &["payment.postings"],
        figures: "select format('%s postings', count(*)) from payment.postings",
        findings: "select format('payment %s: %s leaves %s %s', payment_id, transaction, sum(amount), currency)
             from payment.postings group by payment_id, transaction, currency having sum(amount) <> 0",
    },
    Promise {
        name: "shows",
        text: "what a payment has booked is booked for the show that its seats are of, to the cent and to the ticket",
        tables: &["payment.payments", "payment.postings", "payment.refunds"],
        figures: "select format('%s tickets of %s showtimes', coalesce(sum(tickets), 0), count(distinct showtime_id))
             from payment.postings where showtime_id is not null",
        findings: "select format('payment %s: %s %s and %s tickets are left at showtime %s in %s; its seats are of %s',
                 p.id, sum(b.amount), b.currency, sum(b.tickets), b.showtime_id, b.account, p.showtime_id)
             from payment.postings b join payment.overview p on p.id = b.payment_id
             where b.showtime_id <> p.showtime_id
             group by p.id, p.showtime_id, b.showtime_id, b.account, b.currency having sum(b.amount) <> 0 or sum(b.tickets) <> 0
             union all
             select format('payment %s of %s %s for %s tickets has booked %s sold, %s refunded and %s tickets for showtime %s',
                 p.id, p.amount, p.currency, p.tickets, booked.sold, booked.refunded, booked.tickets, p.showtime_id)
             from payment.overview p cross join lateral (
               select coalesce(-sum(b.amount) filter (where b.account = 'SALES'), 0) as sold,
                 coalesce(sum(b.amount) filter (where b.account = 'REFUNDS'), 0) as refunded,
                 coalesce(sum(b.tickets), 0) as tickets
               from payment.postings b where b.payment_id = p.id and b.showtime_id = p.showtime_id) booked
             where p.stage = 'CAPTURED' and p.showtime_id is not null
               and (booked.sold <> p.amount + p.credit + p.waived - p.credited or booked.tickets <> p.tickets or booked.refunded <> (
                 select coalesce(sum(f.amount), 0) from payment.refunds f
                 where f.payment_id = p.id and f.origin = 'ASKED' and f.status = 'COMPLETED'))
             union all
             select format('payment %s has %s of credit, payment %s of the replaced order has credited %s',
                 p.id, p.credit, o.id, o.credited)
             from payment.overview p join payment.overview o on o.reservation_id = p.exchange_of
             where p.stage = 'CAPTURED' and p.credit > 0 and p.credit <> o.credited
               and p.updated_at < now() - interval '1 minute' and o.updated_at < now() - interval '1 minute'",
    },
    Promise {
        name: "tickets",
        text: "the tickets of each showtime, in the log and in the ledger, are its sold seats, and their money is their orders'; their numbers have no gap",
        tables: &[
            "reservation.reservations",
            "reservation.claims",
            "reservation.tickets",
            "payment.payments",
            "payment.postings",
        ],
        figures: "select format('%s seats sold, %s tickets counted, %s of %s numbered tickets are valid',
               (select count(*) from reservation.claimed_seats where status = 'SOLD'),
               (select coalesce(sum(tickets), 0) from payment.postings),
               (select count(*) from reservation.tickets) - (select count(*) from reservation.ticket_ends),
               (select count(*) from reservation.tickets))",
        // A payment that does not know its show counts no tickets.
        findings: "with valid as (
               select t.* from reservation.tickets as t
               where not exists (
                 select from reservation.ticket_ends as ended
                 where ended.showtime_id = t.showtime_id and ended.number = t.number)),
             sold as (
               select reservation_id, showtime_id, count(*) as seats from reservation.claimed_seats
               where status = 'SOLD' group by 1, 2),
             counted as (
               select p.reservation_id, b.showtime_id, sum(b.tickets) as tickets
               from payment.postings b join payment.overview p on p.id = b.payment_id
               where b.showtime_id is not null group by 1, 2),
             compared as (
               select reservation_id, showtime_id, coalesce(seats, 0) as seats, coalesce(tickets, 0) as tickets
               from sold full join counted using (reservation_id, showtime_id))
             select format('showtime %s: reservation %s has bought %s seats, the ledger counts %s tickets',
                 c.showtime_id, c.reservation_id, c.seats, c.tickets)
             from compared c
             left join reservation.reservations r on r.id = c.reservation_id
             left join payment.overview p on p.reservation_id = c.reservation_id
             where c.seats <> c.tickets and (p.id is null or p.showtime_id is not null)
               and coalesce(r.updated_at < now() - interval '1 minute', true)
               and coalesce(p.updated_at < now() - interval '1 minute', true)
             union all
             select format('showtime %s: seat %s of reservation %s is sold, and has %s valid tickets',
                 showtime_id, seat, reservation_id, count(number))
             from (select showtime_id, seat, reservation_id from reservation.claimed_seats where status = 'SOLD') as claim
             left join valid using (showtime_id, seat, reservation_id)
             group by showtime_id, seat, reservation_id having count(number) <> 1
             union all
             select format('showtime %s: ticket %s for seat %s is valid, but reservation %s has not bought it',
                 v.showtime_id, v.number, v.seat, v.reservation_id)
             from valid as v where not exists (
               select from reservation.claimed_seats as claim
               where claim.showtime_id = v.showtime_id and claim.seat = v.seat
                 and claim.reservation_id = v.reservation_id and claim.status = 'SOLD')
             union all
             select format('reservation %s costs %s %s, its valid tickets %s', r.id, r.total, r.currency, money.total)
             from reservation.reservations r join (
               select reservation_id, currency, sum(price + fee) as total from valid group by reservation_id, currency) as money
               on money.reservation_id = r.id
             where r.status = 'CONFIRMED' and (money.total <> r.total or money.currency <> r.currency)
             union all
             select format('reservation %s: %s were captured, credited and waived for its tickets, which cost %s; %s are promised back, by the log %s',
                 r.id, p.amount + p.credit + p.waived, log.sold - ended.carried, back.amount, ended.returned + refunded.amount)
             from reservation.reservations r join payment.overview p on p.reservation_id = r.id
             cross join lateral (select sum(price + fee) as sold, min(sold_at) as since
               from reservation.tickets where reservation_id = r.id) log
             cross join lateral (select coalesce(sum(e.carried), 0) as carried, coalesce(sum(e.returned), 0) as returned
               from reservation.tickets t join reservation.ticket_ends e using (showtime_id, number)
               where t.reservation_id = r.id) ended
             cross join lateral (select coalesce(sum(e.returned), 0) as amount
               from reservation.tickets t join reservation.ticket_refunds e using (showtime_id, number)
               where t.reservation_id = r.id) refunded
             cross join lateral (select coalesce(sum(f.amount), 0) as amount from payment.refunds f
               where f.payment_id = p.id and f.origin = 'ASKED' and f.status in ('REQUESTED', 'COMPLETED')) back
             where r.status = 'CONFIRMED' and log.sold is not null and not r.attention and p.attention is null
               and r.updated_at < now() - interval '1 minute' and p.updated_at < now() - interval '1 minute'
               and (log.sold - ended.carried <> p.amount + p.credit + p.waived
                 or back.amount <> ended.returned + refunded.amount)
               -- an order from before the log
               and not exists (select from payment.refunds f where f.payment_id = p.id and f.created_at < log.since)
             union all
             select format('showtime %s has sold %s tickets, and has %s with the numbers %s to %s',
                 show.id, show.tickets, count(t.number), min(t.number), max(t.number))
             from reservation.showtimes as show left join reservation.tickets as t on t.showtime_id = show.id
             group by show.id, show.tickets
             having count(t.number) <> show.tickets or coalesce(max(t.number), 0) <> show.tickets",
    },
    Promise {
        name: "receipts",
        text: "each capture has one receipt and each refund one credit note, whose numbers have no gaps",
        tables: &["payment.payments", "payment.refunds", "payment.receipts", "payment.receipt_series"],
        figures: "select format('%s receipts and %s credit notes, %s of them without a number yet',
               count(*) filter (where kind = 'RECEIPT'), count(*) filter (where kind = 'CREDIT_NOTE'),
               count(*) filter (where number is null)) from payment.receipts",
        // Payments from before receipts were made have no bill. A document is written with its cause; its number follows.
        findings: "with billed as (
               select p.id, (p.checkpoint #>> '{total,amount}')::bigint as amount, p.checkpoint #>> '{total,currency}' as currency
               from payment.payments p
               where p.checkpoint ? 'bill' and p.checkpoint #>> '{stage,is}' = 'CAPTURED'),
             given_back as (
               select f.* from payment.refunds f
               where f.origin = 'ASKED' and f.status = 'COMPLETED' and f.amount > 0)
             select format('payment %s of %s %s has no such receipt', b.id, b.amount, b.currency) from billed b
             where b.amount > 0 and not exists (select from payment.receipts r where (r.kind, r.cause, r.amount, r.currency)
               = ('RECEIPT', b.id, b.amount, b.currency))
             union all
             select format('refund %s of %s %s has no such credit note', f.id, f.amount, f.currency)
             from given_back f join billed b on b.id = f.payment_id
             where not exists (select from payment.receipts r where (r.kind, r.cause, r.amount, r.currency)
               = ('CREDIT_NOTE', f.id, f.amount, f.currency))
             union all
             select format('payment %s has receipts less credit notes of %s, and captures less refunds of %s', b.id,
               documented.amount, b.amount - returned.amount)
             from billed b
             cross join lateral (select coalesce(sum(case kind when 'RECEIPT' then amount else -amount end), 0) as amount
               from payment.receipts where payment_id = b.id) documented
             cross join lateral (select coalesce(sum(amount), 0) as amount from given_back f where f.payment_id = b.id) returned
             where documented.amount <> b.amount - returned.amount
             union all
             select format('%s of payment %s is over %s, and its taxed amounts over %s', r.kind, r.payment_id, r.amount, taxed.amount)
             from payment.receipts r cross join lateral (
               select coalesce(sum((tax ->> 'net')::bigint + (tax ->> 'tax')::bigint), 0) as amount
               from jsonb_array_elements(r.content -> 'taxes') as tax) taxed
             where taxed.amount <> r.amount
             union all
             select format('%s of payment %s waits for a number since %s', kind, payment_id, due_at)
             from payment.receipts where number is null and due_at < now() - interval '1 minute'
             union all
             select format('series %s %s %s counts to %s; it has %s documents from %s to %s', site, kind, year, s.last_number,
               coalesce(r.documents, 0), r.first, r.last)
             from payment.receipt_series s full join (
               select site, kind, year, count(*) as documents, min(number) as first, max(number) as last
               from payment.receipts where number is not null group by site, kind, year) r using (site, kind, year)
             where (s.last_number, s.last_number) is distinct from (coalesce(r.documents, 0), coalesce(r.last, 0))
               or r.first <> 1",
    },
    Promise {
        name: "customers",
        text: "a confirmed order has an address, which its tickets go to, unless that was erased",
        tables: &["reservation.reservations"],
        figures: "select format('%s confirmed orders with %s addresses', count(*), count(distinct email))
             from reservation.reservations where status = 'CONFIRMED'",
        findings: "select format('reservation %s is confirmed without an address', id) from reservation.reservations
             where status = 'CONFIRMED' and email = ''
               -- its person was erased, or its show was long ago
               and not exists (select from unnest(history) as step where step ->> 'input' in ('erase', 'retention'))",
    },
    Promise {
        name: "attention",
        text: "nothing waits for a person",
        tables: &["reservation.reservations", "payment.payments"],
        figures: "select 'reservations and payments that cannot settle by themselves'::text",
        findings: "select format('reservation %s (%s)', id, checkpoint -> 'state' ->> 'is')
             from reservation.reservations where attention
             union all
             select format('payment %s: %s', id, attention) from payment.payments where attention is not null",
    },
];

#[cfg(test)]
mod tests {
    use bus::contract::Currency;

    #[test]
    fn the_differences_of_exchanges_are_rounded_as_the_saga_rounds_them() {
        let paid =
            super::ALL.iter().find(|promise| promise.name == "paid").expect("the check of what was paid");
        for currency in Currency::all() {
            let code = format!("'{}'", currency.as_str());
            assert_eq!(paid.findings.contains(&code), currency.step() > 1, "{code}");
        }
    }
}

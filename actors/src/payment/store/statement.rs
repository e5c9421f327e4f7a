//! The rows of a batch as parts of one statement, which read them from one JSON document.
//!
//! Invariant: a payment's row is written only over the version that was decided on.

use bus::contract::Timestamp;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::receipt::{BuyerRow, Signature};
use super::{PaymentRows, ProviderEvent, Rows, status_name};
use crate::delivery::Statement;
use crate::payment::model::Payment;
use crate::payment::receipt::Content;
use crate::payment::step::LogLine;

/// Parts without rows are left out.
pub fn of(rows: &[&Rows]) -> Statement {
    let mut statement = Statement::new(rows.iter().any(|rows| rows.bound().is_some()));
    let batch = Batch::of(rows);
    let parts = [
        (
            !batch.payments.is_empty(),
            "new as (
               select * from jsonb_to_recordset({doc} -> 'payments') as new (expected bigint, id uuid,
                 reservation_id uuid, user_id uuid, status text, charging bool, version bigint,
                 next_check_at timestamptz, attention text, provider_refs text[], checkpoint jsonb, log jsonb,
                 created_at timestamptz, updated_at timestamptz)),
             opened as (
               insert into payments (id, reservation_id, user_id, status, charging, version, next_check_at, attention,
                 provider_refs, checkpoint, log, created_at, updated_at)
               select id, reservation_id, user_id, status, charging, version, next_check_at, attention, provider_refs,
                 case when exists (select from erased_users as erased where erased.user_id = new.user_id)
                   then checkpoint || '{\"email\": null}' else checkpoint end, log, created_at, updated_at
               from new where expected = 0
               on conflict do nothing returning id),
             changed as (
               update payments as p set status = new.status, charging = new.charging, version = new.version,
                 next_check_at = new.next_check_at, attention = new.attention, provider_refs = new.provider_refs,
                 checkpoint = new.checkpoint, log = shortened(p.log) || new.log, updated_at = new.updated_at
               from new where new.expected > 0 and p.id = new.id and p.version = new.expected
               returning p.id)",
        ),
        (
            !batch.checks.is_empty(),
            "checked as (
               update payments as p set next_check_at = new.at
               from jsonb_to_recordset({doc} -> 'checks') as new (id uuid, version bigint, at timestamptz)
               where p.id = new.id and p.version = new.version
               returning p.id)",
        ),
        (
            !batch.postings.is_empty(),
            "booked as (
               insert into postings (payment_id, transaction, leg, account, amount, currency, tickets, entry, at,
                 showtime_id, movie_id, movie_title, starts_at)
               select * from jsonb_to_recordset({doc} -> 'postings') as new (payment_id uuid, transaction text,
                 leg smallint, account text, amount bigint, currency text, tickets int, entry text, at timestamptz,
                 showtime_id uuid, movie_id uuid, movie_title text, starts_at timestamptz))",
        ),
        (
            !batch.declines.is_empty(),
            "declined as (
               insert into declines (payment_id, attempt, user_id, at)
               select * from jsonb_to_recordset({doc} -> 'declines') as new (payment_id uuid, attempt int,
                 user_id uuid, at timestamptz)
               on conflict do nothing)",
        ),
        (
            !batch.receipts.is_empty(),
            "receipted as (
               insert into receipts (kind, cause, payment_id, reservation_id, amount, currency, content, due_at)
               select * from jsonb_to_recordset({doc} -> 'receipts') as new (kind text, cause uuid, payment_id uuid,
                 reservation_id uuid, amount bigint, currency text, content jsonb, due_at timestamptz)
               on conflict do nothing)",
        ),
        (
            !batch.buyers.is_empty(),
            "bought as (
               insert into buyers (reservation_id, buyer)
               select * from jsonb_to_recordset({doc} -> 'buyers') as new (reservation_id uuid, buyer jsonb)
               on conflict do nothing)",
        ),
        (
            !batch.signatures.is_empty(),
            "signed as (
               update receipts as r set signature = new.signature
               from jsonb_to_recordset({doc} -> 'signatures') as new (kind text, cause uuid, signature text)
               where r.kind = new.kind and r.cause = new.cause and r.signature is null)",
        ),
        (
            !batch.events.is_empty(),
            "received as (
               insert into provider_events (id, kind, body, payment_id)
               -- What belongs to no payment could not be reduced later, with its person. A payment without an address has lost it.
               select new.id, kind, case when p.checkpoint ->> 'email' is null then payment.reduced(body) else body end, payment_id
               from jsonb_to_recordset({doc} -> 'events') as new (id text, kind text, body text, payment_id uuid)
               left join payments as p on p.id = payment_id
               on conflict do nothing)",
        ),
    ];
    let mut found = Vec::new();
    if !batch.payments.is_empty() {
        found.extend(["select id from opened", "select id from changed"]);
    }
    if !batch.checks.is_empty() {
        found.push("select id from checked");
    }
    let expected = rows.iter().filter(|rows| rows.expected_row().is_some()).count();
    let document = statement.add(Json(batch));
    for (_, part) in parts.into_iter().filter(|(has_rows, _)| *has_rows) {
        statement.part(part.replace("{doc}", &document));
    }
    if !found.is_empty() {
        let found = found.join(" union all ");
        let expected = statement.add(expected as i64);
        statement.condition(format!("(select count(*) from ({found}) as ids) = {expected}"));
        statement.found = Some(format!("(select coalesce(json_agg(id), '[]'::json) from ({found}) as ids)"));
    }
    statement
}

/// The rows of a batch by their tables, sorted, so that all hosts lock them in one order.
#[derive(Serialize)]
struct Batch<'a> {
    payments: Vec<PaymentRow<'a>>,
    checks: Vec<CheckRow>,
    postings: Vec<PostingRow<'a>>,
    declines: Vec<DeclineRow>,
    receipts: Vec<ReceiptRow<'a>>,
    buyers: Vec<&'a BuyerRow>,
    signatures: Vec<&'a Signature>,
    events: Vec<EventRow<'a>>,
}

#[derive(Serialize)]
struct PaymentRow<'a> {
    /// 0 where the row is new; else the version that is written over.
    expected: i64,
    id: Uuid,
    reservation_id: Uuid,
    user_id: Uuid,
    status: &'static str,
    charging: bool,
    version: i64,
    next_check_at: Option<Timestamp>,
    attention: Option<&'a str>,
    provider_refs: Vec<&'a str>,
    checkpoint: &'a Payment,
    log: Vec<LogRow<'a>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct LogRow<'a> {
    at: Timestamp,
    entry: &'static str,
    detail: &'a str,
}

#[derive(Serialize)]
struct CheckRow {
    id: Uuid,
    version: i64,
    at: Option<Timestamp>,
}

#[derive(Serialize)]
struct PostingRow<'a> {
    payment_id: Uuid,
    transaction: &'a str,
    leg: i16,
    account: &'static str,
    amount: i64,
    currency: &'a str,
    tickets: i64,
    entry: &'static str,
    at: Timestamp,
    showtime_id: Option<Uuid>,
    movie_id: Option<Uuid>,
    movie_title: Option<&'a str>,
    starts_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct DeclineRow {
    payment_id: Uuid,
    attempt: i32,
    user_id: Uuid,
    at: Timestamp,
}

#[derive(Serialize)]
struct ReceiptRow<'a> {
    kind: &'static str,
    cause: Uuid,
    payment_id: Uuid,
    reservation_id: Uuid,
    amount: i64,
    currency: &'a str,
    content: &'a Content,
    due_at: Timestamp,
}

#[derive(Serialize)]
struct EventRow<'a> {
    id: &'a str,
    kind: &'a str,
    body: &'a str,
    payment_id: Option<Uuid>,
}

impl<'a> Batch<'a> {
    fn of(rows: &[&'a Rows]) -> Self {
        let mut steps: Vec<&PaymentRows> = Vec::new();
        let (mut checks, mut events) = (Vec::new(), Vec::new());
        let (mut buyers, mut signatures) = (Vec::new(), Vec::new());
        for rows in rows {
            match rows {
                Rows::Step(rows) => {
                    events.extend(&rows.event);
                    steps.push(rows);
                }
                Rows::Event(event) => events.push(event),
                Rows::Check { id, version, at } => {
                    checks.push(CheckRow { id: *id, version: *version, at: *at })
                }
                Rows::Buyer(buyer) => buyers.push(buyer),
                Rows::Signature(signature) => signatures.push(signature),
                Rows::Cursor(_) | Rows::Numbering(_) => {}
            }
        }
        steps.sort_by_key(|rows| rows.payment.id);
        events.sort_by(|a, b| a.id.cmp(&b.id));
        Self {
            payments: steps.iter().map(|rows| PaymentRow::of(rows)).collect(),
            checks,
            postings: steps.iter().flat_map(|rows| PostingRow::of(rows)).collect(),
            receipts: steps.iter().flat_map(|rows| ReceiptRow::of(rows)).collect(),
            buyers,
            signatures,
            declines: steps.iter().flat_map(|rows| DeclineRow::of(rows)).collect(),
            events: events.into_iter().map(EventRow::of).collect(),
        }
    }
}

impl<'a> PaymentRow<'a> {
    fn of(rows: &'a PaymentRows) -> Self {
        let payment = &rows.payment;
        let line =
            |line: &'a LogLine| LogRow { at: payment.updated_at, entry: line.entry, detail: &line.detail };
        Self {
            expected: rows.expected,
            id: payment.id,
            reservation_id: payment.reservation_id,
            user_id: payment.user_id,
            status: status_name(payment.status()),
            charging: payment.open_attempt().is_some_and(|attempt| attempt.is_charge()),
            version: payment.version,
            next_check_at: payment.next_check_at,
            attention: payment.attention(),
            provider_refs: payment.provider_refs(),
            checkpoint: payment,
            log: rows.log.iter().map(line).collect(),
            created_at: payment.created_at,
            updated_at: payment.updated_at,
        }
    }
}

impl<'a> PostingRow<'a> {
    fn of(rows: &'a PaymentRows) -> impl Iterator<Item = Self> {
        let (payment_id, at) = (rows.payment.id, rows.payment.updated_at);
        rows.postings.iter().map(move |posting| {
            let show = posting.show.as_ref();
            Self {
                payment_id,
                transaction: &posting.transaction,
                leg: posting.leg,
                account: posting.account.as_str(),
                amount: posting.total.amount,
                currency: posting.total.currency.as_str(),
                tickets: posting.tickets,
                entry: posting.entry,
                at,
                showtime_id: show.map(|show| show.showtime_id),
                movie_id: show.map(|show| show.movie_id),
                movie_title: show.map(|show| show.movie_title.as_str()),
                starts_at: show.map(|show| show.starts_at),
            }
        })
    }
}

impl DeclineRow {
    fn of(rows: &PaymentRows) -> impl Iterator<Item = Self> {
        let (payment_id, user_id, at) = (rows.payment.id, rows.payment.user_id, rows.payment.updated_at);
        rows.declined.iter().map(move |attempt| Self { payment_id, attempt: *attempt, user_id, at })
    }
}

impl<'a> ReceiptRow<'a> {
    fn of(rows: &'a PaymentRows) -> impl Iterator<Item = Self> {
        let payment = &rows.payment;
        rows.receipts.iter().map(move |due| Self {
            kind: due.kind.as_str(),
            cause: due.cause,
            payment_id: payment.id,
            reservation_id: payment.reservation_id,
            amount: due.total.amount,
            currency: due.total.currency.as_str(),
            content: &due.content,
            due_at: payment.updated_at,
        })
    }
}

impl<'a> EventRow<'a> {
    fn of(event: &'a ProviderEvent) -> Self {
        let ProviderEvent { id, kind, body, payment_id } = event;
        Self { id, kind, body, payment_id: *payment_id }
    }
}

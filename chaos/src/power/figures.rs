//! The figures of a run, and their sum over all rounds, printed as one row of the table in docs/reliability.md.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::check::Observations;
use crate::client::Outcome;

/// What the cuts of NATS's power took from its streams. Counted right after its start, when the hosts may already have published
/// some events again, so all of it is a lower bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub postgres_cuts: u64,
    pub nats_cuts: u64,
    /// The cuts after which events were missing that JetStream had acknowledged.
    pub nats_fell_behind: u64,
    pub events: u64,
    /// The cuts after which a consumer had forgotten acknowledgements, and how many.
    pub consumers_fell_behind: u64,
    pub acknowledgements: u64,
}

impl Losses {
    pub fn add(&mut self, other: Self) {
        self.postgres_cuts += other.postgres_cuts;
        self.nats_cuts += other.nats_cuts;
        self.nats_fell_behind += other.nats_fell_behind;
        self.events += other.events;
        self.consumers_fell_behind += other.consumers_fell_behind;
        self.acknowledgements += other.acknowledgements;
    }
}

/// How much a run has checked; the times are the longest of all rounds, counted from the end of the last fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub reservations: usize,
    pub orders: usize,
    pub unanswered: usize,
    pub unanswered_done: usize,
    pub captures: usize,
    pub refunds: usize,
    pub mails: usize,
    /// Mails that were sent twice, under the same Message-ID.
    pub mail_copies: usize,
    pub events: usize,
    pub bought: Duration,
    pub idle: Duration,
    pub losses: Losses,
}

impl Figures {
    pub fn of(seen: &Observations<'_>, losses: Losses) -> Self {
        let (state, record) = (seen.state, seen.record);
        let unanswered = record.orders.iter().filter(|order| matches!(order.outcome, Outcome::Unknown));
        let unanswered: Vec<_> = unanswered.collect();
        let is_done = |key: &String| state.answered.get(key).is_some_and(Option::is_some);
        let names: BTreeSet<_> = state.received_mails.iter().map(|mail| &mail.message_id).collect();
        Self {
            reservations: state.reservations.len(),
            orders: record.orders.len(),
            unanswered: unanswered.len(),
            unanswered_done: unanswered.iter().filter(|order| is_done(&order.key)).count(),
            captures: state.captures.len(),
            refunds: state.provider_refunds.len(),
            mails: state.received_mails.len(),
            mail_copies: state.received_mails.len() - names.len(),
            events: state.events.len(),
            bought: seen.recovery.bought.clone().unwrap_or_default(),
            idle: seen.recovery.idle,
            losses,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.reservations += other.reservations;
        self.orders += other.orders;
        self.unanswered += other.unanswered;
        self.unanswered_done += other.unanswered_done;
        self.captures += other.captures;
        self.refunds += other.refunds;
        self.mails += other.mails;
        self.mail_copies += other.mail_copies;
        self.events += other.events;
        self.bought = self.bought.max(other.bought);
        self.idle = self.idle.max(other.idle);
        self.losses.add(other.losses);
    }

    /// A row of the table: the run, its faults, what was checked, and the number of broken promises.
    pub fn row(&self, run: &str, rounds: u64, broken: usize) -> String {
        let Self { losses, .. } = self;
        format!(
            "| `{run}` | {rounds} rounds; the power of Postgres was cut {} times, that of NATS {} times; after {} of these the \
             stream lacked events that were acknowledged, {} in all, and after {} a consumer had forgotten acknowledgements, \
             {} in all | {} reservations of {} orders, {} captures, {} refunds, {} mails ({} of them copies under the same \
             Message-ID), {} events; {} orders unanswered, {} of them took effect; after the last fault of a round a ticket was \
             bought within {:.1?}, and it was at rest within {:.1?} | {broken} |",
            losses.postgres_cuts,
            losses.nats_cuts,
            losses.nats_fell_behind,
            losses.events,
            losses.consumers_fell_behind,
            losses.acknowledgements,
            self.reservations,
            self.orders,
            self.captures,
            self.refunds,
            self.mails,
            self.mail_copies,
            self.events,
            self.unanswered,
            self.unanswered_done,
            self.bought,
            self.idle,
        )
    }
}

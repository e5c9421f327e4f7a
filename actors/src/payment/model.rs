//! A payment and its parts as one value, which is also the checkpoint that its row holds; and the answers that show it.
//!
//! Invariant: at most one capture is accepted ([`Stage::Captured`]); any other is given back.
//! Status, attention and the next check follow from its open parts. How a payment changes is decided by [`super::machine`].

mod parts;

use std::time::Duration;

use bus::Context;
use bus::contract::payment::{self as contract, DisputeStatus, PaymentStatus, PaymentSuccess};
use bus::contract::reservation::{Credit, CreditedCapture, RefundStatus, ReservationCreated, Sale};
use bus::contract::{Money, Timestamp, seat_list};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use parts::{Attempt, Bill, Dispute, KeyClaim, NO_SUCH_METHOD, Origin, Refund, State, shown_code};

/// Format of the checkpoint. A row of another format is refused: this host cannot know its meaning.
pub const FORMAT: u32 = 1;
/// The provider of a payment of nothing.
pub const NO_PROVIDER: &str = "none";
/// The longest that a caller waits for the reply to an attempt.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Providers keep an idempotency key for a day; a call that is repeated later could act twice.
pub const KEY_LIVES: Duration = Duration::from_secs(23 * 60 * 60);
const CHECK_MAX: Duration = Duration::from_secs(60 * 60);

/// Why a payment is over: its reservation was cancelled, or its hold ended.
pub const CANCELLED: &str = "reservation-cancelled";
pub const EXPIRED: &str = "hold-expired";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub format: u32,
    pub id: Uuid,
    pub reservation_id: Uuid,
    pub user_id: Uuid,
    pub email: Option<String>,
    /// The name of the purchase on the provider's page.
    pub description: String,
    /// What is charged.
    pub total: Money,
    /// For the receipts; `None` for a payment from before they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
    /// The reservation whose place the paid one takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_of: Option<Uuid>,
    /// What pays for the rest of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Credit>,
    /// The captures whose money pays for the order in the place of this one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credited: Vec<CreditedCapture>,
    /// The seats that are paid for now.
    pub sale: Option<Sale>,
    /// The reservation's version that `sale` is of; 0 while only `begin_payment` has returned it.
    pub seats_version: i64,
    /// The hold ended: money that arrives late buys the seats after all, or is given back whole.
    pub hold_expired: bool,
    /// The end of the hold, as far as payment knows.
    pub expires_at: Timestamp,
    pub stage: Stage,
    pub attempts: Vec<Attempt>,
    pub refunds: Vec<Refund>,
    pub disputes: Vec<Dispute>,
    /// The request that began it, as the cause of later webhooks and deadlines.
    pub context: Context,
    /// 0 while it is not in the database.
    #[serde(skip)]
    pub version: i64,
    /// When the provider is checked again. It moves in the row without a new version where a check finds nothing new.
    #[serde(skip)]
    pub next_check_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Stage {
    Payable,
    /// Being closed at the provider; nothing new may begin.
    Ending {
        code: String,
    },
    /// Nothing was captured, and nothing can be according to the provider's replies. Late money still leads to `Captured`.
    Over {
        code: String,
    },
    /// The one accepted capture.
    Captured {
        provider_ref: String,
        paid_at: Timestamp,
    },
}

/// The facts from which a new payment is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub reservation_id: Uuid,
    pub user_id: Uuid,
    pub email: Option<String>,
    pub description: String,
    pub sale: Option<Sale>,
    pub seats_version: i64,
    pub total: Money,
    pub bill: Bill,
    pub exchange_of: Option<Uuid>,
    pub credit: Option<Credit>,
    pub expires_at: Timestamp,
}

impl Facts {
    pub fn of(created: &ReservationCreated) -> Self {
        Self {
            reservation_id: created.reservation_id,
            user_id: created.user_id,
            // A guest gives it later, before paying.
            email: Some(created.email.clone()).filter(|email| !email.is_empty()),
            description: format!("{} · {}", created.movie_title, seat_list(&created.seats)),
            sale: Some(sale(created)),
            seats_version: created.version,
            total: created.due(),
            exchange_of: created.exchange_of,
            credit: created.credit.clone(),
            bill: Bill {
                site_id: created.site_id,
                code: created.code,
                locale: created.locale,
                lines: created.lines.clone(),
                fees: created.fees.clone(),
            },
            expires_at: created.expires_at,
        }
    }
}

/// The sold seats, by an event of reservation.
pub fn sale(event: &ReservationCreated) -> Sale {
    Sale {
        showtime_id: event.showtime_id,
        movie_id: event.movie_id,
        movie_title: event.movie_title.clone(),
        starts_at: event.starts_at,
        tickets: event.seats.len() as u16,
    }
}

/// The id of the reservation's one payment: a UUIDv7 with the reservation's own time whose other bits are a hash. So every
/// host that opens the payment, or requests it before it is opened, uses the same id.
pub fn payment_id(reservation: Uuid) -> Uuid {
    derived_id(reservation, "payment")
}

pub fn derived_id(from: Uuid, label: &str) -> Uuid {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(label.as_bytes());
    context.update(from.as_bytes());
    let digest = context.finish();
    let mut bytes = *from.as_bytes();
    bytes[6..].copy_from_slice(&digest.as_ref()[..10]);
    bytes[6] = bytes[6] & 0x0f | 0x70;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

/// When to check again a part that is open since `since`: after a pause as long as it has taken so far, from `first` to an
/// hour.
pub fn check_again_at(since: Timestamp, first: Duration, now: Timestamp) -> Timestamp {
    let elapsed = (now.date_time() - since.date_time()).try_into().unwrap_or(Duration::ZERO);
    now.plus(Duration::clamp(elapsed, first, CHECK_MAX))
}

impl Payment {
    /// Not yet in the database; its first change inserts it.
    pub fn open(facts: Facts, context: &Context, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            id: payment_id(facts.reservation_id),
            reservation_id: facts.reservation_id,
            user_id: facts.user_id,
            email: facts.email,
            description: facts.description,
            total: facts.total,
            bill: Some(facts.bill),
            exchange_of: facts.exchange_of,
            credit: facts.credit,
            credited: Vec::new(),
            sale: facts.sale,
            seats_version: facts.seats_version,
            hold_expired: false,
            expires_at: facts.expires_at,
            stage: Stage::Payable,
            attempts: Vec::new(),
            refunds: Vec::new(),
            disputes: Vec::new(),
            context: context.clone(),
            version: 0,
            next_check_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    pub fn status(&self) -> PaymentStatus {
        match &self.stage {
            Stage::Captured { .. } => match self.given_back() {
                0 => PaymentStatus::Succeeded,
                part if part < self.total.amount + self.credit.as_ref().map_or(0, |c| c.total.amount) => {
                    PaymentStatus::PartiallyRefunded
                }
                _ => PaymentStatus::Refunded,
            },
            Stage::Over { .. } => PaymentStatus::Failed,
            Stage::Payable | Stage::Ending { .. } if self.open_attempt().is_some() => {
                PaymentStatus::Processing
            }
            Stage::Payable | Stage::Ending { .. } => PaymentStatus::Open,
        }
    }

    /// Why a person must look.
    pub fn attention(&self) -> Option<&str> {
        let attempts = self.attempts.iter().filter_map(|attempt| attempt.concern.as_deref());
        let refunds = self.refunds.iter().filter_map(|refund| refund.concern.as_deref());
        let disputes = self.disputes.iter().filter_map(|dispute| dispute.concern.as_deref());
        attempts.chain(refunds).chain(disputes).next()
    }

    /// The earliest next check of its open parts.
    pub fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let attempts = self.attempts.iter().filter_map(|attempt| attempt.next_check(self.expires_at, now));
        let refunds = self.refunds.iter().filter_map(|refund| refund.next_check(now));
        let disputes = self.disputes.iter().filter_map(|dispute| dispute.next_check(now));
        attempts.chain(refunds).chain(disputes).min()
    }

    pub fn is_captured(&self) -> bool {
        matches!(self.stage, Stage::Captured { .. })
    }

    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.state.is_open())
    }

    pub fn attempt(&self, number: i32) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    pub fn refund(&self, id: Uuid) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.id == id)
    }

    pub fn dispute(&self, id: Uuid) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.id == id)
    }

    /// The provider's ids of its parts, by which a webhook finds it.
    pub fn provider_refs(&self) -> Vec<&str> {
        let attempts = self.attempts.iter().flat_map(|attempt| attempt.intent.iter().chain(&attempt.session));
        let refunds = self.refunds.iter().filter_map(|refund| refund.provider_ref.as_ref());
        attempts.chain(refunds).map(String::as_str).collect()
    }

    /// The money of a capture that disputes hold or took.
    pub fn disputed(&self, intent: &str) -> i64 {
        let taken = |d: &&Dispute| {
            d.intent == intent && matches!(d.status, DisputeStatus::Open | DisputeStatus::Lost)
        };
        self.disputes.iter().filter(taken).filter_map(|d| d.total).map(|total| total.amount).sum()
    }

    fn given_back(&self) -> i64 {
        let is_done = |r: &&Refund| r.origin == Origin::Saga && r.status == RefundStatus::Completed;
        self.refunds.iter().filter(is_done).map(|refund| refund.total.amount).sum()
    }

    /// The money of a capture that was given back or is being given back.
    pub fn promised(&self, intent: &str) -> i64 {
        let counted = self.refunds.iter().filter(|r| r.intent == intent && r.status != RefundStatus::Failed);
        counted.map(|refund| refund.total.amount).sum()
    }

    /// Whether the accepted capture was requested back in one sum, as happens to money that arrived too late.
    pub fn goes_back_whole(&self) -> bool {
        self.refunds.iter().any(|refund| refund.origin == Origin::Saga && refund.total == self.total)
    }

    /// Nothing is due, so no provider takes part.
    pub fn is_free(&self) -> bool {
        self.total.amount == 0
    }

    /// The seats that are paid for now.
    pub fn tickets(&self) -> i64 {
        self.sale.as_ref().map_or(0, |sale| sale.tickets.into())
    }

    /// The event of the accepted capture.
    pub fn success(&self, provider: &str) -> Option<PaymentSuccess> {
        let provider = if self.is_free() { NO_PROVIDER } else { provider };
        match &self.stage {
            Stage::Captured { provider_ref, paid_at } => Some(PaymentSuccess {
                payment_id: self.id,
                reservation_id: self.reservation_id,
                total: self.total,
                provider: provider.to_owned(),
                provider_ref: provider_ref.clone(),
                paid_at: *paid_at,
                version: self.version,
            }),
            Stage::Payable | Stage::Ending { .. } | Stage::Over { .. } => None,
        }
    }

    pub fn shown_to_staff(&self) -> contract::Payment {
        let attempts = self.attempts.iter().map(Attempt::shown_to_staff).collect();
        let attention = self.attention().map(str::to_owned);
        contract::Payment { attention, attempts, ..self.shown() }
    }

    /// The payment for an answer, without the fields for staff.
    pub fn shown(&self) -> contract::Payment {
        contract::Payment {
            id: self.id,
            reservation_id: self.reservation_id,
            status: self.status(),
            total: self.total,
            exchange_of: self.exchange_of,
            credit: self.credit.as_ref().map(|credit| credit.total),
            waived: self.credit.as_ref().map(|credit| credit.waived).filter(|waived| waived.amount > 0),
            due: self.exchange_of.filter(|_| !self.is_captured()).map(|_| self.total),
            checkout_url: self.attempts.iter().find_map(Attempt::waiting_page).cloned(),
            expires_at: self.expires_at,
            attempts: self.attempts.iter().map(Attempt::shown).collect(),
            refunds: self.refunds.iter().map(Refund::shown).collect(),
            disputes: self.disputes.iter().map(Dispute::shown).collect(),
            attention: None,
            log: None,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

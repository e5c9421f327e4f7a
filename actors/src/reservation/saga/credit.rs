//! Dearer exchanges: the money of the replaced reservation pays for the one in its place, whose own payment charges the rest.
//!
//! Invariant: of each capture no more is given back or credited than it took. Refunds are split over the captures, the newest
//! first, so that the provider can make each of them.
//! Invariant: one commit confirms the new reservation and ends the old one ([`Saga::replace`] and [`Saga::replaced`]).

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, Credit, CreditedCapture};
use bus::contract::{Money, OrderCode, Timestamp};
use uuid::Uuid;

use super::{KnownPayment, Refund, Saga, SagaCall, SagaEvent, State, Step};

/// The replaced reservation, as it was read with whether disputes hold some of its money.
#[derive(Debug, Clone, PartialEq)]
pub struct Replace {
    /// The reservation in its place.
    pub to: Uuid,
    /// `None` where it does not exist.
    pub old: Option<OldOrder>,
    pub is_disputed: bool,
}

/// Row and checkpoint of the replaced reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct OldOrder {
    pub id: Uuid,
    pub code: OrderCode,
    pub user_id: Uuid,
    pub email: String,
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
    pub version: i64,
    pub saga: Saga,
    pub created_at: Timestamp,
}

/// A capture that pays for the reservation, and the part of it that is neither given back nor credited.
struct Source<'a> {
    /// `None`: of its own payment.
    credited: Option<&'a CreditedCapture>,
    left: i64,
}

/// A refund's share of one capture: `provider_ref` is `None` for the capture of its own payment.
pub struct Share {
    pub provider_ref: Option<String>,
    pub total: Money,
}

impl Saga {
    fn waived(&self) -> i64 {
        self.credit.as_ref().map_or(0, |credit| credit.waived.amount)
    }

    fn credit_total(&self) -> i64 {
        self.credit.as_ref().map_or(0, |credit| credit.total.amount)
    }

    /// The amount that its own payment charges.
    pub fn due(&self) -> Money {
        let total = self.terms.total;
        Money { amount: total.amount - self.credit_total() - self.waived(), ..total }
    }

    pub fn credited_sum(&self) -> i64 {
        self.credited.iter().map(|capture| capture.total.amount).sum()
    }

    /// All refunds so far, settled or not.
    fn refunds(&self) -> impl Iterator<Item = &Refund> {
        let whole = match &self.state {
            State::Refunding { refund, .. }
            | State::Refunded { refund, .. }
            | State::NeedsAttention { refund, .. } => Some(refund),
            _ => None,
        };
        whole.into_iter().chain(self.parts.iter().map(|part| &part.refund))
    }

    /// Its captures, the newest first.
    fn sources(&self) -> Vec<Source<'_>> {
        let captures = self.credit.iter().flat_map(|credit| &credit.captures);
        let is_own = |name: &str| !captures.clone().any(|capture| capture.provider_ref == name);
        let refunded = |name: Option<&str>| -> i64 {
            let of = self.refunds().filter(|refund| refund.provider_ref.as_deref() == name);
            of.map(|refund| refund.total.amount).sum()
        };
        let credited = |is_of: &dyn Fn(&str) -> bool| -> i64 {
            let of = self.credited.iter().filter(|capture| is_of(&capture.provider_ref));
            of.map(|capture| capture.total.amount).sum()
        };
        let paid = self.captured.map_or(self.due().amount, |all| all.amount - self.credit_total());
        let own = paid - refunded(None) - credited(&is_own);
        let earlier = captures.clone().map(|capture| {
            let name = capture.provider_ref.as_str();
            let gone = refunded(Some(name)) + credited(&|other| other == name);
            Source { credited: Some(capture), left: capture.total.amount - gone }
        });
        std::iter::once(Source { credited: None, left: own }).chain(earlier).collect()
    }

    /// An amount split over the captures. An amount of nothing, as of a free order, is of its own payment.
    fn split(&self, total: Money) -> Vec<(Share, Option<&CreditedCapture>)> {
        let mut rest = total.amount;
        let mut shares = Vec::new();
        for source in self.sources() {
            let amount = rest.min(source.left.max(0));
            rest -= amount;
            if amount > 0 {
                let provider_ref = source.credited.map(|capture| capture.provider_ref.clone());
                let share = Share { provider_ref, total: Money { amount, ..total } };
                shares.push((share, source.credited));
            }
        }
        // More than is left: payment refuses it, and a person looks.
        if rest != 0 || shares.is_empty() {
            shares.push((Share { provider_ref: None, total: Money { amount: rest, ..total } }, None));
        }
        shares
    }

    pub(super) fn shares(&self, total: Money) -> Vec<Share> {
        self.split(total).into_iter().map(|(share, _)| share).collect()
    }

    /// What this reservation, whose id is given, pays of a dearer one. Money that is kept of lines given up earlier stays kept.
    pub fn credit_for(&self, id: Uuid, price: Money) -> Credit {
        let State::Confirmed { provider_ref, .. } = &self.state else {
            return Credit {
                total: Money { amount: 0, ..price },
                waived: Money { amount: 0, ..price },
                captures: vec![],
            };
        };
        let total = Money { amount: self.full_price().amount.min(price.amount), ..price };
        let captures = self.split(total).into_iter().filter(|(share, _)| share.total.amount > 0);
        let captures = captures.map(|(share, credited)| CreditedCapture {
            reservation_id: credited.map_or(id, |capture| capture.reservation_id),
            provider_ref: share.provider_ref.unwrap_or_else(|| provider_ref.clone()),
            total: share.total,
        });
        let difference = price.amount - total.amount;
        let waived = if difference < price.currency.least() { difference } else { 0 };
        Credit { total, waived: Money { amount: waived, ..price }, captures: captures.collect() }
    }

    /// This new reservation, in the place of the old one that pays the credit: for the same customer, and on no better terms.
    pub fn in_place_of(self, old: &Self, credit: Credit) -> Self {
        Self {
            terms: self.terms.no_better_than(&old.terms, old.fees_carried()),
            credit: Some(credit),
            guest: old.guest,
            customer_name: old.customer_name.clone(),
            // Links to the old order open this one, too.
            access: old.access,
            ..self
        }
    }

    /// The difference was paid: the replaced reservation is read, and only then this one is confirmed.
    pub(super) fn difference_paid(&self, success: &PaymentSuccess) -> Step {
        let (payment_id, version) = (success.payment_id, success.version);
        let payment = Some(KnownPayment { id: payment_id, checkout_url: None, version });
        let provider_ref = success.provider_ref.clone();
        let state = State::Replacing { payment_id, provider_ref, paid: success.total };
        Step::to(Self { payment, ..self.at(state) }).calls(self.read_replaced())
    }

    pub(super) fn read_replaced(&self) -> Option<SagaCall> {
        self.exchange_of.map(|old| SagaCall::ReadReplaced { old })
    }

    /// Takes the credit over, if all of it is still there; otherwise the difference is given back. So it is, too, when the replaced
    /// reservation was given another address or owner meanwhile: links of before may not take it away.
    pub(super) fn replace(&self, replace: &Replace, now: Timestamp) -> Step {
        let State::Replacing { payment_id, provider_ref, paid } = &self.state else { return self.same() };
        let credit = match (&self.credit, &replace.old) {
            (Some(credit), Some(old))
                if !replace.is_disputed && old.saga.access <= self.access && old.pays(replace.to, credit) =>
            {
                credit
            }
            _ => return self.give_difference_back(CancelReason::PaymentFailed, now),
        };
        let payment_id = *payment_id;
        let state = State::Confirmed { payment_id, provider_ref: provider_ref.clone(), exchanging: None };
        let captured = Money { amount: paid.amount + credit.total.amount, ..*paid };
        let next = Self { captured: Some(captured), ..self.at(state) };
        Step::to(next).event(SagaEvent::Confirmed { payment_id })
    }

    /// This reservation ends in the commit that confirms the one in its place.
    pub fn replaced(&self, credit: &Credit) -> Step {
        let reason = CancelReason::Exchanged;
        let (captured, credited) = (Some(self.captured()), credit.captures.clone());
        let next = Self { captured, credited, ..self.at(State::Cancelled { reason }) };
        Step::to(next).event(SagaEvent::Cancelled { reason })
    }

    /// Ends a reservation whose difference was paid; the one that it was to replace stays.
    pub(super) fn give_difference_back(&self, reason: CancelReason, now: Timestamp) -> Step {
        let State::Replacing { payment_id, paid, .. } = &self.state else { return self.same() };
        let refund = Refund::new(*payment_id, *paid, 0).because(reason.as_str(), None);
        Step::to(self.clone())
            .event(SagaEvent::Cancelled { reason })
            .and(|saga| saga.request_one_refund(reason, refund, now))
            .calls(self.notify_replaced())
    }
}

impl OldOrder {
    /// Whether it still waits for this reservation, with exactly the money that was credited.
    fn pays(&self, to: Uuid, credit: &Credit) -> bool {
        let waits = matches!(&self.saga.state, State::Confirmed { exchanging: Some(e), .. } if e.to == to);
        let price = Money { amount: i64::MAX, ..credit.total };
        let is_same = |now: Credit| now.total == credit.total && now.captures == credit.captures;
        waits && is_same(self.saga.credit_for(self.id, price))
    }
}

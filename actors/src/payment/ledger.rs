//! The double-entry ledger's words, and which movement each transition is. Pure: a step carries its postings, and they are
//! written with it.
//!
//! Invariant: a movement takes from one account what it gives to another, so every transaction sums to zero.
//! Invariant: what the account of the provider says is what the provider holds for us, fees apart.
//! Invariant: all that a payment has booked is booked for the show that its seats are of now: a move takes it along.

use std::collections::BTreeMap;

use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{RefundStatus, Sale};
use bus::contract::{Currency, Money, Timestamp};
use uuid::Uuid;

use super::model::{Origin, Payment, Refund, Stage};
use super::step::Draft;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// What the provider holds for us.
    Provider,
    Sales,
    Refunds,
    /// Captures that nobody asked for, to be given back.
    Unwanted,
    /// Kept by the provider until a dispute is decided.
    Disputed,
    /// Lost to disputes.
    Chargebacks,
}

impl Account {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "PROVIDER",
            Self::Sales => "SALES",
            Self::Refunds => "REFUNDS",
            Self::Unwanted => "UNWANTED",
            Self::Disputed => "DISPUTED",
            Self::Chargebacks => "CHARGEBACKS",
        }
    }

    /// Where a dispute's money is.
    pub fn of_dispute(status: Option<DisputeStatus>) -> Self {
        match status {
            None | Some(DisputeStatus::Inquiry | DisputeStatus::Won | DisputeStatus::Closed) => {
                Self::Provider
            }
            Some(DisputeStatus::Open) => Self::Disputed,
            Some(DisputeStatus::Lost) => Self::Chargebacks,
        }
    }

    /// What is booked there is what one show earned or lost.
    fn is_of_a_show(self) -> bool {
        match self {
            Self::Sales | Self::Refunds | Self::Disputed | Self::Chargebacks => true,
            Self::Provider | Self::Unwanted => false,
        }
    }
}

/// The show that something is booked for, as reports group it.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
}

impl From<&Sale> for Show {
    fn from(sale: &Sale) -> Self {
        Self {
            showtime_id: sale.showtime_id,
            movie_id: sale.movie_id,
            movie_title: sale.movie_title.clone(),
            starts_at: sale.starts_at,
        }
    }
}

/// One row of the ledger; a debit is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Posting {
    /// Names the movement; with its account, currency and leg it is booked once.
    pub transaction: String,
    /// 1 on the rows of a move that book for the new show.
    pub leg: i16,
    pub entry: &'static str,
    pub account: Account,
    pub total: Money,
    /// Seats sold or, negative, not sold any more: on the rows of `Sales`.
    pub tickets: i64,
    pub show: Option<Show>,
}

/// One movement of money.
pub struct Movement {
    pub transaction: String,
    pub entry: &'static str,
    pub from: Account,
    pub to: Account,
    pub total: Money,
    pub tickets: i64,
}

impl Payment {
    /// The seats that are paid for now.
    pub fn tickets(&self) -> i64 {
        self.sale.as_ref().map_or(0, |sale| sale.tickets.into())
    }

    /// What is booked for its show: the sum of all its postings there.
    fn booked(&self) -> BTreeMap<(Account, Currency), i64> {
        let mut sums = BTreeMap::new();
        let mut add = |account: Account, total: Money, sign: i64| {
            *sums.entry((account, total.currency)).or_insert(0) += sign * total.amount;
        };
        if matches!(self.stage, Stage::Captured { .. }) {
            add(Account::Sales, self.total, -1);
        }
        let is_booked = |r: &&Refund| r.origin == Origin::Asked && r.status == RefundStatus::Completed;
        self.refunds.iter().filter(is_booked).for_each(|refund| add(Account::Refunds, refund.total, 1));
        for dispute in &self.disputes {
            let account = Account::of_dispute(Some(dispute.status));
            if let Some(total) = dispute.total.filter(|_| account.is_of_a_show()) {
                add(account, total, 1);
            }
        }
        sums
    }
}

impl Draft<'_> {
    /// Books a movement, for the show that the payment is for now. One of nothing is none.
    pub fn book(&mut self, movement: Movement) {
        let Movement { transaction, entry, from, to, total, tickets } = movement;
        let show = self.payment.sale.as_ref().map(Show::from);
        let side = |account: Account, amount| Posting {
            transaction: transaction.clone(),
            leg: 0,
            entry,
            account,
            total: Money { amount, ..total },
            tickets: if account == Account::Sales { tickets } else { 0 },
            show: show.clone().filter(|_| account.is_of_a_show()),
        };
        if from != to {
            self.add(side(from, -total.amount));
            self.add(side(to, total.amount));
        }
    }

    /// Books that a captured payment is for `after` from now on: all that was booked for the show before goes along, and the
    /// tickets are as many as `after` has.
    pub fn book_move(&mut self, transaction: &str, entry: &'static str, before: &Sale, after: &Sale) {
        let nothing = Money { amount: 0, ..self.payment.total };
        let (old, new) = (Show::from(before), Show::from(after));
        let (sold, sells) = (i64::from(before.tickets), i64::from(after.tickets));
        let row = |leg, account, total, tickets, show: &Show| Posting {
            transaction: transaction.to_owned(),
            leg,
            entry,
            account,
            total,
            tickets,
            show: Some(show.clone()),
        };
        if (old.showtime_id, old.movie_id) == (new.showtime_id, new.movie_id) {
            return self.add(row(0, Account::Sales, nothing, sells - sold, &new));
        }
        for ((account, currency), amount) in self.payment.booked() {
            let is_sales = (account, currency) == (Account::Sales, nothing.currency);
            let (out, into) = if is_sales { (-sold, sells) } else { (0, 0) };
            self.add(row(0, account, Money { amount: -amount, currency }, out, &old));
            self.add(row(1, account, Money { amount, currency }, into, &new));
        }
    }

    fn add(&mut self, posting: Posting) {
        if posting.total.amount != 0 || posting.tickets != 0 {
            self.postings.push(posting);
        }
    }
}

//! The double-entry ledger: accounts, postings, and the postings of a movement. Pure: a step has its postings, and they are
//! written with it.
//!
//! Invariant: a movement takes from one account the amount that it adds to another, so every transaction sums to zero.
//! Invariant: the balance of the provider's account is the money that the provider holds for us, without fees.
//! Invariant: all postings of a payment are booked for the show of its seats: an exchange to another show moves them.

use std::collections::BTreeMap;

use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{RefundStatus, Sale};
use bus::contract::{Currency, Money, Timestamp};
use uuid::Uuid;

use super::model::{Origin, Payment, Refund};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// The money that the provider holds for us.
    Provider,
    Sales,
    /// Between an order and the dearer one in its place.
    Credit,
    /// Differences too little to be charged.
    Waived,
    Refunds,
    /// Captures other than the accepted one, to be given back.
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
            Self::Credit => "CREDIT",
            Self::Waived => "WAIVED",
            Self::Refunds => "REFUNDS",
            Self::Unwanted => "UNWANTED",
            Self::Disputed => "DISPUTED",
            Self::Chargebacks => "CHARGEBACKS",
        }
    }

    /// The account of a dispute's money.
    pub fn of_dispute(status: Option<DisputeStatus>) -> Self {
        match status {
            None | Some(DisputeStatus::Inquiry | DisputeStatus::Won | DisputeStatus::Closed) => {
                Self::Provider
            }
            Some(DisputeStatus::Open) => Self::Disputed,
            Some(DisputeStatus::Lost) => Self::Chargebacks,
        }
    }

    /// Whether its postings are of one show.
    fn is_of_a_show(self) -> bool {
        match self {
            Self::Sales | Self::Waived | Self::Refunds | Self::Disputed | Self::Chargebacks => true,
            Self::Provider | Self::Credit | Self::Unwanted => false,
        }
    }
}

/// The show that postings are booked for, by which reports group.
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
    /// The sum of all postings of the payment for its show.
    fn booked(&self) -> BTreeMap<(Account, Currency), i64> {
        let mut sums = BTreeMap::new();
        let mut add = |account: Account, total: Money, sign: i64| {
            *sums.entry((account, total.currency)).or_insert(0) += sign * total.amount;
        };
        if self.is_captured() {
            let sold = self.price() - self.credited_sum();
            add(Account::Sales, Money { amount: sold, ..self.total }, -1);
            if let Some(credit) = &self.credit {
                add(Account::Waived, credit.waived, 1);
            }
        }
        let is_booked = |r: &&Refund| r.origin == Origin::Saga && r.status == RefundStatus::Completed;
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

/// The postings of a movement, for the show that the payment is for. A movement of nothing has none.
pub fn postings(payment: &Payment, movement: Movement) -> Vec<Posting> {
    let Movement { transaction, entry, from, to, total, tickets } = movement;
    if from == to {
        return Vec::new();
    }
    let show = payment.sale.as_ref().map(Show::from);
    let side = |account: Account, amount| Posting {
        transaction: transaction.clone(),
        leg: 0,
        entry,
        account,
        total: Money { amount, ..total },
        tickets: if account == Account::Sales { tickets } else { 0 },
        show: show.clone().filter(|_| account.is_of_a_show()),
    };
    [side(from, -total.amount), side(to, total.amount)].into_iter().filter(Posting::moves_something).collect()
}

/// The postings that move a captured payment to `after`: all that was booked for the former show is moved, and the tickets
/// become the number of `after`.
pub fn move_postings(
    payment: &Payment,
    transaction: &str,
    entry: &'static str,
    before: &Sale,
    after: &Sale,
) -> Vec<Posting> {
    let nothing = Money { amount: 0, ..payment.total };
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
    let mut rows = Vec::new();
    if (old.showtime_id, old.movie_id) == (new.showtime_id, new.movie_id) {
        rows.push(row(0, Account::Sales, nothing, sells - sold, &new));
    } else {
        for ((account, currency), amount) in payment.booked() {
            let is_sales = (account, currency) == (Account::Sales, nothing.currency);
            let (out, into) = if is_sales { (-sold, sells) } else { (0, 0) };
            rows.push(row(0, account, Money { amount: -amount, currency }, out, &old));
            rows.push(row(1, account, Money { amount, currency }, into, &new));
        }
    }
    rows.into_iter().filter(Posting::moves_something).collect()
}

impl Posting {
    fn moves_something(&self) -> bool {
        self.total.amount != 0 || self.tickets != 0
    }
}

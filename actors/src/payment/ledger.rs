//! The double-entry ledger's words, and which movement each transition is. Pure: a step carries its postings, and they are
//! written with it.
//!
//! Invariant: a movement takes from one account what it gives to another, so every transaction sums to zero.
//! Invariant: what the account of the provider says is what the provider holds for us, fees apart.

use bus::contract::Money;

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
}

/// One row of the ledger; a debit is positive.
#[derive(Debug, Clone, PartialEq)]
pub struct Posting {
    /// Names the movement; with its account and currency it is booked once.
    pub transaction: String,
    pub entry: &'static str,
    pub account: Account,
    pub total: Money,
    /// Tickets sold or, negative, given back: on the rows of `Sales` and `Refunds`.
    pub tickets: i64,
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

impl Draft<'_> {
    /// Books a movement. One of nothing is none.
    pub fn book(&mut self, movement: Movement) {
        let Movement { transaction, entry, from, to, total, tickets } = movement;
        if total.amount == 0 || from == to {
            return;
        }
        let side = |account, amount| Posting {
            transaction: transaction.clone(),
            entry,
            account,
            total: Money { amount, ..total },
            tickets: if matches!(account, Account::Sales | Account::Refunds) { tickets } else { 0 },
        };
        self.postings.extend([side(from, -total.amount), side(to, total.amount)]);
    }

    pub fn tickets(&self) -> i64 {
        self.payment.sale.as_ref().map_or(0, |sale| sale.tickets.into())
    }
}

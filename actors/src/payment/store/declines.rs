//! How many direct charges of an account were declined, counted with the attempt that is written.
//!
//! Invariant: attempts of one account are counted under a lock of that account, which the statement before takes, so that
//! two hosts cannot both begin the last one. A charge whose outcome is not known yet counts as declined: it may be.

use std::collections::HashMap;

use bus::contract::Timestamp;
use uuid::Uuid;

use super::write::PaymentRows;

/// The bound of a new direct charge.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub payer: Uuid,
    /// The new attempt.
    pub number: i32,
    /// How many declines there may be.
    pub most: usize,
    /// Counted from here.
    pub since: Timestamp,
}

/// The accounts that a batch charges directly, in the order in which every host locks them.
pub fn payers(rows: &[&PaymentRows]) -> Vec<String> {
    let mut payers: Vec<String> =
        rows.iter().filter_map(|rows| Some(rows.bound?.payer.to_string())).collect();
    payers.sort_unstable();
    payers.dedup();
    payers
}

/// The payments whose new charge is one too many, by what the database counted of each account before this batch.
pub fn refused(rows: &[&PaymentRows], counted: &HashMap<Uuid, usize>) -> Vec<Uuid> {
    let bounded = rows.iter().filter_map(|rows| Some((rows, rows.bound?)));
    let over = bounded.filter(|(_, bound)| {
        let together = rows.iter().filter(|rows| rows.bound.is_some_and(|other| other.payer == bound.payer));
        counted.get(&bound.payer).copied().unwrap_or_default() + together.count() > bound.most
    });
    over.map(|(rows, _)| rows.payment.id).collect()
}

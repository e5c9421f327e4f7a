//! The seats of a layout: which kinds it sells, and which seats another layout would take from somebody.

use std::collections::{BTreeSet, HashMap};

use bus::contract::SeatId;
use bus::contract::movie::{Row, SeatKind};

/// The kinds of seat that a layout sells.
pub fn kinds_sold(rows: &[Row]) -> BTreeSet<SeatKind> {
    let kinds = rows.iter().flat_map(|row| &row.seats).map(|seat| seat.kind);
    kinds.filter(|kind| *kind != SeatKind::Gap).collect()
}

/// Which of these claimed seats another layout lacks or has as another kind. A companion's seat is not what a wheelchair's
/// place was sold as, and a loveseat is another price.
pub fn lost_seats(before: &[Row], after: &[Row], claimed: &[SeatId]) -> Vec<SeatId> {
    let (before, after) = (kinds(before), kinds(after));
    claimed.iter().filter(|seat| before.get(*seat) != after.get(*seat)).cloned().collect()
}

fn kinds(rows: &[Row]) -> HashMap<SeatId, SeatKind> {
    let seats = rows
        .iter()
        .flat_map(|row| row.seats.iter().map(|seat| (SeatId::new(&row.label, seat.number), seat.kind)));
    seats.filter(|(_, kind)| *kind != SeatKind::Gap).collect()
}

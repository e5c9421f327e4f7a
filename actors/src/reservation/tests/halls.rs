//! Seat maps and best-available.

use bus::contract::movie::{Prices, Row, Seat, SeatKind};
use bus::contract::reservation::{SeatChange, SeatStatus, SeatsChanged};

use super::*;
use crate::reservation::best_available::best_available;
use crate::reservation::seat_map::{Applied, Named, SeatMap};

/// Rows as text: `S` standard, `W` wheelchair, `C` companion, `LL` and `TTT` love seats for two and three, `-` aisle. Numbers run
/// on across aisles.
pub(super) fn hall(rows: &[&str]) -> SeatMap {
    let layout: Vec<Row> = ('A'..).zip(rows).map(|(label, row)| layout_row(label, row)).collect();
    let prices = [SeatKind::Standard, SeatKind::Wheelchair, SeatKind::Companion, SeatKind::Loveseat];
    SeatMap::new(&layout, &Prices::from(prices.map(|kind| (kind, euros(1200)))), 0)
}

pub(super) fn layout_row(label: char, row: &str) -> Row {
    let mut letters: Vec<(u16, char)> = (1..).zip(row.chars()).collect();
    letters.retain(|(_, letter)| *letter != '-');
    let mut seats: Vec<Seat> = Vec::new();
    for (number, (column, letter)) in (1..).zip(letters) {
        let kind = match letter {
            'W' => SeatKind::Wheelchair,
            'C' => SeatKind::Companion,
            'L' | 'T' => SeatKind::Loveseat,
            _ => SeatKind::Standard,
        };
        let size = if letter == 'T' { 3 } else { 2 };
        let begun = seats.last().and_then(|last| last.unit);
        let members = seats.iter().filter(|seat| begun.is_some() && seat.unit == begun).count();
        let unit = match (kind, begun) {
            (SeatKind::Loveseat, Some(unit)) if members < size => Some(unit),
            (SeatKind::Loveseat, _) => Some(number),
            _ => None,
        };
        seats.push(Seat { number, column: Some(column), kind, unit });
    }
    Row { label: label.to_string(), seats }
}

pub(super) fn take(map: &mut SeatMap, seats: &[&str]) {
    let changes = seats
        .iter()
        .map(|id| SeatChange { id: SeatId::parse(id).unwrap(), status: SeatStatus::Sold })
        .collect();
    assert_eq!(
        map.apply(&SeatsChanged { sequence: map.sequence + 1, changes, reload: false }),
        Applied::Newer
    );
}

pub(super) fn best(map: &SeatMap, count: usize) -> Vec<SeatId> {
    map.ids(&best_available(map, count, SeatKind::Standard, &[]).unwrap_or_default())
}

#[test]
fn best_available_sits_together_in_the_middle() {
    assert_eq!(best(&hall(&["SSSSSSS"]), 3), ids(&["A3", "A4", "A5"]));
    assert_eq!(best(&hall(&["SSSSSSS", "SSSSSSS", "SSSSSSS", "SSSSSSS"]), 1), ids(&["C4"]));
}

#[test]
fn best_available_leaves_no_single_seat_behind() {
    // A4+A5 would be most central but leave A3 or A6 alone.
    let mut map = hall(&["SSSSSSSS"]);
    take(&mut map, &["A1", "A2", "A7", "A8"]);
    assert_eq!(best(&map, 2), ids(&["A3", "A4"]));
    // Three of these four seats always leave one; adjacency matters more.
    assert_eq!(best(&map, 3).len(), 3);
}

#[test]
fn best_available_splits_a_party_rather_than_refuse() {
    let mut map = hall(&["SSSS", "SSSS"]);
    take(&mut map, &["A2", "A4", "B1", "B3"]);
    let seats = best(&map, 4);
    assert_eq!(seats, ids(&["A1", "A3", "B2", "B4"]));
    assert!(best_available(&map, 5, SeatKind::Standard, &[]).is_none());
}

#[test]
fn best_available_minds_gaps_and_kinds() {
    let map = hall(&["SS-SW"]);
    assert_eq!(best(&map, 2), ids(&["A1", "A2"]));
    let wheelchair = best_available(&map, 1, SeatKind::Wheelchair, &[]);
    assert_eq!(wheelchair.map(|s| map.ids(&s)), Some(ids(&["A4"])));
}

#[test]
fn a_mark_keeps_others_waiting_and_ends_with_its_change() {
    let mut map = hall(&["SSS"]);
    let (mine, a1) = (Uuid::now_v7(), map.find(&ids(&["A1"])).unwrap());
    map.mark(&a1, mine);
    assert_eq!(map.named(a1.clone()), Named::Wait);
    assert_eq!(map.view().seats[0].status, SeatStatus::Free, "only committed claims are published");
    map.settle(mine, false);
    assert_eq!(map.named(a1.clone()), Named::Free(a1.clone()));
    map.mark(&a1, mine);
    map.settle(mine, true);
    assert_eq!(map.named(a1), Named::Taken(ids(&["A1"])));
}

#[test]
fn notices_are_applied_in_order_or_not_at_all() {
    let mut map = hall(&["SSS"]);
    let notice = |sequence, status| SeatsChanged {
        sequence,
        changes: vec![SeatChange { id: SeatId::new("A", 1), status }],
        reload: false,
    };
    assert_eq!(map.apply(&notice(2, SeatStatus::Sold)), Applied::Gap);
    assert_eq!(map.view().seats[0].status, SeatStatus::Free);
    assert_eq!(map.apply(&notice(1, SeatStatus::Held)), Applied::Newer);
    assert_eq!(map.apply(&notice(1, SeatStatus::Free)), Applied::Old);
    assert_eq!(map.view().seats[0].status, SeatStatus::Held);
    map.load(9, std::iter::empty());
    assert_eq!((map.sequence, map.view().seats[0].status), (9, SeatStatus::Free));
}

#[test]
fn other_seats_and_prices_are_only_read_and_keep_the_marks() {
    let mut map = hall(&["SSS"]);
    let reload = SeatsChanged { sequence: 1, changes: vec![], reload: true };
    assert_eq!(map.apply(&reload), Applied::Gap);
    let (mine, a2) = (Uuid::now_v7(), map.find(&ids(&["A2"])).unwrap());
    map.mark(&a2, mine);
    let seat = |number| Seat::new(number, SeatKind::Standard);
    let fitted = Row { label: "A".into(), seats: vec![seat(2), seat(9)] };
    map.refit(&[fitted], &Prices::from([(SeatKind::Standard, euros(1500))]));
    map.load(1, [(&SeatId::new("A", 9), SeatStatus::Sold)].into_iter());
    assert_eq!(map.find(&ids(&["A1"])), Err(Rejection::SeatUnknown(ids(&["A1"]))));
    let a2 = map.find(&ids(&["A2"])).unwrap();
    assert_eq!((map.named(a2.clone()), map.seats()[a2[0]].price), (Named::Wait, Some(euros(1500))));
    let a9 = map.find(&ids(&["A9"])).unwrap();
    assert_eq!(map.named(a9), Named::Taken(ids(&["A9"])));
}

#[test]
fn unknown_and_unsold_seats_are_named() {
    let map = hall(&["S-S"]);
    assert_eq!(map.find(&ids(&["A1", "A3", "Z9"])), Err(Rejection::SeatUnknown(ids(&["A3", "Z9"]))));
    let unpriced = Row { label: "A".into(), seats: vec![Seat::new(1, SeatKind::Loveseat)] };
    let map = SeatMap::new(&[unpriced], &Prices::new(), 0);
    assert_eq!(map.find(&ids(&["A1"])), Err(Rejection::SeatBlocked(ids(&["A1"]))));
}

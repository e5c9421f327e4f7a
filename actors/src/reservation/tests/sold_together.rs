//! Neighbours by columns, units, companion places, and best-available over random halls.

use bus::contract::movie::{Prices, Row, Seat, SeatKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::halls::{best, hall, take};
use super::*;
use crate::reservation::best_available::{best_available, left};
use crate::reservation::seat_map::SeatMap;
use crate::reservation::sold_together::check;

fn order(map: &SeatMap, seats: &[&str]) -> Result<(), Rejection> {
    check(map, &map.find(&ids(seats)).unwrap())
}

fn of_kind(map: &SeatMap, count: usize, kind: SeatKind) -> Option<Vec<SeatId>> {
    best_available(map, count, kind, &[]).map(|seats| map.ids(&seats))
}

/// One row of seats, numbered as given, where 0 is an aisle.
fn numbered(numbers: &[u16]) -> SeatMap {
    let seat = |(column, number): (u16, &u16)| Seat {
        column: Some(column),
        ..Seat::new(*number, SeatKind::Standard)
    };
    let seats = (1..).zip(numbers).filter(|(_, number)| **number > 0).map(seat).collect();
    let row = Row { label: "11".into(), seats };
    SeatMap::new(&[row], &Prices::from([(SeatKind::Standard, euros(1200))]), 0)
}

#[test]
fn neighbours_are_adjacent_columns_whatever_the_numbers_are() {
    let odd_and_even = numbered(&[7, 5, 3, 1, 2, 4, 6, 8]);
    assert_eq!(best(&odd_and_even, 2), ids(&["11-1", "11-2"]));
    let across_an_aisle = numbered(&[1, 2, 3, 0, 4, 5, 6]);
    for count in [2, 3] {
        let seats = best(&across_an_aisle, count);
        assert!(
            !(seats.contains(&SeatId::new("11", 3)) && seats.contains(&SeatId::new("11", 4))),
            "{seats:?}"
        );
    }
    let apart = across_an_aisle.find(&ids(&["11-3", "11-4"])).unwrap();
    assert!(!across_an_aisle.are_together(&apart));
    assert!(odd_and_even.are_together(&odd_and_even.find(&ids(&["11-2", "11-1", "11-3"])).unwrap()));
}

#[test]
fn a_layout_without_columns_takes_the_order_of_its_list() {
    let row = Row {
        label: "A".into(),
        seats: [9, 3, 5].map(|number| Seat::new(number, SeatKind::Standard)).to_vec(),
    };
    let map = SeatMap::new(&[row], &Prices::from([(SeatKind::Standard, euros(1200))]), 0);
    let columns: Vec<_> =
        map.view().seats.into_iter().map(|seat| (seat.id.to_string(), seat.column)).collect();
    assert_eq!(columns, [("A9".to_owned(), 1), ("A3".to_owned(), 2), ("A5".to_owned(), 3)]);
}

#[test]
fn a_companion_place_is_sold_only_with_the_wheelchair_place_beside_it() {
    let map = hall(&["CWCS", "W-CS"]);
    let alone = |seats: &[&str]| Err(Rejection::CompanionAlone(ids(seats)));
    assert_eq!(order(&map, &["A1"]), alone(&["A1"]));
    assert_eq!(order(&map, &["A3", "A4"]), alone(&["A3"]));
    assert_eq!(order(&map, &["A1", "A3"]), alone(&["A1", "A3"]));
    assert_eq!(order(&map, &["A1", "A3", "B1"]), alone(&["A1", "A3"]));
    assert_eq!(order(&map, &["A3", "A2"]), Ok(()));
    assert_eq!(order(&map, &["A1", "A2", "A3"]), Ok(()), "one on each side");
    assert_eq!(order(&map, &["A2"]), Ok(()), "a wheelchair place needs no companion");
    assert_eq!(order(&map, &["B2"]), Ok(()), "across an aisle there is no wheelchair place to go with");
}

#[test]
fn seats_of_a_unit_are_sold_together() {
    let map = hall(&["LLLLS", "TTTSS"]);
    let split = |seats: &[&str]| Err(Rejection::UnitSplit(ids(seats)));
    assert_eq!(order(&map, &["A1"]), split(&["A1", "A2"]));
    assert_eq!(order(&map, &["A2", "A3"]), split(&["A1", "A2", "A3", "A4"]));
    assert_eq!(order(&map, &["B1", "B3", "B4"]), split(&["B1", "B2", "B3"]));
    assert_eq!(order(&map, &["A4", "A3", "A5"]), Ok(()));
    assert_eq!(order(&map, &["B1", "B2", "B3"]), Ok(()));
}

#[test]
fn best_available_takes_whole_units_and_no_companion_place() {
    let map = hall(&["LLLL-LL", "WCSS"]);
    assert_eq!(of_kind(&map, 2, SeatKind::Loveseat), Some(ids(&["A3", "A4"])));
    assert_eq!(of_kind(&map, 4, SeatKind::Loveseat), Some(ids(&["A1", "A2", "A3", "A4"])));
    assert_eq!(of_kind(&map, 6, SeatKind::Loveseat).map(|seats| seats.len()), Some(6));
    assert_eq!(of_kind(&map, 3, SeatKind::Loveseat), None);
    assert_eq!(left(&map, SeatKind::Loveseat), (6, 0));
    assert_eq!((of_kind(&map, 1, SeatKind::Companion), left(&map, SeatKind::Companion)), (None, (0, 0)));
    assert_eq!(best(&map, 3), Vec::<SeatId>::new());
    let mut half = hall(&["LLLL"]);
    take(&mut half, &["A2"]);
    assert_eq!(left(&half, SeatKind::Loveseat), (2, 0), "the half that is left is not offered");
    assert_eq!(of_kind(&half, 2, SeatKind::Loveseat), Some(ids(&["A3", "A4"])));
}

#[test]
fn units_of_different_sizes_are_put_together_to_the_count_wherever_they_stand() {
    let map = hall(&["TTT-LL", "LL-LL"]);
    assert_eq!(
        of_kind(&map, 4, SeatKind::Loveseat).map(|seats| seats.len()),
        Some(4),
        "the three are left out"
    );
    assert_eq!(of_kind(&map, 5, SeatKind::Loveseat).map(|seats| seats.len()), Some(5));
    assert_eq!(of_kind(&map, 8, SeatKind::Loveseat), None);
    assert_eq!(of_kind(&map, 9, SeatKind::Loveseat).map(|seats| seats.len()), Some(9));
}

#[test]
fn the_best_seats_near_others_stay_close_to_them() {
    let mut map = hall(&["SSSSSSSS", "SSSSSSSS", "SSSSSSSS", "SSSSSSSS"]);
    take(&mut map, &["A1", "A2", "A3", "A4"]);
    let near = map.find(&ids(&["A1", "A2"])).unwrap();
    let found = best_available(&map, 2, SeatKind::Standard, &near).unwrap();
    assert_eq!(map.ids(&found), ids(&["B1", "B2"]));
}

/// Single seats of the kind that others have left alone: free, with no free seat beside.
fn orphans(map: &SeatMap, taken: &[usize]) -> usize {
    let is_free = |seat: usize| {
        map.seats()[seat].kind == SeatKind::Standard && map.seats()[seat].is_free() && !taken.contains(&seat)
    };
    let all = 0..map.seats().len();
    let is_alone = |seat: &usize| {
        is_free(*seat) && !all.clone().any(|other| is_free(other) && map.are_adjacent(*seat, other))
    };
    all.clone().filter(is_alone).count()
}

#[test]
fn in_random_halls_best_available_keeps_every_rule() {
    let mut random = StdRng::seed_from_u64(14);
    let parts = ["S", "SS", "SSS", "SSSSS", "-", "WC", "CWC", "LL", "TTT", "LLLL"];
    let (mut apart, mut none, mut whole) = (0, 0, 0);
    for _ in 0..3_000 {
        let rows: Vec<String> = (0..random.random_range(1..5))
            .map(|_| {
                (0..random.random_range(1..7)).map(|_| parts[random.random_range(0..parts.len())]).collect()
            })
            .filter(|row: &String| row.contains(|letter| letter != '-'))
            .collect();
        let mut map = hall(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let all: Vec<String> = map.seats().iter().map(|seat| seat.id.to_string()).collect();
        let sold: Vec<&str> = all.iter().filter(|_| random.random_bool(0.3)).map(String::as_str).collect();
        take(&mut map, &sold);
        for kind in [SeatKind::Standard, SeatKind::Loveseat, SeatKind::Wheelchair, SeatKind::Companion] {
            let count = random.random_range(1..8);
            let (left, _) = left(&map, kind);
            let Some(found) = best_available(&map, count, kind, &[]) else {
                none += 1;
                assert!(
                    left < count || kind == SeatKind::Loveseat,
                    "{rows:?} {sold:?} {kind:?}: {left} left"
                );
                continue;
            };
            let names = map.ids(&found);
            assert_eq!(found.len(), count, "{rows:?} {sold:?}: {names:?}");
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "each once: {names:?}");
            assert!(found.iter().all(|seat| map.seats()[*seat].is_free() && map.seats()[*seat].kind == kind));
            assert_eq!(check(&map, &found), Ok(()), "{rows:?} {sold:?}: {names:?}");
            whole += usize::from(kind == SeatKind::Loveseat);
            let same_row = found.iter().all(|seat| map.seats()[*seat].row == map.seats()[found[0]].row);
            let span = map.seats()[found[count - 1]].column.abs_diff(map.seats()[found[0]].column);
            let side_by_side = same_row && usize::from(span) == count - 1;
            assert_eq!(map.are_together(&found), side_by_side, "{rows:?} {sold:?}: {names:?}");
            apart += usize::from(!side_by_side);
            if kind == SeatKind::Standard && side_by_side && orphans(&map, &found) > orphans(&map, &[]) {
                // Only where every window of so many seats leaves one.
                let starts = 0..map.seats().len() - count + 1;
                let others = starts.map(|from| (from..from + count).collect::<Vec<_>>()).filter(|window| {
                    map.are_together(window)
                        && window
                            .iter()
                            .all(|seat| map.seats()[*seat].kind == kind && map.seats()[*seat].is_free())
                });
                let better = others.filter(|window| orphans(&map, window) <= orphans(&map, &[])).count();
                assert_eq!(better, 0, "{rows:?} {sold:?}: {names:?} leaves an orphan");
            }
        }
    }
    assert!(apart > 100 && none > 100 && whole > 100, "the halls are too much alike: {apart} {none} {whole}");
}

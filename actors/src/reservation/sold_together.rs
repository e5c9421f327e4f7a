//! Which seats are sold only together: a companion place with the wheelchair place beside it, and the seats of one unit.
//!
//! Both rules depend on the layout alone, never on sold seats, so that they give the same answer to every retry of an order.

use bus::contract::reservation::Rejection;

use super::seat_map::SeatMap;

/// Whether an order may have exactly these seats.
pub fn check(map: &SeatMap, order: &[usize]) -> Result<(), Rejection> {
    let is_alone = |seat: &usize| {
        let mut beside = map.wheelchairs_beside(*seat).peekable();
        // In a layout from before this rule a companion place may stand beside no wheelchair place: it is sold like any seat,
        // since otherwise it could never be sold.
        beside.peek().is_some() && !beside.any(|wheelchair| order.contains(&wheelchair))
    };
    let alone: Vec<usize> = order.iter().copied().filter(is_alone).collect();
    if !alone.is_empty() {
        return Err(Rejection::CompanionAlone(map.ids(&alone)));
    }
    let mut split: Vec<usize> = Vec::new();
    for unit in order.iter().map(|seat| map.unit(*seat)) {
        if !split.contains(&unit.start) && unit.clone().any(|seat| !order.contains(&seat)) {
            split.extend(unit);
        }
    }
    if split.is_empty() { Ok(()) } else { Err(Rejection::UnitSplit(map.ids(&split))) }
}

//! Seats: one owner each, one after another, and every one of them free, held or sold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use reqwest::Method;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Checked, Scene};
use crate::house::{Hall, House};
use crate::truth::Reservation;

/// Whether a saga in this state owns its seats.
pub fn owns(state: &str) -> bool {
    matches!(state, "awaiting-payment" | "paying" | "ending" | "confirmed")
}

/// Confirmed reservations share no seat, and claims are exactly those of the reservations that own seats.
pub fn one_owner(scene: &Scene<'_>) -> Checked {
    let truth = scene.truth;
    let mut findings = Vec::new();
    let mut sold: HashMap<(Uuid, &str), Uuid> = HashMap::new();
    let mut wanted: HashSet<(Uuid, &str, Uuid, &str)> = HashSet::new();
    for reservation in truth.reservations.values() {
        let status = match reservation.status.as_str() {
            "CONFIRMED" => "SOLD",
            "PENDING" => "HELD",
            _ => continue,
        };
        for seat in &reservation.seats {
            wanted.insert((reservation.showtime, seat, reservation.id, status));
            if let Some(other) = sold.insert((reservation.showtime, seat), reservation.id) {
                findings.push(format!(
                    "{} {seat} belongs to {other} and {}",
                    reservation.showtime, reservation.id
                ));
            }
        }
    }
    let found: HashSet<_> = truth
        .claims
        .iter()
        .map(|(at, seat, of, status)| (*at, seat.as_str(), *of, status.as_str()))
        .collect();
    findings.extend(wanted.difference(&found).map(|claim| format!("no claim {claim:?}")));
    findings.extend(found.difference(&wanted).map(|claim| format!("nobody's claim {claim:?}")));
    let evidence = format!("{} seats owned by {} reservations", found.len(), truth.reservations.len());
    Checked::new("seat-sold-once", evidence, findings)
}

/// From when to when a reservation owned its seats, by the commits that began and ended it.
fn intervals(reservation: &Reservation) -> Vec<(OffsetDateTime, Option<OffsetDateTime>)> {
    let mut intervals: Vec<(OffsetDateTime, Option<OffsetDateTime>)> = Vec::new();
    for step in &reservation.steps {
        let open = intervals.last().is_some_and(|(_, end)| end.is_none());
        match (owns(&step.state), open) {
            (true, false) => intervals.push((step.committed, None)),
            (false, true) => {
                if let Some((_, end)) = intervals.last_mut() {
                    *end = Some(step.committed);
                }
            }
            _ => {}
        }
    }
    intervals
}

/// Nobody owned a seat before the one before had given it back.
pub fn holds_disjoint(scene: &Scene<'_>) -> Checked {
    type Owned = (OffsetDateTime, Option<OffsetDateTime>, Uuid);
    let mut of_seat: BTreeMap<(Uuid, &str), Vec<Owned>> = BTreeMap::new();
    // Of an exchanged one it is not known here which seats it had when.
    for reservation in scene.truth.reservations.values().filter(|r| !r.was_exchanged()) {
        for (begin, end) in intervals(reservation) {
            for seat in &reservation.seats {
                of_seat.entry((reservation.showtime, seat)).or_default().push((begin, end, reservation.id));
            }
        }
    }
    let (mut findings, mut total, mut again) = (Vec::new(), 0, 0);
    for ((showtime, seat), mut owned) in of_seat {
        owned.sort_unstable();
        total += owned.len();
        again += owned.len() - 1;
        for pair in owned.windows(2) {
            if pair[0].1.is_none_or(|end| end > pair[1].0) {
                findings
                    .push(format!("{showtime} {seat} was owned by {} and {} at once", pair[0].2, pair[1].2));
            }
        }
    }
    let evidence = format!("{total} intervals, {again} of them after another owner's");
    Checked::new("holds-disjoint", evidence, findings)
}

/// A seat map as one gateway shows it.
#[derive(Clone, Debug)]
pub struct SeatMap {
    pub gateway: SocketAddr,
    pub showtime: Uuid,
    pub capacity: usize,
    pub status: BTreeMap<String, String>,
}

/// Reads every hall's map from every gateway.
pub async fn seat_maps(house: &House, halls: &[Hall]) -> Result<Vec<SeatMap>> {
    let mut maps = Vec::new();
    for hall in halls {
        for gateway in house.rest.gateways.iter() {
            let path = format!("/v1/showtimes/{}/seats", hall.showtime);
            let answer = house.rest.ask(*gateway, Method::GET, &path, None, "", None).await;
            let map = answer.filter(|answer| answer.is_done()).context("a seat map cannot be read")?.json();
            let seats = map["seats"].as_array().cloned().unwrap_or_default();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            maps.push(SeatMap {
                gateway: *gateway,
                showtime: hall.showtime.parse()?,
                capacity: hall.rows.len() * hall.seats_a_row,
                status: seats.iter().map(|seat| (text(&seat["id"]), text(&seat["status"]))).collect(),
            });
        }
    }
    Ok(maps)
}

/// Free, held and sold are all seats there are, and every gateway shows what the database says.
pub fn capacity(scene: &Scene<'_>) -> Checked {
    let claims: HashMap<(Uuid, &str), &str> = scene
        .truth
        .claims
        .iter()
        .map(|(at, seat, _, status)| ((*at, seat.as_str()), status.as_str()))
        .collect();
    let (mut findings, mut seats) = (Vec::new(), 0);
    for map in scene.maps {
        let counted = ["FREE", "HELD", "SOLD"]
            .map(|status| map.status.values().filter(|shown| shown.as_str() == status).count());
        seats += map.capacity;
        if counted.iter().sum::<usize>() != map.capacity {
            findings.push(format!("{} has {counted:?} of {} seats", map.showtime, map.capacity));
        }
        for (seat, shown) in &map.status {
            let claimed = claims.get(&(map.showtime, seat)).copied().unwrap_or("FREE");
            if claimed != shown {
                findings
                    .push(format!("{} shows {} {seat} {shown}; it is {claimed}", map.gateway, map.showtime));
            }
        }
    }
    Checked::new(
        "free+held+sold",
        format!("{seats} seats on {} maps of both gateways", scene.maps.len()),
        findings,
    )
}

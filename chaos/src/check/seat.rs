//! Seats: each has one owner at a time and is free, held or sold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use reqwest::Method;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CheckResult, Observations};
use crate::deployment::{Deployment, Showtime};
use crate::end_state::Reservation;

/// Whether a saga in this state owns its seats.
pub fn owns(state: &str) -> bool {
    matches!(state, "awaiting-payment" | "paying" | "ending" | "replacing" | "confirmed")
}

/// Confirmed reservations share no seat, and claims are exactly those of the reservations that own seats.
pub fn one_owner(seen: &Observations<'_>) -> CheckResult {
    let state = seen.state;
    let mut findings = Vec::new();
    let mut sold: HashMap<(Uuid, &str), Uuid> = HashMap::new();
    let mut wanted: HashSet<(Uuid, &str, Uuid, &str)> = HashSet::new();
    for reservation in state.reservations.values() {
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
    let found: HashSet<_> = state
        .claims
        .iter()
        .map(|(at, seat, of, status)| (*at, seat.as_str(), *of, status.as_str()))
        .collect();
    findings.extend(wanted.difference(&found).map(|claim| format!("no claim {claim:?}")));
    findings
        .extend(found.difference(&wanted).map(|claim| format!("a claim without a reservation: {claim:?}")));
    let evidence = format!("{} seats owned by {} reservations", found.len(), state.reservations.len());
    CheckResult::new("seat-sold-once", evidence, findings)
}

/// The intervals in which a reservation owned its seats, by the commit times of its steps.
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

/// No reservation owned a seat before the previous one had freed it.
pub fn holds_disjoint(seen: &Observations<'_>) -> CheckResult {
    type Owned = (OffsetDateTime, Option<OffsetDateTime>, Uuid);
    let mut of_seat: BTreeMap<(Uuid, &str), Vec<Owned>> = BTreeMap::new();
    // The record does not say when a reservation whose seats have changed had which ones.
    for reservation in seen.state.reservations.values().filter(|r| !r.has_changed_seats()) {
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
    let evidence = format!("{total} intervals, {again} of them after another owner");
    CheckResult::new("holds-disjoint", evidence, findings)
}

/// The seat map of a gateway.
#[derive(Clone, Debug)]
pub struct SeatMap {
    pub gateway: SocketAddr,
    pub showtime: Uuid,
    pub capacity: usize,
    pub status: BTreeMap<String, String>,
}

/// Reads the seat map of every showtime from every gateway.
pub async fn seat_maps(deployment: &Deployment, showtimes: &[Showtime]) -> Result<Vec<SeatMap>> {
    let mut maps = Vec::new();
    for showtime in showtimes {
        for gateway in deployment.client.gateways.iter() {
            let path = format!("/v1/showtimes/{}/seats", showtime.id);
            let answer = deployment.client.send_to(*gateway, Method::GET, &path, None, "", None).await;
            let map = answer.filter(|answer| answer.is_done()).context("a seat map cannot be read")?.json();
            let seats = map["seats"].as_array().cloned().unwrap_or_default();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            maps.push(SeatMap {
                gateway: *gateway,
                showtime: showtime.id.parse()?,
                capacity: showtime.rows.len() * showtime.seats_per_row,
                status: seats.iter().map(|seat| (text(&seat["id"]), text(&seat["status"]))).collect(),
            });
        }
    }
    Ok(maps)
}

/// All seats are free, held or sold, and the maps of both gateways agree with the database.
pub fn capacity(seen: &Observations<'_>) -> CheckResult {
    let claims: HashMap<(Uuid, &str), &str> = seen
        .state
        .claims
        .iter()
        .map(|(at, seat, _, status)| ((*at, seat.as_str()), status.as_str()))
        .collect();
    let (mut findings, mut seats) = (Vec::new(), 0);
    for map in seen.maps {
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
    CheckResult::new(
        "free+held+sold",
        format!("{seats} seats on {} maps of both gateways", seen.maps.len()),
        findings,
    )
}

//! What a change makes of a row, and which seats it would take from somebody.

use std::collections::BTreeMap;

use bus::contract::SeatId;
use bus::contract::movie::{
    ShowtimeScheduled, ShowtimeUpdated, UpdateAuditorium, UpdateMovie, UpdateShowtime,
};

use super::*;
use crate::movie::layout::lost_seats;
use crate::movie::model::{changed_auditorium, changed_movie, sold};
use crate::movie::showtime::{Removal, cancelled, changed};

fn a_showtime() -> Scheduled {
    let hall = auditorium(&[SeatKind::Standard, SeatKind::Wheelchair, SeatKind::Gap]);
    let wanted = wanted(&[SeatKind::Standard, SeatKind::Wheelchair], in_an_hour());
    scheduled(wanted, Some(&a_movie()), Some(&hall), now()).unwrap()
}

/// The showtime after a change without a price card.
fn changed_showtime(
    current: &Scheduled,
    change: &UpdateShowtime,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    changed(current, change, None, &Pricing::default(), CLEANING, now)
}

/// The showtime as it is cancelled.
fn off(known: &Scheduled, now: Timestamp) -> Scheduled {
    match cancelled(known, now) {
        Ok(Removal::Cancelled(off)) => off,
        other => panic!("not cancelled: {other:?}"),
    }
}

fn row(label: &str, kinds: &[SeatKind]) -> Row {
    Row {
        label: label.into(),
        seats: (1..).zip(kinds).map(|(number, &kind)| Seat::new(number, kind)).collect(),
    }
}

#[test]
fn a_change_of_a_movie_leaves_what_it_does_not_name() {
    let known = Movie { poster_url: Some("/p.jpg".into()), ..a_movie() };
    let title = UpdateMovie { title: Some("Other".into()), ..UpdateMovie::default() };
    let changed = changed_movie(&known, &title, &[], in_an_hour()).unwrap();
    let expected =
        Movie { title: "Other".into(), version: 2, updated_at: changed.updated_at, ..known.clone() };
    assert_eq!(changed, expected);
    let unknown = UpdateMovie { genre_ids: Some(vec![Uuid::now_v7()]), ..UpdateMovie::default() };
    assert_eq!(changed_movie(&known, &unknown, &[], now()), Err(Rejection::UnknownGenre));
}

#[test]
fn a_change_that_changes_nothing_or_badly_is_refused_by_its_field() {
    assert_eq!(problems(&UpdateMovie::default()), [" at least one field must be given"]);
    assert_eq!(problems(&UpdateAuditorium::default()), [" at least one field must be given"]);
    assert_eq!(problems(&UpdateShowtime::default()), [" at least one field must be given"]);
    let title = UpdateMovie { title: Some(" ".into()), ..UpdateMovie::default() };
    assert_eq!(problems(&title), ["title must have 1–200 characters"]);
    let rows = UpdateAuditorium { rows: Some(vec![]), ..UpdateAuditorium::default() };
    assert!(problems(&rows).iter().all(|problem| problem.starts_with("rows")));
    assert_eq!(problems(&UpdateMovie { synopsis: Some(String::new()), ..UpdateMovie::default() }), [""; 0]);
}

#[test]
fn a_seat_is_lost_when_it_vanishes_or_becomes_another_kind() {
    let before = [row("A", &[SeatKind::Standard; 3]), row("B", &[SeatKind::Wheelchair, SeatKind::Gap])];
    let after =
        [row("A", &[SeatKind::Standard, SeatKind::Loveseat, SeatKind::Gap]), row("C", &[SeatKind::Standard])];
    let ids = |seats: &[&str]| seats.iter().map(|seat| SeatId::parse(seat).unwrap()).collect::<Vec<_>>();
    let claimed = ids(&["A1", "A2", "A3", "B1"]);
    assert_eq!(lost_seats(&before, &after, &claimed), ids(&["A2", "A3", "B1"]));
    assert_eq!(lost_seats(&before, &before, &claimed), []);
    let showtime = a_showtime();
    let of = |seats: &[&str]| BTreeMap::from([(showtime.showtime.id, ids(seats))]);
    let all = [showtime.clone()];
    let lost = |_: &Scheduled, seats: &[SeatId]| lost_seats(&before, &after, seats);
    assert_eq!(sold(&all, &of(&["A1"]), lost), []);
    let expected = (showtime.showtime.id, showtime.showtime.starts_at, ids(&["A2"]));
    assert_eq!(sold(&all, &of(&["A1", "A2"]), lost), [expected]);
    assert_eq!(sold(&all, &BTreeMap::new(), lost), []);
}

#[test]
fn a_moved_showtime_lasts_as_long_and_is_cleaned_after() {
    let known = a_showtime();
    let at = known.showtime.starts_at.plus(Duration::from_secs(3_600));
    let change = UpdateShowtime { starts_at: Some(at), ..UpdateShowtime::default() };
    let moved = changed_showtime(&known, &change, now()).unwrap();
    assert_eq!(moved.showtime.ends_at, at.plus(Duration::from_secs(96 * 60)));
    assert_eq!(moved.busy_until(), moved.showtime.ends_at.plus(CLEANING));
    assert_eq!((moved.showtime.version, &moved.rows), (2, &known.rows));
    let back = moved.taken_back(known.showtime.starts_at, known.rows.clone(), now());
    assert_eq!((back.showtime.ends_at, back.free_at), (known.showtime.ends_at, known.free_at));
    assert_eq!(back.showtime.version, 3);
}

#[test]
fn prices_may_change_until_the_show_begins_and_must_name_every_kind() {
    let known = a_showtime();
    let change = |kinds: &[SeatKind]| UpdateShowtime {
        prices: Some(plain_prices(kinds)),
        ..UpdateShowtime::default()
    };
    let both = change(&[SeatKind::Standard, SeatKind::Wheelchair]);
    let at = |now: Timestamp| changed_showtime(&known, &both, now).map(|changed| changed.showtime.version);
    assert_eq!(at(now()), Ok(2));
    assert_eq!(at(known.showtime.starts_at), Err(Rejection::ShowtimeStarted));
    let lacking = changed_showtime(&known, &change(&[SeatKind::Standard]), now());
    assert_eq!(lacking, Err(Rejection::PriceMissing(SeatKind::Wheelchair)));
    let off = off(&known, now());
    assert_eq!(changed_showtime(&off, &both, now()), Err(Rejection::ShowtimeCancelled));
}

#[test]
fn a_showtime_is_cancelled_once_and_not_after_it_was_shown() {
    let known = a_showtime();
    let off = off(&known, known.showtime.starts_at);
    assert_eq!((off.showtime.status, off.showtime.version), (ShowtimeStatus::Cancelled, 2));
    assert_eq!(cancelled(&off, now()), Ok(Removal::Nothing));
    assert_eq!(cancelled(&known, known.showtime.ends_at), Err(Rejection::ShowtimeOver));
}

#[test]
fn a_refitted_showtime_has_the_auditoriums_seats_and_name() {
    let known = a_showtime();
    let hall = auditorium(&[SeatKind::Standard]);
    let change = UpdateAuditorium { name: Some("Blue".into()), ..UpdateAuditorium::default() };
    let hall = changed_auditorium(&hall, change, now());
    assert_eq!((hall.version, hall.name.as_str()), (2, "Blue"));
    let refitted = known.refitted(&hall, now());
    assert_eq!((&refitted.rows, refitted.showtime.auditorium_name.as_str()), (&hall.rows, "Blue"));
    assert_eq!(refitted.showtime.starts_at, known.showtime.starts_at);
}

#[test]
fn a_showtime_event_from_before_versions_is_the_first() {
    let updated = ShowtimeUpdated {
        showtime: a_showtime().event(),
        by: None,
        previous_prices: None,
        previous_overrides: None,
    };
    let mut json = serde_json::to_value(&updated).unwrap();
    assert_eq!(json["version"], 1, "an update has the fields of a scheduling");
    json.as_object_mut().unwrap().remove("version");
    assert_eq!(serde_json::from_value::<ShowtimeScheduled>(json).unwrap(), updated.showtime);
}

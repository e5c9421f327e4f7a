//! Programmes: days, times, clocks that go forward and back, and what is left out.

use bus::contract::movie::{BULK_MAX, CreateShowtimes, SkipReason, Weekday};
use time::macros::datetime;

use super::*;
use crate::movie::model::Busy;
use crate::movie::programme::{Slot, plan, slots, time_zone};

fn programme(from: &str, to: &str, times: &[&str]) -> CreateShowtimes {
    let one = wanted(&[SeatKind::Standard], now());
    CreateShowtimes {
        movie_id: one.movie_id,
        auditorium_id: one.auditorium_id,
        from: from.into(),
        to: to.into(),
        times: times.iter().map(|time| time.to_string()).collect(),
        weekdays: None,
        prices: one.prices,
        price_card_id: None,
        surcharges: vec![],
        overrides: Default::default(),
        film_version: None,
        format: None,
        on_sale_at: None,
        minutes_before_film: 0,
        status: InitialStatus::OnSale,
    }
}

fn starts(wanted: &CreateShowtimes, zone: &str) -> Vec<Option<Timestamp>> {
    slots(wanted, &time_zone(zone).unwrap()).unwrap().into_iter().map(|slot| slot.at).collect()
}

fn at(instant: time::OffsetDateTime) -> Option<Timestamp> {
    Some(instant.into())
}

#[test]
fn a_time_that_the_clocks_skip_is_no_time_and_one_that_comes_twice_is_the_first() {
    let forward = programme("2027-03-28", "2027-03-28", &["01:59", "02:30", "03:00"]);
    let expected = [at(datetime!(2027-03-28 00:59 UTC)), None, at(datetime!(2027-03-28 01:00 UTC))];
    assert_eq!(starts(&forward, "Europe/Berlin"), expected);
    let back = programme("2027-10-31", "2027-10-31", &["01:59", "02:30", "03:00"]);
    let expected =
        [datetime!(2027-10-30 23:59 UTC), datetime!(2027-10-31 00:30 UTC), datetime!(2027-10-31 02:00 UTC)];
    assert_eq!(starts(&back, "Europe/Berlin"), expected.map(at));
    // Half an hour, on Lord Howe Island.
    let small = programme("2027-04-04", "2027-04-04", &["01:45"]);
    assert_eq!(starts(&small, "Australia/Lord_Howe"), [at(datetime!(2027-04-03 14:45 UTC))]);
    assert_eq!(time_zone("Europe/Atlantis").err(), Some(Rejection::UnknownTimeZone));
}

#[test]
fn an_evening_show_keeps_its_hour_when_the_clocks_change() {
    let around = programme("2027-03-27", "2027-03-28", &["20:00"]);
    let expected = [datetime!(2027-03-27 19:00 UTC), datetime!(2027-03-28 18:00 UTC)];
    assert_eq!(starts(&around, "Europe/Berlin"), expected.map(at));
}

#[test]
fn weekdays_choose_the_days_and_a_programme_has_its_bounds() {
    let utc = time_zone("UTC").unwrap();
    let weekend = CreateShowtimes {
        weekdays: Some(vec![Weekday::Saturday, Weekday::Sunday]),
        ..programme("2027-01-01", "2027-01-10", &["20:00", "16:00"])
    };
    let days: Vec<String> =
        slots(&weekend, &utc).unwrap().iter().map(|slot| format!("{} {}", slot.date, slot.time)).collect();
    assert_eq!(days[..3], ["2027-01-02 16:00", "2027-01-02 20:00", "2027-01-03 16:00"]);
    assert_eq!(days.len(), 8);
    let monday =
        CreateShowtimes { to: "2027-01-03".into(), weekdays: Some(vec![Weekday::Monday]), ..weekend };
    assert_eq!(slots(&monday, &utc), Err(Rejection::NoDays));
    let long = programme("2027-01-01", "8999-01-01", &["20:00"]);
    assert_eq!(slots(&long, &utc), Err(Rejection::TooManyShowtimes { most: BULK_MAX }));
    let full = programme("2027-01-01", "2027-07-19", &["20:00"]);
    assert_eq!(slots(&full, &utc).map(|slots| slots.len()), Ok(BULK_MAX));
    let wrong = programme("2027-01-02", "2027-01-01", &["20:00", "20:00", "25:00"]);
    let fields =
        ["to must not be before from", "times[1] is there twice", "times[2] must be a time such as 20:15"];
    assert_eq!(problems(&wrong), fields);
}

#[test]
fn what_is_in_the_way_or_past_is_skipped_and_the_rest_is_scheduled() {
    let (movie, hall, now) = (a_movie(), auditorium(&[SeatKind::Standard]), now());
    let minutes = |n: u64| now.plus(Duration::from_secs(60 * n));
    let slot = |at: Option<Timestamp>| Slot { date: date!(2027 - 01 - 01), time: "20:00".into(), at };
    let taken = Busy { id: Uuid::now_v7(), from: minutes(1_000), until: minutes(1_100) };
    let wanted = programme("2027-01-01", "2027-01-01", &["20:00"]);
    // 96 minutes and 15 of cleaning: the third begins while the second is shown, the fourth would run into another.
    let slots = [
        None,
        at(now.date_time()),
        Some(minutes(10)),
        Some(minutes(120)),
        Some(minutes(121)),
        Some(minutes(900)),
    ]
    .map(slot)
    .into();
    let (movie, auditorium, pricing) = (Some(&movie), Some(&hall), &Pricing::default());
    let basis = Basis { movie, auditorium, pricing, cleaning: CLEANING, now };
    let (made, skipped) = plan(&wanted, slots, vec![taken.clone()], &basis).unwrap();
    let starts: Vec<Timestamp> = made.iter().map(|made| made.showtime.starts_at).collect();
    assert_eq!(starts, [minutes(10), minutes(121)]);
    let reasons: Vec<_> = skipped.iter().map(|skipped| (skipped.reason, skipped.showtime_id)).collect();
    let first = made[0].showtime.id;
    let expected = [
        (SkipReason::NoSuchTime, None),
        (SkipReason::InThePast, None),
        (SkipReason::AuditoriumTaken, Some(first)),
        (SkipReason::AuditoriumTaken, Some(taken.id)),
    ];
    assert_eq!(reasons, expected);
    let none = plan(&wanted, vec![], vec![], &Basis { movie: None, ..basis }).unwrap();
    assert!(none.0.is_empty() && none.1.is_empty());
}

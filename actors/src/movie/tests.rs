//! Movie's rules without any server, and whether the demo cinema keeps them.

mod changes;
mod programme;
mod showings;
mod tariff;

use std::collections::HashSet;
use std::time::Duration;

use bus::contract::movie::{
    Auditorium, CreateAuditorium, CreateMovie, CreateShowtime, Genre, InitialStatus, Movie, Prices,
    Rejection, Row, Seat, SeatKind, ShowtimeStatus,
};
use bus::contract::{Currency, Fields, Money, Request, Timestamp};
use time::macros::date;
use uuid::Uuid;

use super::demo::cinema::{HALLS, Hall, MOVIES, Reel, TIME_ZONE, genres, playing, prices, rows};
use super::layout::kinds_sold;
use super::model::{date, date_text, movie, status_columns, status_of_columns, time_of_day};
use super::showtime::{Basis, Scheduled, schedule};
use super::tariff::Pricing;

const CLEANING: Duration = Duration::from_secs(15 * 60);

fn now() -> Timestamp {
    Timestamp::wall_clock()
}

fn in_an_hour() -> Timestamp {
    now().plus(Duration::from_secs(3_600))
}

fn wanted_movie(reel: &Reel, genre_ids: Vec<Uuid>) -> CreateMovie {
    CreateMovie {
        title: reel.title.into(),
        synopsis: reel.synopsis.into(),
        duration_minutes: reel.minutes,
        rating: String::new(),
        age_rating: Some(reel.age_rating()),
        release_date: "2026-05-01".into(),
        language: "en".into(),
        versions: reel.versions(),
        formats: reel.formats(),
        genre_ids,
    }
}

fn a_movie() -> Movie {
    movie(wanted_movie(&MOVIES[0], vec![]), &[], now()).unwrap()
}

fn auditorium(kinds: &[SeatKind]) -> Auditorium {
    let seats = (1..).zip(kinds).map(|(number, &kind)| Seat::new(number, kind)).collect();
    Auditorium {
        id: Uuid::now_v7(),
        name: "One".into(),
        time_zone: TIME_ZONE.into(),
        rows: vec![Row { label: "A".into(), seats }],
        site_id: bus::contract::site::DEFAULT_SITE,
        version: 1,
        created_at: now(),
        updated_at: now(),
    }
}

fn plain_prices(kinds: &[SeatKind]) -> Prices {
    kinds.iter().map(|kind| (*kind, Money { amount: 1_000, currency: Currency::EUR })).collect()
}

fn wanted(kinds: &[SeatKind], starts_at: Timestamp) -> CreateShowtime {
    CreateShowtime {
        movie_id: Uuid::now_v7(),
        auditorium_id: Uuid::now_v7(),
        starts_at,
        prices: Some(plain_prices(kinds)),
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

/// Schedules with plain prices.
fn scheduled(
    wanted: CreateShowtime,
    movie: Option<&Movie>,
    auditorium: Option<&Auditorium>,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    let pricing = &Pricing::default();
    schedule(wanted, &Basis { movie, auditorium, pricing, cleaning: CLEANING, now })
}

#[test]
fn a_showtime_lasts_as_long_as_its_movie_and_freezes_the_seats() {
    let (movie, hall) = (a_movie(), auditorium(&[SeatKind::Standard, SeatKind::Gap]));
    let starts_at = in_an_hour();
    let scheduled =
        scheduled(wanted(&[SeatKind::Standard], starts_at), Some(&movie), Some(&hall), now()).unwrap();
    assert_eq!(scheduled.rows, hall.rows);
    assert_eq!(scheduled.showtime.ends_at, starts_at.plus(Duration::from_secs(96 * 60)));
    assert_eq!(scheduled.busy_until(), starts_at.plus(Duration::from_secs((96 + 15) * 60)), "it is cleaned");
    let event = scheduled.event();
    assert_eq!((event.rows, event.status), (hall.rows, ShowtimeStatus::OnSale));
    assert_eq!((event.movie_title, event.time_zone), (movie.title, TIME_ZONE.to_owned()));
}

#[test]
fn every_kind_of_seat_needs_a_price_but_a_gap() {
    let hall = auditorium(&[SeatKind::Standard, SeatKind::Gap, SeatKind::Loveseat]);
    let with = |kinds: &[SeatKind]| {
        scheduled(wanted(kinds, in_an_hour()), Some(&a_movie()), Some(&hall), now()).map(drop)
    };
    assert_eq!(with(&[SeatKind::Standard]), Err(Rejection::PriceMissing(SeatKind::Loveseat)));
    assert_eq!(with(&[SeatKind::Standard, SeatKind::Loveseat]), Ok(()));
}

#[test]
fn a_showtime_begins_in_the_future_in_a_place_and_with_a_movie_that_exist() {
    let (movie, hall, now) = (a_movie(), auditorium(&[SeatKind::Standard]), now());
    let soon = || wanted(&[SeatKind::Standard], now.plus(Duration::from_micros(1)));
    assert!(scheduled(soon(), Some(&movie), Some(&hall), now).is_ok());
    let at_once = wanted(&[SeatKind::Standard], now);
    assert_eq!(scheduled(at_once, Some(&movie), Some(&hall), now), Err(Rejection::StartsInThePast));
    assert_eq!(scheduled(soon(), None, Some(&hall), now), Err(Rejection::UnknownMovie));
    assert_eq!(scheduled(soon(), Some(&movie), None, now), Err(Rejection::UnknownAuditorium));
}

#[test]
fn a_movie_keeps_the_order_of_its_genres_and_knows_no_others() {
    let genre = |name: &str| Genre {
        id: Uuid::now_v7(),
        name: name.into(),
        version: 1,
        created_at: now(),
        updated_at: now(),
    };
    let (drama, comedy) = (genre("Drama"), genre("Comedy"));
    let ids = vec![comedy.id, drama.id];
    let made = movie(wanted_movie(&MOVIES[0], ids.clone()), &[drama.clone(), comedy.clone()], now()).unwrap();
    assert_eq!((made.genre_ids, made.genres), (ids.clone(), vec![comedy, drama.clone()]));
    assert_eq!(movie(wanted_movie(&MOVIES[0], ids), &[drama], now()), Err(Rejection::UnknownGenre));
}

#[test]
fn dates_times_and_statuses_are_read_as_they_are_written() {
    assert_eq!(date("2026-05-01").map(date_text).as_deref(), Some("2026-05-01"));
    assert_eq!((date("2026-02-30"), time_of_day("24:00")), (None, None));
    assert_eq!(time_of_day("20:15").map(|t| (t.hour(), t.minute())), Some((20, 15)));
    for status in [ShowtimeStatus::Draft, ShowtimeStatus::OnSale, ShowtimeStatus::Cancelled] {
        let (name, is_draft) = status_columns(status);
        assert_eq!(status_of_columns(name, is_draft), Some(status));
    }
    assert_eq!(status_columns(ShowtimeStatus::Draft), ("CANCELLED", true), "older hosts do not sell it");
}

fn problems<R: Request>(request: &R) -> Vec<String> {
    let mut fields = Fields::default();
    request.validate(&mut fields);
    let problem = fields.into_result().err();
    problem.into_iter().flat_map(|p| p.errors).map(|e| format!("{} {}", e.field, e.message)).collect()
}

#[test]
fn the_demo_cinema_would_pass_as_if_staff_had_typed_it() {
    for reel in &MOVIES {
        assert_eq!(problems(&wanted_movie(reel, vec![])), Vec::<String>::new(), "{}", reel.title);
        assert!(reel.genres.iter().all(|genre| genres().contains(genre)));
    }
    for hall in &HALLS {
        let rows = rows(hall);
        let room =
            CreateAuditorium { name: hall.name.into(), time_zone: TIME_ZONE.into(), rows: rows.clone() };
        assert_eq!(problems(&room), Vec::<String>::new(), "{}", hall.name);
        for time in hall.times {
            let prices = prices(&rows, *time, Currency::EUR);
            assert!(kinds_sold(&rows).iter().all(|kind| prices.contains_key(kind)));
            let show = CreateShowtime { prices: Some(prices), ..wanted(&[], in_an_hour()) };
            assert_eq!(problems(&show), Vec::<String>::new(), "{} {time}", hall.name);
        }
    }
}

#[test]
fn the_demo_auditoriums_have_every_kind_of_seat_and_one_has_about_three_hundred() {
    let sold = |rows: &[Row]| {
        rows.iter().flat_map(|row| &row.seats).filter(|seat| seat.kind != SeatKind::Gap).count()
    };
    let sizes: HashSet<usize> = HALLS.iter().map(|hall| sold(&rows(hall))).collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().any(|size| (290..=310).contains(size)), "{sizes:?}");
    for hall in &HALLS {
        let rows = rows(hall);
        let kinds: HashSet<SeatKind> = rows.iter().flat_map(|row| &row.seats).map(|seat| seat.kind).collect();
        assert_eq!(kinds.len(), 4, "{}: {kinds:?}", hall.name);
        for row in &rows {
            for seat in &row.seats {
                let unit = row.seats.iter().filter(|other| seat.unit.is_some() && other.unit == seat.unit);
                let seats_of_unit = if seat.kind == SeatKind::Loveseat { 2 } else { 0 };
                assert_eq!(unit.count(), seats_of_unit, "{} row {}: {seat:?}", hall.name, row.label);
            }
        }
    }
}

#[test]
fn a_demo_auditorium_has_rows_that_are_numbers_and_an_aisle_with_the_numbers_running_on_across_it() {
    let crosses = |hall: &Hall| {
        let rows = rows(hall);
        let aisle = |pair: &[Seat]| pair[0].column.unwrap() + 1 < pair[1].column.unwrap();
        let goes_on = |pair: &&[Seat]| aisle(pair) && pair[0].number + 1 == pair[1].number;
        rows.iter()
            .all(|row| row.label.parse::<u8>().is_ok() && row.seats.windows(2).filter(goes_on).count() == 1)
    };
    assert_eq!(HALLS.iter().filter(|hall| crosses(hall)).count(), 1);
}

#[test]
fn the_demo_programme_leaves_time_for_the_longest_movie_and_every_movie_plays_every_day() {
    let longest = MOVIES.iter().map(|reel| reel.minutes).max().unwrap();
    for hall in &HALLS {
        for pair in hall.times.windows(2) {
            assert!((pair[1] - pair[0]).whole_minutes() >= i64::from(longest) + 20, "{}", hall.name);
        }
    }
    let day = date!(2026 - 05 - 01);
    let slots = |hall: usize| (0..HALLS[hall].times.len()).map(move |slot| (hall, slot));
    let titles: HashSet<&str> = (0..HALLS.len())
        .flat_map(slots)
        .filter_map(|(hall, slot)| playing(&MOVIES, day, hall, slot))
        .map(|reel| reel.title)
        .collect();
    assert_eq!(titles.len(), MOVIES.len());
    let none: [Reel; 0] = [];
    assert!(playing(&none, day, 0, 0).is_none());
}

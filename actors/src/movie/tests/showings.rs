//! Versions, formats, age ratings, the time before the film, drafts and the start of the sale.

use bus::contract::movie::{
    AgeRating, FilmVersion, UnpublishedReason, UpdateMovie, UpdateShowtime, VersionKind,
};

use super::*;
use crate::movie::length::relengthened;
use crate::movie::model::changed_movie;
use crate::movie::showtime::{Removal, cancelled, changed, published};

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn subtitled() -> FilmVersion {
    FilmVersion { kind: VersionKind::Subtitled, audio: "en".into(), subtitles: vec!["de".into()] }
}

fn a_versioned_movie() -> Movie {
    Movie { versions: vec![subtitled()], formats: vec!["3D".into()], ..a_movie() }
}

/// A showtime of that movie, changed before it is scheduled.
fn with(change: impl Fn(&mut CreateShowtime)) -> Result<Scheduled, Rejection> {
    let mut wanted = wanted(&[SeatKind::Standard], in_an_hour());
    change(&mut wanted);
    scheduled(wanted, Some(&a_versioned_movie()), Some(&auditorium(&[SeatKind::Standard])), now())
}

fn update(current: &Scheduled, change: &UpdateShowtime) -> Result<Scheduled, Rejection> {
    changed(current, change, Some(&a_versioned_movie()), &Pricing::default(), CLEANING, now())
}

#[test]
fn a_showtime_has_a_version_and_a_format_of_its_movie() {
    let made = with(|wanted| {
        (wanted.film_version, wanted.format) = (Some(subtitled()), Some("3D".into()));
    });
    let event = made.unwrap().event();
    assert_eq!((event.showing.film_version, event.showing.format), (Some(subtitled()), Some("3D".into())));
    let other = FilmVersion { audio: "fr".into(), ..subtitled() };
    let refused = with(|wanted| wanted.film_version = Some(other.clone())).err();
    assert_eq!(refused, Some(Rejection::VersionUnknown));
    assert_eq!(with(|wanted| wanted.format = Some("2D".into())).err(), Some(Rejection::FormatUnknown));
    let plain = with(|_| {}).unwrap();
    let change = UpdateShowtime { format: Some(Some("2D".into())), ..UpdateShowtime::default() };
    assert_eq!(update(&plain, &change).err(), Some(Rejection::FormatUnknown));
    let change = UpdateShowtime { format: Some(Some("3D".into())), ..UpdateShowtime::default() };
    let in_3d = update(&plain, &change).unwrap();
    assert_eq!(in_3d.showtime.showing.format.as_deref(), Some("3D"));
    let removed = UpdateShowtime { format: Some(None), ..UpdateShowtime::default() };
    assert_eq!(update(&in_3d, &removed).unwrap().showtime.showing.format, None);
}

#[test]
fn the_time_before_the_film_moves_the_end_and_the_cleaning() {
    let made = with(|wanted| wanted.minutes_before_film = 20).unwrap();
    let starts_at = made.showtime.starts_at;
    assert_eq!(made.showtime.ends_at, starts_at.plus(minutes(20 + 96)));
    assert_eq!(made.busy_until(), starts_at.plus(minutes(20 + 96 + 15)));
    let change = UpdateShowtime { minutes_before_film: Some(5), ..UpdateShowtime::default() };
    let shorter = update(&made, &change).unwrap();
    assert_eq!(shorter.showtime.ends_at, starts_at.plus(minutes(5 + 96)));
    assert_eq!(shorter.busy_until(), starts_at.plus(minutes(5 + 96 + 15)));
    let moved = UpdateShowtime { starts_at: Some(starts_at.plus(minutes(60))), ..UpdateShowtime::default() };
    assert_eq!(update(&made, &moved).unwrap().showtime.ends_at, starts_at.plus(minutes(60 + 20 + 96)));
    let (longer, _) = relengthened(&[made], vec![], 100, CLEANING, now());
    assert_eq!(longer[0].showtime.ends_at, starts_at.plus(minutes(20 + 100)));
}

#[test]
fn a_sale_begins_before_the_show() {
    let start = in_an_hour();
    let with_sale = |at: Timestamp| with(|wanted| (wanted.starts_at, wanted.on_sale_at) = (start, Some(at)));
    assert_eq!(with_sale(start).err(), Some(Rejection::SaleAfterStart));
    let made = with_sale(start.minus(minutes(5))).unwrap();
    let earlier = UpdateShowtime { starts_at: Some(start.minus(minutes(10))), ..UpdateShowtime::default() };
    assert_eq!(update(&made, &earlier).err(), Some(Rejection::SaleAfterStart));
    let at_once = UpdateShowtime { on_sale_at: Some(None), ..earlier };
    assert_eq!(update(&made, &at_once).unwrap().showtime.showing.on_sale_at, None);
}

#[test]
fn a_draft_is_published_once_and_deleted_where_it_is_given_up() {
    let draft = with(|wanted| wanted.status = InitialStatus::Draft).unwrap();
    assert!(!draft.is_published());
    assert_eq!(cancelled(&draft, now()), Ok(Removal::Deleted));
    let out = published(&draft, now()).unwrap();
    assert_eq!((out.showtime.status, out.showtime.version), (ShowtimeStatus::OnSale, 2));
    assert_eq!(published(&out, now()), Err(UnpublishedReason::AlreadyPublished));
    assert_eq!(published(&draft, draft.showtime.starts_at), Err(UnpublishedReason::ShowtimeStarted));
}

#[test]
fn an_age_rating_fills_the_free_text_of_old_clients_and_another_text_replaces_it() {
    let known = a_movie();
    assert_eq!((known.rating.as_str(), known.minimum_age), ("FSK 0", Some(0)));
    let change = |change: UpdateMovie| changed_movie(&known, &change, &[], now()).unwrap();
    let british = AgeRating { scheme: "BBFC".into(), value: "15".into() };
    let rated = change(UpdateMovie { age_rating: Some(Some(british.clone())), ..UpdateMovie::default() });
    assert_eq!(
        (rated.rating.as_str(), rated.age_rating, rated.minimum_age),
        ("BBFC 15", Some(british), Some(15))
    );
    let same = change(UpdateMovie { rating: Some("FSK 0".into()), ..UpdateMovie::default() });
    assert_eq!(same.age_rating, known.age_rating);
    let typed = change(UpdateMovie { rating: Some("16".into()), ..UpdateMovie::default() });
    assert_eq!((typed.rating.as_str(), typed.age_rating, typed.minimum_age), ("16", None, None));
    let none = change(UpdateMovie { age_rating: Some(None), ..UpdateMovie::default() });
    assert_eq!((none.rating.as_str(), none.age_rating), ("FSK 0", None));
}

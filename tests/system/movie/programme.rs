//! Creating many showtimes by one request: which are created, which are skipped, and concurrent requests.

use bus::contract::movie::{CreateShowtimes, CreatedShowtimes, SkipReason};

use super::*;

fn programme(movie: &Movie, hall: &Auditorium, from: &str, to: &str, times: &[&str]) -> CreateShowtimes {
    CreateShowtimes {
        movie_id: movie.id,
        auditorium_id: hall.id,
        from: from.into(),
        to: to.into(),
        times: times.iter().map(|time| time.to_string()).collect(),
        weekdays: None,
        prices: Some(prices(&[SeatKind::Standard, SeatKind::Wheelchair])),
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

#[tokio::test]
async fn a_programme_skips_impossible_showtimes_and_gives_the_reasons() {
    let catalogue = Catalogue::open().await;
    let (movie, hall) =
        (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "Europe/Berlin").await);
    let noon = catalogue.at("2027-03-28 12:00", "Europe/Berlin").await;
    let existing = catalogue.show(&movie, &hall, noon).await.unwrap();
    let wanted = programme(&movie, &hall, "2027-03-27", "2027-03-28", &["02:30", "11:00", "20:00"]);
    let CreatedShowtimes { created, skipped } = catalogue.ask(&wanted).await.unwrap();
    let starts: Vec<Timestamp> = created.iter().map(|showtime| showtime.starts_at).collect();
    let mut expected = Vec::new();
    for local in ["2027-03-27 02:30", "2027-03-27 11:00", "2027-03-27 20:00", "2027-03-28 20:00"] {
        expected.push(catalogue.at(local, "Europe/Berlin").await);
    }
    assert_eq!(starts, expected);
    let reasons: Vec<_> = skipped
        .iter()
        .map(|skip| {
            (skip.date.as_str(), skip.time.as_str(), skip.starts_at.is_some(), skip.reason, skip.showtime_id)
        })
        .collect();
    let expected = [
        ("2027-03-28", "02:30", false, SkipReason::NoSuchTime, None),
        ("2027-03-28", "11:00", true, SkipReason::AuditoriumTaken, Some(existing.id)),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(catalogue.system.events::<ShowtimeScheduled>(5).await.len(), 5);

    let again = catalogue.ask(&wanted).await.unwrap();
    assert!(again.created.is_empty());
    assert_eq!(again.skipped.len(), 6, "a programme sent twice is created once");
    let past =
        catalogue.ask(&programme(&movie, &hall, "2020-01-01", "2020-01-01", &["20:00"])).await.unwrap();
    assert_eq!(past.skipped[0].reason, SkipReason::InThePast);
    let long = catalogue.ask(&programme(&movie, &hall, "2027-01-01", "2027-12-31", &["20:00"])).await;
    assert_eq!(refusal(long).2, "to makes more than 200 showtimes; ask for fewer days at once");
    let lacking = CreateShowtimes { prices: Some(prices(&[SeatKind::Standard])), ..wanted };
    assert_eq!(refusal(catalogue.ask(&lacking).await).2, "prices lacks a price for WHEELCHAIR");
    catalogue.system.finish().await;
}

#[tokio::test]
async fn concurrent_programmes_on_two_hosts_do_not_overlap() {
    let mut catalogue = Catalogue::open().await;
    catalogue.system = catalogue.system.with_movie().await;
    let (movie, hall) = (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "UTC").await);
    let (from, to) = ("2027-05-01", "2027-05-20");
    let wanted: Vec<_> =
        ["10:00", "10:30", "14:00", "14:30"].map(|time| programme(&movie, &hall, from, to, &[time])).into();
    let answers = join_all(wanted.iter().map(|wanted| catalogue.ask(wanted))).await;
    let answers: Vec<CreatedShowtimes> = answers.into_iter().map(Result::unwrap).collect();
    let created: usize = answers.iter().map(|answer| answer.created.len()).sum();
    let skipped: usize = answers.iter().map(|answer| answer.skipped.len()).sum();
    assert_eq!((created, skipped), (40, 40), "one of each overlapping pair");
    catalogue.system.events::<ShowtimeScheduled>(40).await;
    catalogue.system.finish().await;
}

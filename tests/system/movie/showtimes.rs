//! Showtimes: what they keep from their creation, what is refused, and that they do not overlap in an auditorium.

use super::*;

#[tokio::test]
async fn a_new_showtime_keeps_its_seats_and_prices_and_is_published() {
    let catalogue = Catalogue::open().await;
    let (movie, hall) =
        (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "Europe/Berlin").await);
    let made = catalogue.show(&movie, &hall, ahead(24)).await.unwrap();
    assert_eq!((made.ends_at, made.movie_title.as_str()), (ahead(24).plus(HOUR * 3 / 2), "Comets"));
    let event = catalogue.system.events::<ShowtimeScheduled>(1).await.remove(0);
    assert_eq!((event.showtime_id, &event.rows, &event.prices), (made.id, &hall.rows, &made.prices));

    sqlx::query("update movie.auditoriums set layout = '[]'")
        .execute(&catalogue.system.database)
        .await
        .unwrap();
    let described = catalogue.system.ask(&DescribeShowtime { id: made.id }, None).await.unwrap();
    assert_eq!(described, event);
    assert_eq!(catalogue.ask(&GetShowtime { id: made.id }).await.unwrap(), made);
    assert_eq!(refusal(catalogue.ask(&GetShowtime { id: Uuid::now_v7() }).await).0, 404);
    assert_eq!(refusal(catalogue.ask(&DescribeShowtime { id: Uuid::now_v7() }).await).0, 404);
    catalogue.system.finish().await;
}

#[tokio::test]
async fn an_invalid_showtime_is_refused_with_the_name_of_its_field() {
    let catalogue = Catalogue::open().await;
    let (movie, hall) =
        (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "Europe/Berlin").await);
    let refused = async |wanted: CreateShowtime| {
        let (status, _, field) = refusal(catalogue.ask(&wanted).await);
        assert_eq!(status, 422);
        field
    };
    let fine = showtime(movie.id, hall.id, ahead(24));
    let lacking = CreateShowtime { prices: Some(prices(&[SeatKind::Standard])), ..fine.clone() };
    assert_eq!(refused(lacking).await, "prices lacks a price for WHEELCHAIR");
    let past = CreateShowtime { starts_at: ahead(0), ..fine.clone() };
    assert_eq!(refused(past).await, "startsAt must lie in the future");
    let nowhere = CreateShowtime { auditorium_id: Uuid::now_v7(), ..fine.clone() };
    assert_eq!(refused(nowhere).await, "auditoriumId names an auditorium that does not exist");
    let nothing = CreateShowtime { movie_id: Uuid::now_v7(), ..fine };
    assert_eq!(refused(nothing).await, "movieId names a movie that does not exist");
    assert!(catalogue.starts(any_showtime()).await.is_empty());
    catalogue.system.finish().await;
}

#[tokio::test]
async fn of_concurrent_overlapping_showtimes_on_two_hosts_one_gets_the_auditorium() {
    let mut catalogue = Catalogue::open().await;
    catalogue.system = catalogue.system.with_movie().await;
    let (movie, hall) = (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "UTC").await);
    let minutes = |n: u32| ahead(24).plus(Duration::from_secs(60) * n);
    let answers = join_all((0..24).map(|n| catalogue.show(&movie, &hall, minutes(n)))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 23));
    let won = won.into_iter().next().unwrap().unwrap();
    for answer in lost {
        let problem = answer.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (409, "auditorium-taken"));
        assert_eq!((problem.showtimes[0].id, problem.showtimes[0].starts_at), (won.id, won.starts_at));
    }
    let cleaned = won.ends_at.plus(Duration::from_secs(15 * 60));
    let too_soon = catalogue.show(&movie, &hall, cleaned.minus(Duration::from_secs(60))).await;
    assert_eq!(refusal(too_soon).1, "auditorium-taken", "the auditorium is cleaned between showtimes");
    let after =
        catalogue.show(&movie, &hall, cleaned).await.expect("a showtime may start after the cleaning");
    let elsewhere = catalogue.auditorium("Two", "UTC").await;
    catalogue.show(&movie, &elsewhere, won.starts_at).await.expect("another auditorium is free");
    assert_eq!(refusal(catalogue.show(&movie, &hall, won.starts_at).await).0, 409);
    sqlx::query("update movie.showtimes set status = 'CANCELLED' where id = $1")
        .bind(won.id)
        .execute(&catalogue.system.database)
        .await
        .unwrap();
    catalogue.show(&movie, &hall, won.starts_at).await.expect("a cancelled showtime frees its auditorium");
    catalogue.system.events::<ShowtimeScheduled>(4).await;
    assert_eq!(
        catalogue.starts(ListShowtimes { from: Some(after.starts_at), ..any_showtime() }).await.len(),
        1
    );
    catalogue.system.finish().await;
}

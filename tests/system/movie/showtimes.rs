//! Showtimes: what they freeze, what is refused, and that an auditorium shows one at a time.

use super::*;

#[tokio::test]
async fn a_new_showtime_keeps_its_seats_and_prices_and_is_published() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "Europe/Berlin").await);
    let made = cinema.show(&movie, &hall, ahead(24)).await.unwrap();
    assert_eq!((made.ends_at, made.movie_title.as_str()), (ahead(24).plus(HOUR * 3 / 2), "Comets"));
    let event = cinema.system.events::<ShowtimeScheduled>(1).await.remove(0);
    assert_eq!((event.showtime_id, &event.rows, &event.prices), (made.id, &hall.rows, &made.prices));

    sqlx::query("update movie.auditoriums set layout = '[]'").execute(&cinema.system.database).await.unwrap();
    let described = cinema.system.ask(&DescribeShowtime { id: made.id }, None).await.unwrap();
    assert_eq!(described, event);
    assert_eq!(cinema.ask(&GetShowtime { id: made.id }).await.unwrap(), made);
    assert_eq!(refusal(cinema.ask(&GetShowtime { id: Uuid::now_v7() }).await).0, 404);
    assert_eq!(refusal(cinema.ask(&DescribeShowtime { id: Uuid::now_v7() }).await).0, 404);
    cinema.system.finish().await;
}

#[tokio::test]
async fn an_invalid_showtime_is_refused_with_the_name_of_its_field() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "Europe/Berlin").await);
    let refused = async |wanted: CreateShowtime| {
        let (status, _, field) = refusal(cinema.ask(&wanted).await);
        assert_eq!(status, 422);
        field
    };
    let fine = showtime(movie.id, hall.id, ahead(24));
    let lacking = CreateShowtime { prices: prices(&[SeatKind::Standard]), ..fine.clone() };
    assert_eq!(refused(lacking).await, "prices lacks a price for WHEELCHAIR");
    let past = CreateShowtime { starts_at: ahead(0), ..fine.clone() };
    assert_eq!(refused(past).await, "startsAt must lie in the future");
    let nowhere = CreateShowtime { auditorium_id: Uuid::now_v7(), ..fine.clone() };
    assert_eq!(refused(nowhere).await, "auditoriumId names an auditorium that does not exist");
    let nothing = CreateShowtime { movie_id: Uuid::now_v7(), ..fine };
    assert_eq!(refused(nothing).await, "movieId names a movie that does not exist");
    assert!(cinema.starts(any_showtime()).await.is_empty());
    cinema.system.finish().await;
}

#[tokio::test]
async fn of_concurrent_overlapping_showtimes_on_two_hosts_one_gets_the_auditorium() {
    let mut cinema = Cinema::open().await;
    cinema.system = cinema.system.with_movie().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "UTC").await);
    let minutes = |n: u32| ahead(24).plus(Duration::from_secs(60) * n);
    let answers = join_all((0..24).map(|n| cinema.show(&movie, &hall, minutes(n)))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 23));
    let won = won.into_iter().next().unwrap().unwrap();
    for answer in lost {
        let problem = answer.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (409, "auditorium-taken"));
        assert_eq!((problem.showtimes[0].id, problem.showtimes[0].starts_at), (won.id, won.starts_at));
    }
    let cleaned = won.ends_at.plus(Duration::from_secs(15 * 60));
    let too_soon = cinema.show(&movie, &hall, cleaned.minus(Duration::from_secs(60))).await;
    assert_eq!(refusal(too_soon).1, "auditorium-taken", "it is cleaned between showtimes");
    let after = cinema.show(&movie, &hall, cleaned).await.expect("one may begin when it is clean");
    let elsewhere = cinema.auditorium("Two", "UTC").await;
    cinema.show(&movie, &elsewhere, won.starts_at).await.expect("another auditorium is free");
    assert_eq!(refusal(cinema.show(&movie, &hall, won.starts_at).await).0, 409);
    sqlx::query("update movie.showtimes set status = 'CANCELLED' where id = $1")
        .bind(won.id)
        .execute(&cinema.system.database)
        .await
        .unwrap();
    cinema.show(&movie, &hall, won.starts_at).await.expect("a cancelled showtime frees its auditorium");
    cinema.system.events::<ShowtimeScheduled>(4).await;
    assert_eq!(cinema.starts(ListShowtimes { from: Some(after.starts_at), ..any_showtime() }).await.len(), 1);
    cinema.system.finish().await;
}

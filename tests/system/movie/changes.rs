//! Changing and deleting over REST: what is published, what is refused, what stays readable.

use reqwest::Method;
use serde_json::{Value, json};

use super::ahead;
use crate::cinema::{Answer, Person, TestCinema, id};
use crate::event_stream::EventStream;

async fn change(cinema: &TestCinema, path: &str, body: Value) -> Answer {
    cinema.call(Method::PATCH, path, Some(&cinema.owner()), Some(body)).await
}

async fn delete(cinema: &TestCinema, path: &str) -> Answer {
    cinema.call(Method::DELETE, path, Some(&cinema.owner()), None).await
}

async fn create(cinema: &TestCinema, path: &str, body: Value) -> Value {
    cinema.call(Method::POST, path, Some(&cinema.owner()), Some(body)).await.expect(201)
}

async fn get(cinema: &TestCinema, path: &str) -> Answer {
    cinema.call(Method::GET, path, None, None).await
}

async fn total(cinema: &TestCinema, path: &str) -> u64 {
    get(cinema, path).await.expect(200)["total"].as_u64().unwrap()
}

/// The events of a subject, of which there must be so many.
async fn published(cinema: &TestCinema, subject: &str, count: usize) -> Vec<Value> {
    let events = cinema.events(subject).await;
    assert_eq!(events.len(), count, "{subject}: {events:#?}");
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_movie_is_changed_field_by_field_and_its_version_is_published() {
    let cinema = TestCinema::open().await;
    let drama = create(&cinema, "/v1/genres", json!({"name": "Drama"})).await;
    let body = json!({"title": "Comets", "durationMinutes": 90, "releaseDate": "2026-01-01", "rating": "12"});
    let movie = create(&cinema, "/v1/movies", body).await;
    let path = format!("/v1/movies/{}", id(&movie));

    let changed =
        change(&cinema, &path, json!({"title": "Paper Comets", "genreIds": [drama["id"]]})).await.expect(200);
    assert_eq!(
        (&changed["title"], &changed["rating"], &changed["version"]),
        (&json!("Paper Comets"), &json!("12"), &json!(2))
    );
    assert_eq!(changed["genres"][0]["name"], "Drama");
    assert_eq!(get(&cinema, &path).await.expect(200), changed);
    let event = published(&cinema, "movie.updated", 1).await.remove(0);
    assert_eq!(
        (&event["movieId"], &event["version"], &event["genres"]),
        (&movie["id"], &json!(2), &json!(["Drama"]))
    );

    for (body, status) in [
        (json!({}), 422),
        (json!({"title": ""}), 422),
        (json!({"posterUrl": "x"}), 422),
        (json!({"id": movie["id"], "title": "x"}), 422),
        (json!({"durationMinutes": "x"}), 422),
        (json!({"genreIds": [uuid::Uuid::now_v7()]}), 422),
        (json!([]), 422),
    ] {
        assert_eq!(change(&cinema, &path, body.clone()).await.status.as_u16(), status, "{body}");
    }
    let nobody = format!("/v1/movies/{}", uuid::Uuid::now_v7());
    change(&cinema, &nobody, json!({"title": "x"})).await.expect(404);
    let ada = cinema.register().await;
    cinema.call(Method::PATCH, &path, Some(&ada), Some(json!({"title": "x"}))).await.expect(403);
    cinema.call(Method::DELETE, &path, Some(&ada), None).await.expect(403);
    cinema.call(Method::DELETE, &path, None, None).await.expect(401);

    // Concurrent changes: each makes a version and none is lost.
    let all = futures::future::join_all(
        (1..=6).map(|n| change(&cinema, &path, json!({"durationMinutes": 100 + n}))),
    )
    .await;
    assert!(all.iter().all(|answer| answer.status == 200), "{all:?}");
    assert_eq!(get(&cinema, &path).await.expect(200)["version"], 8);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genre_is_renamed_and_can_be_deleted_when_no_movie_has_it() {
    let cinema = TestCinema::open().await;
    let drama = create(&cinema, "/v1/genres", json!({"name": "Drama"})).await;
    create(&cinema, "/v1/genres", json!({"name": "Comedy"})).await;
    let path = format!("/v1/genres/{}", id(&drama));
    assert_eq!(change(&cinema, &path, json!({"name": "comedy"})).await.code(), "genre-taken");
    assert_eq!(change(&cinema, &path, json!({"name": "Tragedy"})).await.expect(200)["name"], "Tragedy");
    let body =
        json!({"title": "C", "durationMinutes": 90, "releaseDate": "2026-01-01", "genreIds": [drama["id"]]});
    let movie = create(&cinema, "/v1/movies", body).await;
    assert_eq!(total(&cinema, "/v1/movies?genre=tragedy").await, 1);
    let used = delete(&cinema, &path).await;
    assert_eq!((used.status.as_u16(), used.code()), (409, "genre-in-use"));
    delete(&cinema, &format!("/v1/movies/{}", id(&movie))).await.expect(204);
    let gone = delete(&cinema, &path).await;
    assert_eq!((gone.status.as_u16(), gone.text.as_str()), (204, ""));
    delete(&cinema, &path).await.expect(404);
    assert_eq!(total(&cinema, "/v1/genres").await, 1);
    cinema.close().await;
}

/// The movie and the auditorium of the showtime of the cinema.
async fn movie_and_hall(cinema: &TestCinema) -> (String, String) {
    let showtime = get(cinema, &format!("/v1/showtimes/{}", cinema.showtime)).await.expect(200);
    let text = |field: &str| showtime[field].as_str().unwrap().to_owned();
    (text("movieId"), text("auditoriumId"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_movie_with_sold_seats_cannot_be_deleted_and_one_without_is_deleted_with_its_showtimes() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let (movie, hall) = movie_and_hall(&cinema).await;
    let path = format!("/v1/movies/{movie}");
    let sold = delete(&cinema, &path).await;
    assert_eq!((sold.status.as_u16(), sold.code()), (409, "showtime-sold"));
    assert_eq!(
        (&sold.body["showtimes"][0]["id"], &sold.body["showtimes"][0]["seats"]),
        (&json!(cinema.showtime), &json!(["A1"]))
    );
    let busy = delete(&cinema, &format!("/v1/auditoriums/{hall}")).await;
    assert_eq!((busy.status.as_u16(), busy.code()), (409, "auditorium-in-use"));

    cinema.cancel(&ada, &reservation).await.expect(200);
    let key = uuid::Uuid::new_v4().to_string();
    for _ in 0..2 {
        let request =
            cinema.http.delete(format!("{}{path}", cinema.url())).bearer_auth(&cinema.owner().token);
        let answer = request.header("Idempotency-Key", &key).send().await.unwrap();
        assert_eq!(answer.status(), 204, "the same key gets the first answer again");
    }
    delete(&cinema, &path).await.expect(404);
    get(&cinema, &path).await.expect(404);
    assert_eq!(total(&cinema, "/v1/movies").await, 0);
    assert_eq!(total(&cinema, "/v1/showtimes").await, 0, "deleted showtimes are in no list");
    let showtime = get(&cinema, &format!("/v1/showtimes/{}", cinema.showtime)).await.expect(200);
    assert_eq!(
        (&showtime["status"], &showtime["movieTitle"]),
        (&json!("CANCELLED"), &json!("The Long Night"))
    );
    assert_eq!(cinema.reservation(&ada, &reservation).await["movieTitle"], "The Long Night");
    let event = published(&cinema, "movie.deleted", 1).await.remove(0);
    assert_eq!((&event["movieId"], &event["version"]), (&json!(movie), &json!(2)));
    let event = published(&cinema, "showtime.cancelled", 1).await.remove(0);
    assert_eq!(
        (&event["showtimeId"], &event["status"], &event["version"]),
        (&json!(cinema.showtime), &json!("CANCELLED"), &json!(2))
    );
    cinema.until_sql("select count(*) from reservation.showtimes where status = 'CANCELLED'", 1).await;
    assert_eq!(cinema.try_reserve(&ada, &["A1"]).await.code(), "showtime-cancelled");

    let prices = json!({"STANDARD": {"amount": 1200, "currency": "EUR"}});
    let again = json!({"movieId": movie, "auditoriumId": hall, "startsAt": ahead(48), "prices": prices});
    let owner = cinema.owner();
    let again = cinema.call(Method::POST, "/v1/showtimes", Some(&owner), Some(again)).await.expect(422);
    assert_eq!(again["errors"][0]["field"], "movieId");
    let name = get(&cinema, &format!("/v1/auditoriums/{hall}")).await.expect(200)["name"].clone();
    delete(&cinema, &format!("/v1/auditoriums/{hall}")).await.expect(204);
    get(&cinema, &format!("/v1/auditoriums/{hall}")).await.expect(404);
    let rows = json!([{"label": "A", "seats": [{"number": 1, "kind": "STANDARD"}]}]);
    create(&cinema, "/v1/auditoriums", json!({"name": name, "timeZone": "UTC", "rows": rows})).await;
    cinema.close().await;
}

async fn price_of(cinema: &TestCinema, seat: &str) -> Value {
    let map = get(cinema, &format!("/v1/showtimes/{}/seats", cinema.showtime)).await.expect(200);
    let seats = map["seats"].as_array().unwrap();
    seats.iter().find(|s| s["id"] == seat).unwrap()["price"]["amount"].clone()
}

/// Waits until the seat map has this price.
async fn until_price(cinema: &TestCinema, seat: &str, amount: i64) {
    let began = std::time::Instant::now();
    while price_of(cinema, seat).await != amount {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{seat} does not cost {amount}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_prices_apply_to_new_reservations_only_and_appear_in_live_seat_maps() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let before = cinema.reserve(&ada, &["A1"]).await;
    let url = format!("{}/v1/showtimes/{}/seats/events", cinema.url(), cinema.showtime);
    let mut live = EventStream::open(cinema.http.get(url)).await;
    live.until("event: snapshot").await;
    live.received.clear();
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let prices = json!({"STANDARD": {"amount": 1500, "currency": "EUR"}, "WHEELCHAIR": {"amount": 800, "currency": "EUR"}});
    let changed = change(&cinema, &path, json!({"prices": prices})).await.expect(200);
    assert_eq!((&changed["prices"], &changed["version"]), (&prices, &json!(2)));
    until_price(&cinema, "A2", 1500).await;
    assert_eq!(cinema.reservation(&ada, &before).await["total"]["amount"], 1200);
    let after = cinema.try_reserve(&ada, &["A2"]).await.expect(201);
    assert_eq!(after["total"]["amount"], 1500);
    let event = published(&cinema, "showtime.updated", 1).await.remove(0);
    assert_eq!(event["previousPrices"]["STANDARD"]["amount"], 1200);
    assert!(event["by"].is_string(), "{event}");
    live.until("event: snapshot").await;
    live.until("1500").await;
    drop(live);
    let lacking = json!({"prices": {"WHEELCHAIR": {"amount": 800, "currency": "EUR"}}});
    assert_eq!(change(&cinema, &path, lacking).await.expect(422)["errors"][0]["field"], "prices");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_without_reservations_can_be_moved_and_is_sold_at_its_new_time() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let moved = change(&cinema, &path, json!({"startsAt": ahead(48)})).await.expect(200);
    assert_eq!(moved["startsAt"], json!(ahead(48)));
    cinema.until_sql("select count(*) from reservation.showtimes where version = 2", 1).await;
    let reservation = cinema.try_reserve(&ada, &["A1"]).await.expect(201);
    assert_eq!(reservation["startsAt"], json!(ahead(48)));
    let sold = change(&cinema, &path, json!({"startsAt": ahead(72)})).await;
    assert_eq!((sold.status.as_u16(), sold.code()), (409, "showtime-sold"));
    let prices = json!({"STANDARD": {"amount": 1500, "currency": "EUR"}});
    change(&cinema, &path, json!({"startsAt": ahead(48), "prices": prices})).await.expect(200);
    assert_eq!(change(&cinema, &path, json!({"startsAt": ahead(0)})).await.status.as_u16(), 422);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_showtime_frees_every_seat_and_refunds_every_payment() {
    let cinema = TestCinema::open().await;
    let (ada, bob): (Person, Person) = (cinema.register().await, cinema.register().await);
    let paid = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &paid, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &paid).await;
    let held = cinema.reserve(&bob, &["B1"]).await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    delete(&cinema, &path).await.expect(204);
    delete(&cinema, &path).await.expect(204);
    cinema.until_status(&ada, &paid, "REFUNDED").await;
    assert_eq!(cinema.until_status(&bob, &held, "CANCELLED").await["reason"], "SHOWTIME_CANCELLED");
    assert_eq!(cinema.captured(&paid).await, 0);
    published(&cinema, "showtime.cancelled", 1).await;
    let cancelled = change(&cinema, &path, json!({"startsAt": ahead(72)})).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.code()), (409, "showtime-cancelled"));
    cinema.close().await;
}

//! Changing the duration of a movie: its future showtimes end accordingly, and overlapping ones are reported.

use serde_json::{Value, json};

use reqwest::Method;

use super::ahead;
use crate::cinema::{Answer, TestCinema, id};

const PRICES: &str = r#"{"STANDARD": {"amount": 1200, "currency": "EUR"}}"#;

async fn create(cinema: &TestCinema, path: &str, body: Value) -> Answer {
    cinema.call(Method::POST, path, Some(&cinema.owner()), Some(body)).await
}

async fn create_movie(cinema: &TestCinema, title: &str) -> String {
    let body = json!({"title": title, "durationMinutes": 90, "releaseDate": "2026-01-01"});
    id(&create(cinema, "/v1/movies", body).await.expect(201))
}

async fn schedule(cinema: &TestCinema, movie: &str, hall: &str, hours: u32) -> Answer {
    let prices: Value = serde_json::from_str(PRICES).unwrap();
    let body = json!({"movieId": movie, "auditoriumId": hall, "startsAt": ahead(hours).to_string(), "prices": prices});
    create(cinema, "/v1/showtimes", body).await
}

async fn set_duration(cinema: &TestCinema, movie: &str, minutes: u32, accept: bool) -> Answer {
    let mut body = json!({"durationMinutes": minutes});
    if accept {
        body["acceptOverlaps"] = json!(true);
    }
    cinema.call(Method::PATCH, &format!("/v1/movies/{movie}"), Some(&cinema.owner()), Some(body)).await
}

async fn end_of(cinema: &TestCinema, showtime: &str) -> Value {
    let path = format!("/v1/showtimes/{showtime}");
    cinema.call(Method::GET, &path, None, None).await.expect(200)["endsAt"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_movie_is_refused_with_the_showtimes_that_would_overlap() {
    let cinema = TestCinema::open().await;
    let rows = json!([{"label": "A", "seats": [{"number": 1, "kind": "STANDARD"}]}]);
    let hall = json!({"name": "Long Room", "timeZone": "UTC", "rows": rows});
    let hall = id(&create(&cinema, "/v1/auditoriums", hall).await.expect(201));
    let (long, other) = (create_movie(&cinema, "Long").await, create_movie(&cinema, "Other").await);
    let one = id(&schedule(&cinema, &long, &hall, 30).await.expect(201));
    let two = id(&schedule(&cinema, &other, &hall, 32).await.expect(201));
    let alone = id(&schedule(&cinema, &long, &hall, 50).await.expect(201));

    // With 15 more minutes and 15 minutes for cleaning it ends when the other one starts.
    let fits = set_duration(&cinema, &long, 105, false).await.expect(200);
    assert!(fits.get("overlaps").is_none(), "{fits}");
    let refused = set_duration(&cinema, &long, 180, false).await.expect(409);
    assert_eq!(refused["code"], "showtimes-overlap");
    let pairs = refused["overlaps"].as_array().unwrap();
    assert_eq!(
        (pairs.len(), id(&pairs[0]["earlier"]), id(&pairs[0]["later"])),
        (1, one.clone(), two.clone())
    );
    let short = ahead(30).plus(std::time::Duration::from_secs(105 * 60)).to_string();
    assert_eq!(end_of(&cinema, &one).await, json!(short), "a refused change changes nothing");

    let changed = set_duration(&cinema, &long, 180, true).await.expect(200);
    assert_eq!((&changed["durationMinutes"], &changed["overlaps"]), (&json!(180), &refused["overlaps"]));
    assert_eq!(end_of(&cinema, &one).await, json!(ahead(33).to_string()));
    assert_eq!(end_of(&cinema, &alone).await, json!(ahead(53).to_string()));
    cinema.until_sql("select count(*) from movie.unsent", 0).await;
    let updated = cinema.events("showtime.updated").await;
    let of_one: Vec<&Value> = updated.iter().filter(|event| event["showtimeId"] == json!(one)).collect();
    assert_eq!(
        of_one.last().map(|event| &event["endsAt"]),
        Some(&json!(ahead(33).to_string())),
        "{updated:#?}"
    );

    // Overlapping showtimes can still be changed: their prices, and the start of the later one.
    let prices = json!({"prices": {"STANDARD": {"amount": 900, "currency": "EUR"}}});
    for showtime in [&one, &two] {
        let path = format!("/v1/showtimes/{showtime}");
        cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(prices.clone())).await.expect(200);
    }
    let path = format!("/v1/showtimes/{two}");
    for (hours, status) in [(31, 409), (33, 409), (34, 200)] {
        let body = json!({"startsAt": ahead(hours).to_string()});
        let moved = cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(body)).await;
        assert_eq!(moved.status.as_u16(), status, "to {hours}: {:?}", moved.body);
    }
    schedule(&cinema, &other, &hall, 32).await.expect(409);
    assert!(set_duration(&cinema, &long, 100, false).await.expect(200).get("overlaps").is_none());
    cinema.close().await;
}

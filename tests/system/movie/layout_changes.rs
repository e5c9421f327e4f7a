//! Changing the seats of an auditorium never removes a taken seat, not even one that is sold during the change.

use bus::contract::movie::{ShowtimeScheduled, ShowtimeUpdated};
use bus::event::Outgoing;
use reqwest::Method;
use serde_json::{Value, json};

use super::ahead;
use crate::cinema::{Answer, TestCinema};

/// Rows of standard seats; each size is the number of seats of a row.
fn rows(sizes: &[u16]) -> Value {
    let seats = |size: u16| {
        (1..=size).map(|at| json!({"number": at, "column": at, "kind": "STANDARD"})).collect::<Vec<_>>()
    };
    sizes.iter().zip('A'..).map(|(size, label)| json!({"label": label, "seats": seats(*size)})).collect()
}

async fn get(cinema: &TestCinema, path: &str) -> Value {
    cinema.call(Method::GET, path, None, None).await.expect(200)
}

async fn set_layout(cinema: &TestCinema, hall: &str, rows: Value) -> Answer {
    let path = format!("/v1/auditoriums/{hall}");
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(json!({"rows": rows}))).await
}

async fn seats(cinema: &TestCinema, showtime: &str) -> usize {
    get(cinema, &format!("/v1/showtimes/{showtime}/seats")).await["seats"].as_array().unwrap().len()
}

/// Waits until the seat map of the showtime has so many seats.
async fn until_seats(cinema: &TestCinema, showtime: &str, count: usize) {
    let began = std::time::Instant::now();
    while seats(cinema, showtime).await != count {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(30),
            "{showtime} does not have {count} seats"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layout_change_applies_to_future_showtimes_unless_it_removes_taken_seats() {
    let cinema =
        TestCinema::open_with(crate::cinema::Plan { reservation_hosts: 2, ..Default::default() }).await;
    let ada = cinema.register().await;
    let first = get(&cinema, &format!("/v1/showtimes/{}", cinema.showtime)).await;
    let hall = first["auditoriumId"].as_str().unwrap().to_owned();
    let prices = json!({"STANDARD": {"amount": 900, "currency": "EUR"}});
    let second =
        json!({"movieId": first["movieId"], "auditoriumId": hall, "startsAt": ahead(96), "prices": prices});
    let second =
        cinema.call(Method::POST, "/v1/showtimes", Some(&cinema.owner()), Some(second)).await.expect(201);
    let second = second["id"].as_str().unwrap();
    assert_eq!(seats(&cinema, second).await, 50, "five rows of ten");
    let reservation = cinema.reserve(&ada, &["A1", "E10"]).await;

    let sold = set_layout(&cinema, &hall, rows(&[10, 10, 10, 10, 9])).await;
    assert_eq!((sold.status.as_u16(), sold.code()), (409, "seats-sold"));
    let expected = json!([{"id": cinema.showtime, "startsAt": first["startsAt"], "seats": ["E10"]}]);
    assert_eq!(sold.body["showtimes"], expected);
    let mut other_kind = rows(&[10; 5]);
    other_kind[0]["seats"][0]["kind"] = json!("LOVESEAT");
    assert_eq!(set_layout(&cinema, &hall, other_kind).await.body["showtimes"][0]["seats"], json!(["A1"]));
    assert_eq!(
        get(&cinema, &format!("/v1/auditoriums/{hall}")).await["rows"],
        rows(&[10; 5]),
        "nothing changed"
    );

    // Free seats can be removed and new ones added.
    set_layout(&cinema, &hall, rows(&[10, 10, 8, 10, 10, 4])).await.expect(200);
    until_seats(&cinema, second, 52).await;
    until_seats(&cinema, &cinema.showtime, 52).await;
    assert_eq!(cinema.seat("E10").await, "HELD");
    assert_eq!(cinema.try_reserve(&ada, &["C9"]).await.code(), "seat-unknown");
    cinema.reserve(&ada, &["F4"]).await;

    cinema.cancel(&ada, &reservation).await.expect(200);
    set_layout(&cinema, &hall, rows(&[10, 10, 8, 10, 9, 4])).await.expect(200);
    until_seats(&cinema, &cinema.showtime, 51).await;
    cinema.close().await;
}

/// The seat is sold after movie has asked reservation for the taken seats and before reservation handles the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_sold_between_check_and_layout_change_is_kept_and_the_showtime_is_reverted() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let before = get(&cinema, &path).await;
    let reservation = cinema.reserve(&ada, &["E10"]).await;
    let hide = "update reservation.claims set showtime_id = gen_random_uuid() where seat = 'E10'";
    let id = uuid::Uuid::parse_str(&cinema.showtime).unwrap();
    // The claim is hidden while movie asks for the taken seats, and restored before reservation handles the change, which
    // has to wait for the lock on the row of the showtime.
    let mut lock = cinema.database.begin().await.unwrap();
    sqlx::query("select from reservation.showtimes where id = $1 for update")
        .bind(id)
        .execute(&mut *lock)
        .await
        .unwrap();
    sqlx::query(hide).execute(&cinema.database).await.unwrap();
    let hall = before["auditoriumId"].as_str().unwrap();
    set_layout(&cinema, hall, rows(&[10, 10, 10, 10, 9])).await.expect(200);
    sqlx::query("update reservation.claims set showtime_id = $1 where seat = 'E10'")
        .bind(id)
        .execute(&cinema.database)
        .await
        .unwrap();
    lock.rollback().await.unwrap();

    cinema.until_sql("select count(*) from movie.showtimes where version = 3", 1).await;
    cinema.until_sql("select count(*) from reservation.showtimes where version = 3", 1).await;
    assert_eq!(seats(&cinema, &cinema.showtime).await, 50, "the showtime keeps its seats");
    assert_eq!(cinema.seat("E10").await, "HELD");
    let seats_of_row_e = "select jsonb_array_length(layout->4->'seats')::bigint from movie.showtimes";
    assert_eq!(cinema.count(seats_of_row_e).await, 10, "movie shows the sold seat");
    let refused = cinema.events("showtime.change_refused").await;
    assert_eq!((refused.len(), &refused[0]["version"]), (1, &json!(2)));
    assert_eq!(cinema.events("showtime.updated").await.len(), 2);
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_version_of_a_showtime_changes_nothing_and_a_first_version_is_stored() {
    let cinema = TestCinema::open().await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let owner = cinema.owner();
    for amount in [1500, 1700] {
        let prices = json!({"prices": {"STANDARD": {"amount": amount, "currency": "EUR"}}});
        cinema.call(Method::PATCH, &path, Some(&owner), Some(prices)).await.expect(200);
    }
    cinema.until_sql("select count(*) from reservation.showtimes where version = 3", 1).await;
    let mut updates: Vec<ShowtimeUpdated> = cinema
        .events("showtime.updated")
        .await
        .into_iter()
        .map(|event| serde_json::from_value(event).unwrap())
        .collect();
    updates.sort_by_key(|update| update.showtime.version);
    let publish = async |event: ShowtimeUpdated| {
        let out = Outgoing::new("movie", &event, event.showtime.starts_at, &bus::Context::new());
        out.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
    };
    // The older version again, and a first version of another showtime.
    publish(updates[0].clone()).await;
    let other = ShowtimeScheduled { showtime_id: uuid::Uuid::now_v7(), ..updates[1].showtime.clone() };
    publish(ShowtimeUpdated { showtime: other, by: None, previous_prices: None, previous_overrides: None })
        .await;
    cinema.until_sql("select count(*) from reservation.showtimes where version = 3", 2).await;
    let current_price =
        "select count(*) from reservation.showtimes where prices->'STANDARD'->>'amount' = '1700'";
    assert_eq!(cinema.count(current_price).await, 2);
    cinema.close().await;
}

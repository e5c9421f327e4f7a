//! Seats over REST: ids and columns, seats sold only together, the best seats, and layouts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, TestCinema};

/// A row of standard seats with these numbers, from left to right.
fn numbered(label: &str, numbers: impl IntoIterator<Item = u16>) -> Value {
    let seats = numbers.into_iter().map(|number| json!({"number": number, "kind": "STANDARD"}));
    json!({"label": label, "seats": seats.collect::<Vec<_>>()})
}

fn seat(number: u16, column: u16, kind: &str) -> Value {
    json!({"number": number, "column": column, "kind": kind})
}

/// One seat of a love seat; the seats with the same `unit` are sold together.
fn love_seat(number: u16, column: u16, unit: u16) -> Value {
    json!({"number": number, "column": column, "kind": "LOVESEAT", "unit": unit})
}

/// A wheelchair space with a companion seat on each side and a standard seat; two love seats for two and one for three.
fn special_layout() -> Value {
    let first =
        [seat(1, 1, "COMPANION"), seat(2, 2, "WHEELCHAIR"), seat(3, 3, "COMPANION"), seat(4, 4, "STANDARD")];
    let last = [
        love_seat(1, 1, 1),
        love_seat(2, 2, 1),
        love_seat(3, 4, 2),
        love_seat(4, 5, 2),
        love_seat(5, 6, 3),
        love_seat(6, 7, 3),
        love_seat(7, 8, 3),
    ];
    json!([{"label": "A", "seats": first}, {"label": "B", "seats": last}])
}

async fn best(cinema: &TestCinema, query: &str) -> Answer {
    let path = format!("/v1/showtimes/{}/seats/best?{query}", cinema.showtime);
    cinema.call(Method::GET, &path, None, None).await
}

async fn order_best(cinema: &TestCinema, who: &Person, wanted: Value) -> Answer {
    let body = json!({"showtimeId": cinema.showtime, "bestAvailable": wanted});
    cinema.call(Method::POST, "/v1/reservations", Some(who), Some(body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_hall_with_numbered_rows_row_1_seat_11_is_not_row_11_seat_1() {
    let mut cinema = TestCinema::open().await;
    let rows = json!([numbered("1", 1..=12), numbered("2", (1..=12).rev()), numbered("11", 1..=12)]);
    cinema.showtime = cinema.schedule_layout(rows, 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["1-11"]).await;
    assert_eq!((cinema.seat("1-11").await, cinema.seat("11-1").await), ("SOLD".into(), "FREE".into()));
    let tickets = format!("/v1/reservations/{order}/tickets");
    let tickets = cinema.call(Method::GET, &tickets, Some(&ada), None).await.expect(200);
    assert_eq!(tickets["tickets"][0]["seat"], "1-11");
    cinema.buy(&ada, &["11-1"]).await;
    assert_eq!(cinema.seat("11-1").await, "SOLD");
    let ambiguous = cinema.try_reserve(&ada, &["111"]).await;
    assert_eq!((ambiguous.status.as_u16(), ambiguous.code()), (422, "invalid"), "{}", ambiguous.text);
    let map = format!("/v1/showtimes/{}/seats", cinema.showtime);
    let map = cinema.call(Method::GET, &map, None, None).await.expect(200);
    let mirrored = map["seats"].as_array().unwrap().iter().filter(|seat| seat["row"] == "2");
    let columns: Vec<_> = mirrored.map(|seat| (seat["number"].clone(), seat["column"].clone())).collect();
    assert_eq!(columns[..2], [(json!(12), json!(1)), (json!(11), json!(2))]);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_companion_seat_alone_or_a_split_love_seat_is_refused_and_holds_nothing() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_layout(special_layout(), 24 * 3600).await;
    let ada = cinema.register().await;
    let refusal = async |seats: &[&str]| {
        let refused = cinema.try_reserve(&ada, seats).await;
        assert!(refused.body["errors"][0]["field"] == "seats", "{}", refused.text);
        (refused.status.as_u16(), refused.code().to_owned(), refused.body["seats"].clone())
    };
    let alone = |seats: Value| (422, "companion-alone".to_owned(), seats);
    let split = |seats: Value| (422, "unit-split".to_owned(), seats);
    assert_eq!(refusal(&["A1"]).await, alone(json!(["A1"])));
    assert_eq!(refusal(&["A4", "A3"]).await, alone(json!(["A3"])));
    assert_eq!(refusal(&["B1"]).await, split(json!(["B1", "B2"])));
    assert_eq!(refusal(&["B3", "B5", "B6"]).await, split(json!(["B3", "B4", "B5", "B6", "B7"])));
    assert_eq!(cinema.count("select count(*) from reservation.claims").await, 0);

    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.reserve(&ada, &["B5", "B6", "B7"]).await;
    // An exchange is checked on the whole new order.
    let path = format!("/v1/reservations/{order}/exchange");
    let exchange = async |seats: Value| {
        cinema.call(Method::POST, &path, Some(&ada), Some(json!({"seats": seats}))).await
    };
    let left = exchange(json!(["A1"])).await;
    assert_eq!((left.status.as_u16(), left.code()), (422, "companion-alone"), "{}", left.text);
    let half = exchange(json!(["A2", "B1"])).await;
    assert_eq!((half.status.as_u16(), half.code()), (422, "unit-split"), "{}", half.text);
    let moved = exchange(json!(["A2", "A3"])).await.expect(200);
    assert_eq!(moved["seats"], json!(["A2", "A3"]));
    cinema.until("the companion seat is free", async || cinema.seat("A1").await == "FREE").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_seats_are_those_that_an_order_would_get_and_are_not_held() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    for count in 1..=5 {
        let found = best(&cinema, &format!("count={count}")).await.expect(200);
        assert_eq!(found["together"], true);
        assert_eq!(found["total"], json!({"amount": 1200 * count, "currency": "EUR"}));
        assert_eq!(cinema.seat(found["seats"][0].as_str().unwrap()).await, "FREE");
        let order = order_best(&cinema, &ada, json!({"count": count})).await.expect(201);
        assert_eq!(order["seats"], found["seats"], "of {count}");
        let next = best(&cinema, &format!("count={count}")).await.expect(200);
        assert_ne!(next["seats"], found["seats"]);
        assert!(next["sequence"].as_i64() > found["sequence"].as_i64());
    }
    let near = best(&cinema, "count=2&near=A1,A2").await.expect(200);
    assert_eq!(near["seats"], json!(["A1", "A2"]));

    cinema.showtime = cinema.schedule(&["SS-SS", "S-S-S"], 3600).await;
    let apart = best(&cinema, "count=3").await.expect(200);
    assert_eq!((apart["together"].clone(), apart["seats"].as_array().unwrap().len()), (json!(false), 3));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_best_seats_are_whole_love_seats_and_no_companion_seats() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_layout(special_layout(), 3600).await;
    let ada = cinema.register().await;
    let found = best(&cinema, "count=2&kind=LOVESEAT").await.expect(200);
    assert_eq!((found["seats"].clone(), found["together"].clone()), (json!(["B3", "B4"]), json!(true)));
    let split = async |answer: Answer| {
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "unit-split"), "{}", answer.text);
    };
    split(best(&cinema, "count=6&kind=LOVESEAT").await).await;
    split(order_best(&cinema, &ada, json!({"count": 6, "kind": "LOVESEAT"})).await).await;
    let few =
        |answer: &Answer| (answer.status.as_u16(), answer.code().to_owned(), answer.body["detail"].clone());
    let none = (409, "not-enough-seats".to_owned(), json!("Only 1 seats of this kind are left."));
    assert_eq!(few(&best(&cinema, "count=2").await), none);
    assert_eq!(few(&order_best(&cinema, &ada, json!({"count": 2})).await), none);
    assert_eq!(best(&cinema, "count=1&kind=COMPANION").await.code(), "not-enough-seats");
    for (query, status, code) in [
        ("count=0", 422, "invalid"),
        ("count=11", 422, "seats-per-order"),
        ("count=1&kind=GAP", 422, "invalid"),
        ("count=1&near=A1,,A-1", 400, "bad-query"),
        ("count=1&near=Z9", 422, "seat-unknown"),
        ("count=two", 400, "bad-query"),
        ("", 400, "bad-query"),
    ] {
        let answer = best(&cinema, query).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{query}: {}", answer.text);
    }
    let path = format!("/v1/showtimes/{}/seats/best?count=1", uuid::Uuid::now_v7());
    cinema.call(Method::GET, &path, None, None).await.expect(404);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inconsistent_layout_is_refused_with_the_name_of_its_field() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let send = async |name: &str, rows: Value| {
        let body = json!({"name": name, "timeZone": "Europe/Berlin", "rows": rows});
        cinema.call(Method::POST, "/v1/auditoriums", Some(&owner), Some(body)).await
    };
    for (rows, field) in [
        (json!([numbered("A", [1, 1])]), "rows[0].seats[1].number"),
        (json!([numbered("A,B", [1])]), "rows[0].label"),
        (json!([numbered("1-1", [1])]), "rows[0].label"),
        (json!([numbered("A", [1]), numbered("A", [2])]), "rows[1].label"),
        (
            json!([{"label": "A", "seats": [seat(1, 3, "STANDARD"), seat(2, 3, "STANDARD")]}]),
            "rows[0].seats[1].column",
        ),
        (
            json!([{"label": "A", "seats": [seat(1, 3, "STANDARD"), seat(2, 2, "STANDARD")]}]),
            "rows[0].seats[1].column",
        ),
        (json!([{"label": "A", "seats": [seat(1, 101, "STANDARD")]}]), "rows[0].seats[0].column"),
        (json!([{"label": "A", "seats": [love_seat(1, 1, 1)]}]), "rows[0].seats[0].unit"),
        (json!([{"label": "A", "seats": [love_seat(1, 1, 1), love_seat(2, 3, 1)]}]), "rows[0].seats[0].unit"),
    ] {
        let refused = send("Refused", rows.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (422, "invalid"), "{rows}: {}", refused.text);
        assert_eq!(refused.body["errors"][0]["field"], field, "{rows}");
    }
    let made =
        send("Any label", json!([numbered("Loge", [9, 7, 8]), numbered("Ä", [1]), numbered("11", [1])]))
            .await;
    let columns: Vec<_> = made.expect(201)["rows"][0]["seats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["column"].clone())
        .collect();
    assert_eq!(columns, [json!(1), json!(2), json!(3)], "the columns are stored");
    cinema.close().await;
}

//! Reservations: from registration to CONFIRMED, competition for seats, holds, idempotency, the live seat map.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema, id};
use crate::event_stream::EventStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moviegoer_reserves_pays_and_is_confirmed() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let created = cinema.try_reserve(&ada, &["C5", "C6"]).await.expect(201);
    assert_eq!(created["status"], "PENDING");
    assert_eq!(created["seats"], json!(["C5", "C6"]));
    assert_eq!(created["total"], json!({"amount": 2400, "currency": "EUR"}));
    assert_eq!(cinema.seat("C5").await, "HELD");
    let reservation = id(&created);

    let payment = cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    assert_eq!(payment["status"], "SUCCEEDED");
    assert_eq!(payment["total"], created["total"]);
    let confirmed = cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(confirmed["payment"]["status"], "SUCCEEDED");
    assert_eq!(cinema.seat("C6").await, "SOLD");
    assert_eq!(cinema.captured(&reservation).await, 2400);

    for subject in ["reservation.created", "reservation.confirmed", "payment.success"] {
        let events = cinema.events(subject).await;
        assert_eq!(events.len(), 1, "{subject}: {events:?}");
        assert_eq!(events[0]["reservationId"], reservation.as_str());
    }
    let again = cinema.pay(&ada, &reservation, "pm_card_visa").await;
    assert_eq!((again.status.as_u16(), again.code()), (409, "already-paid"));
    assert_eq!(cinema.captured(&reservation).await, 2400);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_compete_for_twenty_seats_on_two_hosts() {
    let mut cinema =
        TestCinema::open_with(Plan { reservation_hosts: 2, redis: true, ..Plan::default() }).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS", "SSSSSSSSSS"], 3600).await;
    let cinema = Arc::new(cinema);
    // The clients compete for seats, not for holds, so a few accounts are enough.
    let people = futures::future::join_all((0..8).map(|_| cinema.register())).await;
    let attempts = (0..200).map(|client| {
        let (cinema, who) = (cinema.clone(), people[client % people.len()].clone());
        tokio::spawn(async move {
            let seat = format!("{}{}", ["A", "B"][client % 2], client / 2 % 10 + 1);
            (seat.clone(), cinema.try_reserve(&who, &[&seat]).await)
        })
    });
    let mut owners: Vec<(String, String)> = Vec::new();
    for attempt in futures::future::join_all(attempts).await {
        let (seat, answer) = attempt.unwrap();
        match answer.status.as_u16() {
            201 => owners.push((seat, id(&answer.body))),
            409 => {
                assert_eq!(answer.code(), "seats-taken", "{}", answer.text);
                assert_eq!(answer.body["seats"], json!([seat]), "{}", answer.text);
            }
            _ => panic!("unexpected answer {}", answer.text),
        }
    }
    let seats: HashSet<&String> = owners.iter().map(|(seat, _)| seat).collect();
    assert_eq!((owners.len(), seats.len()), (20, 20));
    assert_eq!(cinema.count("select count(*) from reservation.claims").await, 20);
    Arc::into_inner(cinema).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn best_available_finds_seats_on_either_host_until_none_are_left() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS", "SSSSSSSSSS"], 3600).await;
    let ada = cinema.register().await;
    let best = |count: u16| {
        let body = json!({"showtimeId": cinema.showtime, "bestAvailable": {"count": count}});
        cinema.call(Method::POST, "/v1/reservations", Some(&ada), Some(body))
    };
    let answers = futures::future::join_all((0..8).map(|_| best(2))).await;
    for answer in answers {
        let seats = answer.expect(201)["seats"].as_array().unwrap().len();
        assert_eq!(seats, 2);
    }
    best(4).await.expect(201);
    let none = best(1).await;
    assert_eq!((none.status.as_u16(), none.code()), (409, "not-enough-seats"));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seat_map_of_every_host_shows_each_answered_change() {
    let cinema = TestCinema::open_with(Plan { reservation_hosts: 3, ..Plan::default() }).await;
    let ada = cinema.register().await;
    for round in 0..15 {
        let seat = format!("A{}", round % 10 + 1);
        let reservation = cinema.reserve(&ada, &[&seat]).await;
        for _ in 0..3 {
            assert_eq!(cinema.seat(&seat).await, "HELD", "round {round}");
        }
        cinema.cancel(&ada, &reservation).await.expect(200);
        for _ in 0..3 {
            assert_eq!(cinema.seat(&seat).await, "FREE", "round {round}");
        }
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_idempotency_key_gives_the_same_bytes() {
    let cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    let body = json!({"showtimeId": cinema.showtime, "seats": ["B1"]});
    let create =
        |body: Value| cinema.call_with_key(Method::POST, "/v1/reservations", Some(&ada), Some(body), "key-1");
    // Six times at once over both hosts, and again later: one reservation.
    let answers = futures::future::join_all((0..6).map(|_| create(body.clone()))).await;
    let first = answers.iter().find(|a| a.status.as_u16() == 201).expect("one is created").text.clone();
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.text), (201, &first));
    }
    assert_eq!(create(body).await.text, first);
    let other = create(json!({"showtimeId": cinema.showtime, "seats": ["B2"]})).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency-mismatch"));
    assert_eq!(cinema.count("select count(*) from reservation.reservations").await, 1);

    let reservation = id(&serde_json::from_str(&first).unwrap());
    let body = json!({"reservationId": reservation, "paymentMethod": "pm_card_visa"});
    let pay = |key: &'static str| {
        cinema.call_with_key(Method::POST, "/v1/payments", Some(&ada), Some(body.clone()), key)
    };
    let paid = pay("pay-1").await;
    assert_eq!(paid.status.as_u16(), 201, "{}", paid.text);
    let again = pay("pay-1").await;
    assert_eq!((again.status, again.text), (paid.status, paid.text));
    assert_eq!(cinema.captured(&reservation).await, 1200);
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_expires_even_if_all_hosts_were_restarted() {
    let mut cinema = TestCinema::open_with(Plan::default().with("HOLD_SECONDS", 2)).await;
    let ada = cinema.register().await;
    let first = cinema.reserve(&ada, &["A1"]).await;
    let cancelled = cinema.until_status(&ada, &first, "CANCELLED").await;
    assert_eq!(cancelled["reason"], "HOLD_EXPIRED");
    assert_eq!(cinema.seat("A1").await, "FREE");

    let second = cinema.reserve(&ada, &["A1"]).await;
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_status(&ada, &second, "CANCELLED").await;
    assert_eq!(cinema.seat("A1").await, "FREE");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_per_order_and_open_holds_are_limited() {
    let plan = Plan { reservation_hosts: 2, ..Plan::default() }
        .with("OPEN_HOLDS_MAX", 2)
        .with("SEATS_PER_ORDER_MAX", 3);
    let cinema = TestCinema::open_with(plan).await;
    let ada = cinema.register().await;
    let large = cinema.try_reserve(&ada, &["A1", "A2", "A3", "A4"]).await;
    assert_eq!((large.status.as_u16(), large.code()), (422, "seats-per-order"));
    // Six at once over two hosts: two succeed, however they are spread.
    let seats = ["B1", "B2", "B3", "B4", "B5", "B6"];
    let answers = futures::future::join_all(seats.chunks(1).map(|seat| cinema.try_reserve(&ada, seat))).await;
    let reserved: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 201).collect();
    assert_eq!(reserved.len(), 2);
    assert!(answers.iter().all(|a| a.status.as_u16() == 201 || a.code() == "hold-limit"), "{answers:?}");
    cinema.cancel(&ada, &id(&reserved[0].body)).await.expect(200);
    cinema.reserve(&ada, &["C1"]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_browser_sees_held_and_freed_seats_live() {
    let cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    let url = format!("{}/v1/showtimes/{}/seats/events", cinema.url(), cinema.showtime);
    let mut live = EventStream::open(cinema.http.get(url)).await;
    live.until("event: snapshot").await;
    let reservation = cinema.reserve(&ada, &["D4"]).await;
    live.until(r#"{"id":"D4","status":"HELD"}"#).await;
    live.received.clear();
    cinema.cancel(&ada, &reservation).await.expect(200);
    live.until(r#"{"id":"D4","status":"FREE"}"#).await;
    drop(live);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_seen_by_its_owner_and_staff_only() {
    let cinema = TestCinema::open().await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let path = format!("/v1/reservations/{reservation}");
    assert_eq!(cinema.call(Method::GET, &path, Some(&bob), None).await.expect(404)["code"], "not-found");
    assert_eq!(cinema.cancel(&bob, &reservation).await.expect(404)["code"], "not-found");
    let paid = cinema.pay(&bob, &reservation, "pm_card_visa").await;
    assert_eq!(paid.status.as_u16(), 404, "{}", paid.text);
    cinema.call(Method::GET, &path, Some(&cinema.owner()), None).await.expect(200);
    let own = cinema.call(Method::GET, "/v1/reservations", Some(&bob), None).await.expect(200);
    assert_eq!(own["total"], 0);
    let all = cinema
        .call(Method::GET, "/v1/reservations?status=PENDING", Some(&cinema.owner()), None)
        .await
        .expect(200);
    assert_eq!(all["total"], 1);
    assert_eq!(cinema.seat("A1").await, "HELD");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_notice_delays_answers_only_briefly() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1"]).await;
    // As if other hosts had changed seats and their notices were lost.
    sqlx::query("update reservation.showtimes set sequence = sequence + 3")
        .execute(&cinema.database)
        .await
        .unwrap();
    let began = std::time::Instant::now();
    assert_eq!(cinema.seat("A1").await, "HELD");
    sqlx::query("update reservation.showtimes set sequence = sequence + 3")
        .execute(&cinema.database)
        .await
        .unwrap();
    let taken = cinema.try_reserve(&ada, &["A1"]).await;
    assert_eq!((taken.status.as_u16(), taken.code()), (409, "seats-taken"));
    cinema.reserve(&ada, &["A2"]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_and_its_trace_are_on_every_event_that_the_request_causes() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    // Payment learns of the charge from the provider's answer or from a webhook; the request is the cause in either case.
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let paid = cinema
        .http
        .post(format!("{}/v1/payments", cinema.url()))
        .bearer_auth(&ada.token)
        .header("Idempotency-Key", "traced")
        .header("X-Request-Id", "order-4711")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&json!({"reservationId": reservation, "paymentMethod": "pm_card_visa"}))
        .send()
        .await
        .unwrap();
    assert_eq!(paid.headers()["x-request-id"], "order-4711");
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.until_published().await;
    let stream = bus::topology::events(&cinema.cinema().bus).await.unwrap();
    for subject in ["payment.success", "reservation.confirmed"] {
        let message = stream.get_last_raw_message_by_subject(subject).await.unwrap();
        let header =
            |name: &str| message.headers.get(name).map(|value| value.to_string()).unwrap_or_default();
        assert_eq!(header("X-Correlation-Id"), "order-4711", "{subject}");
        assert!(
            header("traceparent").starts_with(&format!("00-{trace}-")),
            "{subject}: {}",
            header("traceparent")
        );
        assert_eq!(header("ce-type"), subject);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_deployment_is_ready_and_not_degraded() {
    let cinema = TestCinema::open().await;
    let ready = cinema.call(Method::GET, "/health/ready", None, None).await.expect(200);
    assert_eq!(ready["ready"], true, "{ready}");
    assert!(ready["degraded"].as_array().is_none_or(Vec::is_empty), "{ready}");
    for part in ["auth", "movie", "reservation", "payment", "notification", "scheduler", "nats"] {
        assert_eq!(ready["parts"][part]["ready"], true, "{ready}");
    }
    cinema.close().await;
}

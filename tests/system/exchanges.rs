//! Exchanging seats: cheaper, dearer and for another showtime, several at once, and what is refunded.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::revenue::euros;

impl TestCinema {
    async fn exchange(&self, reservation: &str, who: &Person, body: Value) -> Answer {
        self.post(&format!("/v1/reservations/{reservation}/exchange"), who, body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_for_cheaper_seats_is_one_step_and_refunds_the_difference() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    cinema.showtime = cinema.schedule(&["SSSSW", "SSSS-"], 24 * 3600).await;
    let reservation = cinema.buy(&ada, &["A1", "A2"]).await;
    let other = cinema.reserve(&bob, &["B1"]).await;

    // One seat stays, one is new.
    let before = cinema.events("reservation.confirmed").await;
    let moved = cinema.exchange(&reservation, &ada, json!({"seats": ["A2", "A3"]})).await.expect(200);
    assert_eq!((&moved["id"], &moved["seats"]), (&json!(reservation), &json!(["A2", "A3"])));
    assert_eq!(moved["total"], euros(2400));
    let seats = [cinema.seat("A1").await, cinema.seat("A2").await, cinema.seat("A3").await];
    assert_eq!(seats, ["FREE", "SOLD", "SOLD"]);
    let exchanged = cinema.events("reservation.exchanged").await;
    assert_eq!((exchanged.len(), &exchanged[0]["previousSeats"]), (1, &json!(["A1", "A2"])));
    assert_eq!(cinema.events("reservation.confirmed").await.len(), before.len());

    let taken = cinema.exchange(&reservation, &ada, json!({"seats": ["B1", "B2"]})).await;
    assert_eq!((taken.status.as_u16(), taken.code()), (409, "seats-taken"));
    assert_eq!(taken.body["seats"], json!(["B1"]));
    let same = cinema.exchange(&reservation, &ada, json!({"seats": ["A3", "A2"]})).await;
    assert_eq!((same.status.as_u16(), same.code()), (409, "same-seats"));
    let unpaid = cinema.exchange(&other, &bob, json!({"seats": ["B2"]})).await;
    assert_eq!((unpaid.status.as_u16(), unpaid.code()), (409, "not-confirmed"));
    let foreign = cinema.exchange(&reservation, &bob, json!({"seats": ["B2"]})).await;
    assert_eq!(foreign.status.as_u16(), 404);
    cinema.cancel(&bob, &other).await.expect(200);

    // To another showtime with cheaper seats; sent twice with one key it is done once.
    let elsewhere = cinema.schedule(&["WWSS"], 48 * 3600).await;
    let path = format!("/v1/reservations/{reservation}/exchange");
    let body = json!({"showtimeId": elsewhere, "bestAvailable": {"count": 2, "kind": "WHEELCHAIR"}});
    let twice = [(), ()]
        .map(|()| cinema.call_with_key(Method::POST, &path, Some(&ada), Some(body.clone()), "swap-1"));
    let twice = futures::future::join_all(twice).await;
    let moved = twice[0].clone().expect(200);
    assert_eq!(twice[0].text, twice[1].text);
    assert_eq!((&moved["showtimeId"], &moved["total"]), (&json!(elsewhere), &euros(1600)));
    assert_eq!([cinema.seat("A2").await, cinema.seat("A3").await], ["FREE", "FREE"]);
    cinema.until_captured(&reservation, 1600).await;
    cinema.showtime = elsewhere;
    assert_eq!([cinema.seat("A1").await, cinema.seat("A2").await], ["SOLD", "SOLD"]);
    cinema.cancel(&ada, &reservation).await.expect(200);
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1600));
    assert_eq!((cinema.captured(&reservation).await, cinema.seat("A1").await), (0, "FREE".to_owned()));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_exchanges_for_one_seat_give_it_to_one_order() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 24 * 3600).await;
    let ada = cinema.register().await;
    let mut bought = Vec::new();
    for seat in ["A1", "A2", "A3", "A4"] {
        bought.push(cinema.buy(&ada, &[seat]).await);
    }
    let exchanges = bought.iter().map(|order| cinema.exchange(order, &ada, json!({"seats": ["A9"]})));
    let (answers, new_order) =
        tokio::join!(futures::future::join_all(exchanges), cinema.try_reserve(&ada, &["A9"]));
    let won = answers.iter().chain([&new_order]).filter(|answer| answer.status.is_success()).count();
    assert_eq!(won, 1, "{answers:?} {new_order:?}");
    let others = answers.iter().chain([&new_order]).filter(|answer| !answer.status.is_success());
    assert!(others.clone().all(|answer| answer.code() == "seats-taken"), "{answers:?} {new_order:?}");
    cinema.close().await;
}

/// One exchange to a single cheap seat and one to as many seats as before: the second to be written is planned again on
/// the order that the first has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_exchanges_never_sell_seats_below_their_price() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    for round in 0..8 {
        cinema.showtime = cinema.schedule(&["SSSSWW", "SSSSSS"], (24 + 4 * round) * 3600).await;
        let order = cinema.buy(&ada, &["A1", "A2", "A3", "A4"]).await;
        let wanted = [&["A5"][..], &["B1", "B2", "B3", "B4"], &["A6"]];
        let exchanges = wanted.map(|seats| cinema.exchange(&order, &ada, json!({"seats": seats})));
        let answers = futures::future::join_all(exchanges).await;
        assert!(answers.iter().all(|answer| answer.status.as_u16() < 500), "{answers:?}");
        // A dearer exchange, planned on the order that a cheaper one has left, waits for its payment: it is cancelled.
        for dearer in answers.iter().filter(|answer| answer.status.as_u16() == 201) {
            cinema.cancel(&ada, &id(&dearer.body)).await.expect(200);
        }
        let order = cinema.reservation(&ada, &order).await;
        let prices: i64 = order["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["price"]["amount"].as_i64().unwrap())
            .sum();
        assert_eq!(order["total"], euros(prices));
        // The provider has exactly the price of the seats.
        cinema.until_captured(&id(&order), prices).await;
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_and_a_cancellation_refund_as_much_as_the_cancellation_alone() {
    let mut cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSSW"], 24 * 3600).await;
    let ada = cinema.register().await;
    let bob = cinema.register().await;
    let seats = ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10"];
    let order = cinema.buy(&ada, &seats).await;
    assert_eq!(cinema.reservation(&ada, &order).await["cancellation"]["refund"], euros(6000));
    let path = format!("/v1/reservations/{order}/exchange?seats=A11");
    let plan = cinema.get(&path, &ada).await.expect(200);
    assert_eq!([&plan["total"], &plan["refund"], &plan["payable"]], [&euros(800), &euros(5600), &euros(0)]);
    assert_eq!(cinema.get(&path, &bob).await.status.as_u16(), 404);
    assert_eq!(cinema.get(&format!("{path},a b"), &ada).await.status.as_u16(), 400);
    let shown = json!({"seats": ["A11"], "version": plan["version"]});
    let moved = cinema.exchange(&order, &ada, shown).await.expect(200);
    assert_eq!((&moved["lines"][0]["seat"], &moved["lines"][0]["price"]), (&json!("A11"), &euros(800)));
    assert_eq!(moved["lines"].as_array().unwrap().len(), 1);
    // Half of the 11,200 of the exchange is refunded, and half of the 800 when the order is cancelled.
    cinema.until_captured(&order, 6400).await;
    assert_eq!(moved["cancellation"]["refund"], euros(400));
    cinema.cancel(&ada, &order).await.expect(200);
    cinema.until_status(&ada, &order, "REFUNDED").await;
    assert_eq!(cinema.captured(&order).await, 6000);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_planned_on_an_older_version_is_refused_with_the_new_plan() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let shown = cinema.reservation(&ada, &order).await["version"].as_i64().unwrap();
    let moved = cinema.exchange(&order, &ada, json!({"seats": ["A3"], "version": shown})).await.expect(200);
    let now = moved["version"].as_i64().unwrap();

    let path = format!("/v1/reservations/{order}/cancel");
    let late = cinema.post(&path, &ada, json!({"version": shown})).await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "plan-changed"));
    assert_eq!((&late.body["plan"]["refund"], &late.body["plan"]["total"]), (&euros(1200), &euros(0)));
    // Staff see what their own cancellation would give back.
    let none = json!({"version": shown, "refundPercent": 0});
    let late = cinema.post(&path, &cinema.owner(), none).await;
    assert_eq!((late.code(), &late.body["plan"]["refund"]), ("plan-changed", &euros(0)));
    let late = cinema.exchange(&order, &ada, json!({"seats": ["A4"], "version": shown})).await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "plan-changed"));
    assert_eq!((&late.body["plan"]["refund"], &late.body["plan"]["total"]), (&euros(0), &euros(1200)));
    assert_eq!([cinema.seat("A3").await, cinema.seat("A4").await], ["SOLD", "FREE"]);
    let unreadable = cinema.post(&path, &ada, json!({"version": 0})).await;
    assert_eq!(
        (unreadable.status.as_u16(), &unreadable.body["errors"][0]["field"]),
        (422, &json!("version"))
    );

    // Meanwhile the refund of the exchange settles, which makes a new version.
    cinema.until_captured(&order, 1200).await;
    let mut version = now;
    let cancelled = loop {
        let answer = cinema.post(&path, &ada, json!({"version": version})).await;
        match answer.code() {
            "plan-changed" => version = answer.body["plan"]["version"].as_i64().unwrap(),
            _ => break answer.expect(200),
        }
    };
    assert_eq!(cancelled["refund"]["total"], euros(1200));
    cinema.until_status(&ada, &order, "REFUNDED").await;
    // The same request again has nothing left to do.
    cinema.post(&path, &ada, json!({"version": version})).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_for_dearer_seats_that_is_not_paid_changes_nothing() {
    let quick =
        Plan::default().with("HOLD_SECONDS", 4).with("HOLD_SECONDS_MAX", 30).with("HOLD_GRACE_SECONDS", 2);
    let cinema = TestCinema::open_with(quick).await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    // The new order is not paid in time: nothing changes.
    let new = cinema.exchange(&old, &ada, json!({"seats": ["B1", "B2"]})).await.expect(201);
    assert_eq!((new["status"].as_str(), &new["exchangeOf"]), (Some("PENDING"), &json!(old)));
    assert_eq!(new["total"], euros(2400));
    cinema.until_status(&ada, &id(&new), "CANCELLED").await;
    cinema.until_sql("select count(*) from reservation.saga_steps where input = 'exchange-over'", 1).await;
    let untouched = cinema.reservation(&ada, &old).await;
    assert_eq!((untouched["status"].as_str(), &untouched["exchangingTo"]), (Some("CONFIRMED"), &Value::Null));

    cinema.close().await;
}

/// The fee stays paid when a customer cancels, and is part of the price of the other seat until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_without_a_fee_for_the_price_with_it_are_an_even_exchange() {
    let mut cinema = TestCinema::open().await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let elsewhere = cinema.schedule_at(&["SSSS"], 48 * 3600, [1250, 1250]).await;
    let body = json!({"showtimeId": elsewhere, "seats": ["A1"]});
    let moved = cinema.exchange(&order, &ada, body).await.expect(200);
    assert_eq!(moved["total"], euros(1250));
    assert_eq!(moved["cancellation"]["refund"], euros(1200));
    cinema.check_the_books().await;
    cinema.cancel(&ada, &order).await.expect(200);
    let refunded = cinema.until_status(&ada, &order, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    cinema.close().await;
}

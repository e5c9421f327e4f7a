//! Giving back and exchanging: the agreed policy, what staff say, parts, other seats, a showtime's end, what staff see.

use reqwest::Method;
use sandbox::Switches;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};

impl TestCinema {
    async fn post(&self, path: &str, who: &Person, body: Value) -> Answer {
        self.call(Method::POST, path, Some(who), Some(body)).await
    }

    async fn look(&self, path: &str, who: &Person) -> Answer {
        self.call(Method::GET, path, Some(who), None).await
    }

    async fn give_back(&self, payment: &str, who: &Person, body: Value) -> Answer {
        self.post(&format!("/v1/payments/{payment}/refund"), who, body).await
    }

    async fn exchange(&self, reservation: &str, who: &Person, body: Value) -> Answer {
        self.post(&format!("/v1/reservations/{reservation}/exchange"), who, body).await
    }

    async fn payment_of(&self, who: &Person, reservation: &str) -> String {
        id(&self.reservation(who, reservation).await["payment"])
    }

    /// Waits until the provider has given back so much that this is left.
    async fn until_captured(&self, reservation: &str, wanted: i64) {
        let began = std::time::Instant::now();
        loop {
            let left = self.captured(reservation).await;
            if left == wanted {
                return;
            }
            assert!(began.elapsed().as_secs() < 40, "{left} is captured, not {wanted}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

fn euros(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_refunds_what_the_policy_announced() {
    let mut cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    let ada = cinema.register().await;
    let reservation = cinema.buy(&ada, &["A1", "A2"]).await;
    let shown = cinema.reservation(&ada, &reservation).await;
    assert_eq!(shown["refundPolicy"], json!({"untilMinutes": 120, "percent": 50}));
    assert_eq!(shown["cancellation"]["refund"], euros(1200));
    let path = format!("/v1/reservations/{reservation}/cancel");
    let told = cinema.post(&path, &ada, json!({"refundPercent": 100})).await;
    assert_eq!((told.status.as_u16(), told.code()), (403, "forbidden"));
    cinema.post(&path, &ada, json!({"reason": "toothache"})).await.expect(200);
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    assert_eq!(cinema.captured(&reservation).await, 1200);

    // A show that begins in an hour: the limit has passed.
    cinema.showtime = cinema.schedule(&["SSSS"], 3600).await;
    let late = cinema.buy(&ada, &["A1"]).await;
    assert_eq!(cinema.reservation(&ada, &late).await["cancellation"]["refund"], euros(0));
    let cancelled = cinema.cancel(&ada, &late).await.expect(200);
    assert_eq!((cancelled["status"].as_str(), &cancelled["refund"]), (Some("CANCELLED"), &Value::Null));
    assert_eq!(cinema.seat("A1").await, "FREE");
    // Staff may say otherwise.
    let other = cinema.buy(&ada, &["A2"]).await;
    let path = format!("/v1/reservations/{other}/cancel");
    cinema.post(&path, &cinema.owner(), json!({"refundPercent": 100})).await.expect(200);
    cinema.until_status(&ada, &other, "REFUNDED").await;
    assert_eq!(cinema.captured(&other).await, 0);
    assert_eq!(cinema.captured(&late).await, 1200);
    // What may be watched is told apart by time and showtime.
    let soon =
        cinema.look(&format!("/v1/reservations?showtimeId={}", cinema.showtime), &ada).await.expect(200);
    assert_eq!(soon["total"], 2);
    let path = "/v1/reservations?when=upcoming&status=REFUNDED";
    assert_eq!(cinema.look(path, &ada).await.expect(200)["total"], 2);
    assert_eq!(cinema.look("/v1/reservations?when=past", &ada).await.expect(200)["total"], 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_refund_a_part_then_the_rest_and_never_more_than_was_paid() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let reservation = cinema.buy(&ada, &["A1", "A2"]).await;
    let payment = cinema.payment_of(&ada, &reservation).await;
    let part = json!({"amount": 500, "reason": "the sound was off"});
    let refused = cinema.give_back(&payment, &ada, part.clone()).await;
    assert_eq!(refused.status.as_u16(), 403);
    // Sent twice with one key it is given once.
    let path = format!("/v1/payments/{payment}/refund");
    let twice = [(), ()]
        .map(|()| cinema.call_with_key(Method::POST, &path, Some(&owner), Some(part.clone()), "refund-1"));
    let twice = futures::future::join_all(twice).await;
    assert_eq!(twice[0].text, twice[1].text);
    assert_eq!(twice[0].clone().expect(202)["total"], euros(500));
    cinema.until_captured(&reservation, 1900).await;
    let shown = cinema.reservation(&ada, &reservation).await;
    assert_eq!((shown["status"].as_str(), &shown["total"]), (Some("CONFIRMED"), &euros(2400)));
    assert_eq!(shown["partialRefunds"][0]["total"], euros(500));
    assert_eq!(cinema.seat("A1").await, "SOLD");

    let too_much = json!({"amount": {"amount": 1901, "currency": "EUR"}, "reason": "all of it"});
    let refused = cinema.give_back(&payment, &owner, too_much).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "refund-too-large"));
    let unreadable = json!({"amount": "much", "reason": "x"});
    assert_eq!(cinema.give_back(&payment, &owner, unreadable).await.status.as_u16(), 422);
    let rest = cinema.give_back(&payment, &owner, json!({"reason": "and the picture"})).await.expect(202);
    assert_eq!(rest["total"], euros(1900));
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["reason"], "ADMIN");
    assert_eq!((cinema.captured(&reservation).await, cinema.seat("A1").await), (0, "FREE".to_owned()));
    let asked = cinema.events("refund.requested").await;
    assert!(asked.iter().all(|event| event["by"].is_string()), "{asked:?}");
    assert_eq!(asked.len(), 2, "each refund is requested once: {asked:?}");
    let nothing_left = cinema.give_back(&payment, &owner, json!({"reason": "again"})).await;
    assert_eq!((nothing_left.status.as_u16(), nothing_left.code()), (409, "refund-too-large"));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_shows_its_steps_and_is_resumed_when_stuck() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let fine = cinema.buy(&ada, &["A1"]).await;
    let stuck = cinema.buy(&ada, &["A2"]).await;
    let newer = cinema.buy(&ada, &["A3"]).await;
    let payment = cinema.payment_of(&ada, &stuck).await;
    cinema.switch(Switches { refunds_fail: true, ..Switches::default() });
    cinema.give_back(&payment, &owner, json!({"amount": 300, "reason": "cold hall"})).await.expect(202);
    cinema.until_sql("select count(*) from reservation.reservations where attention", 1).await;
    assert_eq!(cinema.look("/v1/admin/sagas", &ada).await.status.as_u16(), 403);

    let sagas = cinema.look("/v1/admin/sagas", &owner).await.expect(200);
    let ids: Vec<&Value> = sagas["items"].as_array().unwrap().iter().map(|s| &s["reservationId"]).collect();
    assert_eq!(ids, [&json!(stuck), &json!(newer), &json!(fine)]);
    let page = cinema.look("/v1/admin/sagas?pageSize=1&page=2", &owner).await.expect(200);
    assert_eq!((&page["items"][0]["reservationId"], &page["total"]), (&json!(newer), &json!(3)));
    for (query, total) in [("attention=true", 1), ("state=confirmed", 3), ("state=paying", 0)] {
        let found = cinema.look(&format!("/v1/admin/sagas?{query}"), &owner).await.expect(200);
        assert_eq!(found["total"], total, "{query}");
    }
    let path = format!("/v1/admin/sagas/{stuck}");
    let saga = cinema.look(&path, &owner).await.expect(200);
    assert_eq!((saga["state"].as_str(), saga["attention"].as_bool()), (Some("confirmed"), Some(true)));
    let inputs: Vec<&str> =
        saga["steps"].as_array().unwrap().iter().map(|step| step["input"].as_str().unwrap()).collect();
    assert_eq!(
        (inputs[0], inputs[inputs.len() - 2], inputs[inputs.len() - 1]),
        ("create", "give-back", "refund-failed")
    );
    let asked = &saga["steps"][inputs.len() - 2];
    assert!(asked["by"].is_string() && asked["detail"].as_str().unwrap().contains("cold hall"), "{asked}");
    assert_eq!(saga["refunds"][0]["status"], "FAILED");

    cinema.switch(Switches::default());
    let resume = format!("{path}/resume");
    let refused = cinema.call(Method::POST, &resume, Some(&ada), None).await;
    assert_eq!(refused.status.as_u16(), 403);
    cinema.call(Method::POST, &resume, Some(&owner), None).await.expect(200);
    cinema.until_captured(&stuck, 900).await;
    cinema.until_sql("select count(*) from reservation.reservations where attention", 0).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_for_cheaper_seats_is_one_step_and_refunds_the_difference() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    cinema.showtime = cinema.schedule(&["SSSSW", "SSSS-"], 24 * 3600).await;
    let reservation = cinema.buy(&ada, &["A1", "A2"]).await;
    let other = cinema.reserve(&bob, &["B1"]).await;

    // One seat is kept, one is new.
    let before = cinema.events("reservation.confirmed").await;
    let moved = cinema.exchange(&reservation, &ada, json!({"seats": ["A2", "A3"]})).await.expect(200);
    assert_eq!((&moved["id"], &moved["seats"]), (&json!(reservation), &json!(["A2", "A3"])));
    assert_eq!(moved["total"], euros(2400));
    let seats = [cinema.seat("A1").await, cinema.seat("A2").await, cinema.seat("A3").await];
    assert_eq!(seats, ["FREE", "SOLD", "SOLD"]);
    let told = cinema.events("reservation.exchanged").await;
    assert_eq!((told.len(), &told[0]["previousSeats"]), (1, &json!(["A1", "A2"])));
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

    // Another showtime, and cheaper: sent twice, done once.
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
    let wishes = bought.iter().map(|one| cinema.exchange(one, &ada, json!({"seats": ["A9"]})));
    let (answers, newcomer) =
        tokio::join!(futures::future::join_all(wishes), cinema.try_reserve(&ada, &["A9"]));
    let won = answers.iter().chain([&newcomer]).filter(|answer| answer.status.is_success()).count();
    assert_eq!(won, 1, "{answers:?} {newcomer:?}");
    let others = answers.iter().chain([&newcomer]).filter(|answer| !answer.status.is_success());
    assert!(others.clone().all(|answer| answer.code() == "seats-taken"), "{answers:?} {newcomer:?}");
    cinema.close().await;
}

/// To one cheap seat, and at once to as many as before: whichever comes second is planned again, on what is there then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_exchanges_never_sell_seats_below_their_price() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    for round in 0..8 {
        cinema.showtime = cinema.schedule(&["SSSSWW", "SSSSSS"], (24 + 4 * round) * 3600).await;
        let order = cinema.buy(&ada, &["A1", "A2", "A3", "A4"]).await;
        let wishes = [&["A5"][..], &["B1", "B2", "B3", "B4"], &["A6"]];
        let asked = wishes.map(|seats| cinema.exchange(&order, &ada, json!({"seats": seats})));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.status.as_u16() < 500), "{answers:?}");
        // A dearer one, planned on what a cheaper one left, waits to be paid: it is given up.
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
        // What the provider still has is exactly what the seats cost.
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
    let plan = cinema.look(&path, &ada).await.expect(200);
    assert_eq!([&plan["total"], &plan["refund"], &plan["payable"]], [&euros(800), &euros(5600), &euros(0)]);
    assert_eq!(cinema.look(&path, &bob).await.status.as_u16(), 404);
    assert_eq!(cinema.look(&format!("{path},a b"), &ada).await.status.as_u16(), 400);
    let shown = json!({"seats": ["A11"], "version": plan["version"]});
    let moved = cinema.exchange(&order, &ada, shown).await.expect(200);
    assert_eq!(moved["lines"], json!([{"seat": "A11", "price": euros(800)}]));
    // Half of the 11,200 that fell away, and half of the 800 when that is cancelled.
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
    let late = cinema.exchange(&order, &ada, json!({"seats": ["A4"], "version": shown})).await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "plan-changed"));
    assert_eq!((&late.body["plan"]["refund"], &late.body["plan"]["total"]), (&euros(0), &euros(1200)));
    assert_eq!([cinema.seat("A3").await, cinema.seat("A4").await], ["SOLD", "FREE"]);
    let unreadable = cinema.post(&path, &ada, json!({"version": 0})).await;
    assert_eq!(
        (unreadable.status.as_u16(), &unreadable.body["errors"][0]["field"]),
        (422, &json!("version"))
    );

    // The refund of the exchange settles meanwhile, which is a version of its own.
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
    // Sent again with the version that was cancelled, it has nothing left to do.
    cinema.post(&path, &ada, json!({"version": version})).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_for_dearer_seats_frees_the_old_ones_after_payment() {
    let quick =
        Plan::default().with("HOLD_SECONDS", 4).with("HOLD_SECONDS_MAX", 30).with("HOLD_GRACE_SECONDS", 2);
    let cinema = TestCinema::open_with(quick).await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let kept = cinema.exchange(&old, &ada, json!({"seats": ["A1", "A2"]})).await;
    assert_eq!((kept.status.as_u16(), kept.code()), (409, "exchange-keeps-seats"));

    // Not paid in time: nothing has changed.
    let new = cinema.exchange(&old, &ada, json!({"seats": ["B1", "B2"]})).await.expect(201);
    assert_eq!((new["status"].as_str(), &new["exchangeOf"]), (Some("PENDING"), &json!(old)));
    assert_eq!(new["total"], euros(2400));
    let twice = cinema.exchange(&old, &ada, json!({"seats": ["C1"]})).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "exchange-running"));
    cinema.until_status(&ada, &id(&new), "CANCELLED").await;
    cinema.until_sql("select count(*) from reservation.saga_steps where input = 'exchange-over'", 1).await;
    let untouched = cinema.reservation(&ada, &old).await;
    assert_eq!((untouched["status"].as_str(), &untouched["exchangingTo"]), (Some("CONFIRMED"), &Value::Null));

    let new = id(&cinema.exchange(&old, &ada, json!({"seats": ["B1", "B2"]})).await.expect(201));
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["SOLD", "HELD"]);
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &new).await;
    let refunded = cinema.until_status(&ada, &old, "REFUNDED").await;
    assert_eq!(refunded["reason"], "EXCHANGED");
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["FREE", "SOLD"]);
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (0, 2400));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_the_occupancy_and_the_cancellation_of_a_showtime() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let sold = cinema.buy(&ada, &["A1", "A2"]).await;
    let held = cinema.reserve(&ada, &["B1"]).await;
    let report = "/v1/admin/reports/occupancy?from=2020-01-01T00:00:00Z&to=2200-01-01T00:00:00Z";
    let found = cinema.look(report, &owner).await.expect(200);
    let line = &found["items"][0];
    assert_eq!(line["showtimeId"], json!(cinema.showtime));
    assert_eq!((&line["capacity"], &line["sold"], &line["held"]), (&json!(50), &json!(2), &json!(1)));
    let none = cinema.look(&format!("{report}&movieId={}", uuid::Uuid::now_v7()), &owner).await.expect(200);
    assert_eq!(none["total"], 0);
    assert_eq!(cinema.look(report, &ada).await.status.as_u16(), 403);

    let path = format!("/v1/admin/showtimes/{}/cancellation", cinema.showtime);
    let before = cinema.look(&path, &owner).await.expect(200);
    let wanted = json!({"status": "ON_SALE", "reservations": 2, "cancelled": 0, "refunding": 0, "refunded": 0, "attention": 0});
    assert_eq!(before, wanted);
    let unknown = format!("/v1/admin/showtimes/{}/cancellation", uuid::Uuid::now_v7());
    assert_eq!(cinema.look(&unknown, &owner).await.status.as_u16(), 404);
    let showtime = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::DELETE, &showtime, Some(&owner), None).await.expect(204);
    cinema.until_status(&ada, &sold, "REFUNDED").await;
    cinema.until_status(&ada, &held, "CANCELLED").await;
    let after = cinema.look(&path, &owner).await.expect(200);
    let wanted = json!({"status": "CANCELLED", "reservations": 2, "cancelled": 2, "refunding": 0, "refunded": 1, "attention": 0});
    assert_eq!(after, wanted);
    cinema.close().await;
}

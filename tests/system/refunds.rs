//! Cancellations and refunds: the policy, refunds by staff, sagas that are stuck, and what staff see.

use reqwest::Method;
use sandbox::Switches;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::revenue::euros;

impl TestCinema {
    async fn refund(&self, payment: &str, who: &Person, body: Value) -> Answer {
        self.post(&format!("/v1/payments/{payment}/refund"), who, body).await
    }

    async fn payment_of(&self, who: &Person, reservation: &str) -> String {
        id(&self.reservation(who, reservation).await["payment"])
    }
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
    let refused = cinema.post(&path, &ada, json!({"refundPercent": 100})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (403, "forbidden"));
    cinema.post(&path, &ada, json!({"reason": "toothache"})).await.expect(200);
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    assert_eq!(cinema.captured(&reservation).await, 1200);

    // A showtime that starts in an hour: it is too late for a refund.
    cinema.showtime = cinema.schedule(&["SSSS"], 3600).await;
    let late = cinema.buy(&ada, &["A1"]).await;
    assert_eq!(cinema.reservation(&ada, &late).await["cancellation"]["refund"], euros(0));
    let cancelled = cinema.cancel(&ada, &late).await.expect(200);
    assert_eq!((cancelled["status"].as_str(), &cancelled["refund"]), (Some("CANCELLED"), &Value::Null));
    assert_eq!(cinema.seat("A1").await, "FREE");
    // Staff may set another percentage.
    let other = cinema.buy(&ada, &["A2"]).await;
    let path = format!("/v1/reservations/{other}/cancel");
    cinema.post(&path, &cinema.owner(), json!({"refundPercent": 100})).await.expect(200);
    cinema.until_status(&ada, &other, "REFUNDED").await;
    assert_eq!(cinema.captured(&other).await, 0);
    assert_eq!(cinema.captured(&late).await, 1200);
    // The list can be filtered by showtime, time and status.
    let of_showtime =
        cinema.get(&format!("/v1/reservations?showtimeId={}", cinema.showtime), &ada).await.expect(200);
    assert_eq!(of_showtime["total"], 2);
    let path = "/v1/reservations?when=upcoming&status=REFUNDED";
    assert_eq!(cinema.get(path, &ada).await.expect(200)["total"], 2);
    assert_eq!(cinema.get("/v1/reservations?when=past", &ada).await.expect(200)["total"], 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_refund_a_part_then_the_rest_and_never_more_than_was_paid() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let reservation = cinema.buy(&ada, &["A1", "A2"]).await;
    let payment = cinema.payment_of(&ada, &reservation).await;
    let part = json!({"amount": 500, "reason": "the sound was off"});
    let refused = cinema.refund(&payment, &ada, part.clone()).await;
    assert_eq!(refused.status.as_u16(), 403);
    // Sent twice with one key it is refunded once.
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
    let refused = cinema.refund(&payment, &owner, too_much).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "refund-too-large"));
    let unreadable = json!({"amount": "much", "reason": "x"});
    assert_eq!(cinema.refund(&payment, &owner, unreadable).await.status.as_u16(), 422);
    let rest = cinema.refund(&payment, &owner, json!({"reason": "and the picture"})).await.expect(202);
    assert_eq!(rest["total"], euros(1900));
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["reason"], "ADMIN");
    assert_eq!((cinema.captured(&reservation).await, cinema.seat("A1").await), (0, "FREE".to_owned()));
    let events = cinema.events("refund.requested").await;
    assert!(events.iter().all(|event| event["by"].is_string()), "{events:?}");
    assert_eq!(events.len(), 2, "each refund is requested once: {events:?}");
    let nothing_left = cinema.refund(&payment, &owner, json!({"reason": "again"})).await;
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
    cinema.refund(&payment, &owner, json!({"amount": 300, "reason": "cold hall"})).await.expect(202);
    cinema.until_sql("select count(*) from reservation.reservations where attention", 1).await;
    assert_eq!(cinema.get("/v1/admin/sagas", &ada).await.status.as_u16(), 403);

    let sagas = cinema.get("/v1/admin/sagas", &owner).await.expect(200);
    let ids: Vec<&Value> = sagas["items"].as_array().unwrap().iter().map(|s| &s["reservationId"]).collect();
    assert_eq!(ids, [&json!(stuck), &json!(newer), &json!(fine)]);
    let page = cinema.get("/v1/admin/sagas?pageSize=1&page=2", &owner).await.expect(200);
    assert_eq!((&page["items"][0]["reservationId"], &page["total"]), (&json!(newer), &json!(3)));
    for (query, total) in [("attention=true", 1), ("state=confirmed", 3), ("state=paying", 0)] {
        let found = cinema.get(&format!("/v1/admin/sagas?{query}"), &owner).await.expect(200);
        assert_eq!(found["total"], total, "{query}");
    }
    let path = format!("/v1/admin/sagas/{stuck}");
    let saga = cinema.get(&path, &owner).await.expect(200);
    assert_eq!((saga["state"].as_str(), saga["attention"].as_bool()), (Some("confirmed"), Some(true)));
    let inputs: Vec<&str> =
        saga["steps"].as_array().unwrap().iter().map(|step| step["input"].as_str().unwrap()).collect();
    assert_eq!(
        (inputs[0], inputs[inputs.len() - 2], inputs[inputs.len() - 1]),
        ("create", "give-back", "refund-failed")
    );
    let step = &saga["steps"][inputs.len() - 2];
    assert!(step["by"].is_string() && step["detail"].as_str().unwrap().contains("cold hall"), "{step}");
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
async fn staff_see_the_occupancy_and_the_cancellation_of_a_showtime() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let sold = cinema.buy(&ada, &["A1", "A2"]).await;
    let held = cinema.reserve(&ada, &["B1"]).await;
    let report = "/v1/admin/reports/occupancy?from=2020-01-01T00:00:00Z&to=2200-01-01T00:00:00Z";
    let found = cinema.get(report, &owner).await.expect(200);
    let row = &found["items"][0];
    assert_eq!(row["showtimeId"], json!(cinema.showtime));
    assert_eq!((&row["capacity"], &row["sold"], &row["held"]), (&json!(50), &json!(2), &json!(1)));
    let none = cinema.get(&format!("{report}&movieId={}", uuid::Uuid::now_v7()), &owner).await.expect(200);
    assert_eq!(none["total"], 0);
    assert_eq!(cinema.get(report, &ada).await.status.as_u16(), 403);

    let path = format!("/v1/admin/showtimes/{}/cancellation", cinema.showtime);
    let before = cinema.get(&path, &owner).await.expect(200);
    let wanted = json!({"status": "ON_SALE", "reservations": 2, "cancelled": 0, "refunding": 0, "refunded": 0, "attention": 0});
    assert_eq!(before, wanted);
    let unknown = format!("/v1/admin/showtimes/{}/cancellation", uuid::Uuid::now_v7());
    assert_eq!(cinema.get(&unknown, &owner).await.status.as_u16(), 404);
    let showtime = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::DELETE, &showtime, Some(&owner), None).await.expect(204);
    cinema.until_status(&ada, &sold, "REFUNDED").await;
    cinema.until_status(&ada, &held, "CANCELLED").await;
    let after = cinema.get(&path, &owner).await.expect(200);
    let wanted = json!({"status": "CANCELLED", "reservations": 2, "cancelled": 2, "refunding": 0, "refunded": 1, "attention": 0});
    assert_eq!(after, wanted);
    cinema.close().await;
}

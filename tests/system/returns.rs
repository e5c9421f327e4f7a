//! Single tickets given back: what is refunded and what is left, what has to be left, races, and the money everywhere.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::revenue::euros;

impl TestCinema {
    async fn give_back(&self, order: &str, who: &Person, body: Value) -> Answer {
        self.post(&format!("/v1/reservations/{order}/cancel"), who, body).await
    }

    async fn plan_cancellation(&self, order: &str, who: &Person, seats: &str) -> Answer {
        self.get(&format!("/v1/reservations/{order}/cancellation?seats={seats}"), who).await
    }

    /// Buys a ticket for each seat with its type.
    async fn buy_tickets(&self, who: &Person, tickets: &[(&str, &str)]) -> String {
        let tickets: Value = tickets.iter().map(|(seat, of)| json!({"seat": seat, "type": of})).collect();
        let body = json!({"showtimeId": self.showtime, "tickets": tickets});
        let order = id(&self.post("/v1/reservations", who, body).await.expect(201));
        self.pay(who, &order, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &order).await;
        order
    }
}

#[track_caller]
fn expect_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_given_back_is_refunded_as_planned_and_anothers_to_buy_at_once() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSS"], 24 * 3600).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let order = cinema.buy_tickets(&ada, &[("A1", "ADULT"), ("A2", "CHILD"), ("A3", "STUDENT")]).await;
    cinema.until_captured(&order, 3050).await;
    let before = cinema.reservation(&ada, &order).await;
    expect_refused(&cinema.try_reserve(&bob, &["A2"]).await, 409, "seats-taken");

    // The ticket's 8.00 come back, and its booking fee of 0.50 stays.
    let plan = cinema.plan_cancellation(&order, &ada, "A2").await.expect(200);
    assert_eq!(
        (&plan["seats"], &plan["refund"], &plan["total"]),
        (&json!(["A2"]), &euros(800), &euros(2200))
    );
    assert_eq!(plan["lines"], json!([before["lines"][0], before["lines"][2]]));
    assert_eq!((&plan["version"], plan["fees"].as_array().unwrap().len()), (&before["version"], 2));
    assert_eq!(plan["until"], before["cancellation"]["until"]);
    assert_eq!(cinema.seat("A2").await, "SOLD", "a plan changes nothing");

    let body = json!({"seats": ["A2"], "version": plan["version"], "reason": "a cold"});
    let left = cinema.give_back(&order, &ada, body).await.expect(200);
    assert_eq!((&left["status"], &left["seats"]), (&json!("CONFIRMED"), &json!(["A1", "A3"])));
    for field in ["lines", "fees", "total", "taxes"] {
        assert_eq!(left[field], plan[field], "{field}");
    }
    assert_eq!(left["partialRefunds"][0]["total"], plan["refund"]);
    let taken = cinema.try_reserve(&bob, &["A2"]).await.expect(201);
    cinema.pay(&bob, &id(&taken), "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&bob, &id(&taken)).await;

    let updated = &cinema.events("reservation.updated").await[0];
    assert_eq!((&updated["returnedSeats"], &updated["refund"]), (&json!(["A2"]), &euros(800)));
    assert_eq!((&updated["seats"], &updated["version"]), (&left["seats"], &left["version"]));
    assert_eq!((&updated["lines"], &updated["total"]), (&left["lines"], &left["total"]));
    assert_eq!(updated["paymentId"], left["payment"]["id"]);
    let requested = &cinema.events("refund.requested").await[0];
    assert_eq!((&requested["reason"], &requested["total"]), (&json!("RETURNED"), &euros(800)));

    // The provider, the ledger and the order agree, and the policy's share of the rest comes back later.
    cinema.until_captured(&order, 2250).await;
    cinema.until_sql("select coalesce(sum(tickets), 0) from payment.postings", 3).await;
    cinema.until_sql("select count(*) from payment.refunds where status = 'COMPLETED'", 1).await;
    assert_eq!(cinema.revenue_by_showtime().await[0]["net"], euros(2250 + 1250));
    let payment = left["payment"]["id"].as_str().unwrap();
    let log = cinema.get(&format!("/v1/payments/{payment}"), &cinema.owner()).await.expect(200);
    assert!(log["log"].as_array().unwrap().iter().any(|line| line["entry"] == "return"), "{log}");
    let text = cinema.read_mail(&order, "RESERVATION_UPDATED").await["text"].as_str().unwrap().to_owned();
    assert!(text.contains("Given back: A2.") && text.contains("A1") && text.contains("22.00"), "{text}");
    let path = format!("/v1/reservations/{order}/tickets");
    let tickets = cinema.get(&path, &ada).await.expect(200);
    let seats: Vec<_> = tickets["tickets"].as_array().unwrap().iter().map(|one| &one["seat"]).collect();
    assert_eq!(seats, ["A1", "A3"]);
    cinema.check_with_fsck().await;
    assert_eq!(cinema.cancel(&ada, &order).await.expect(200)["refund"]["total"], euros(2100));
    cinema.until_status(&ada, &order, "REFUNDED").await;
    // The three fees.
    cinema.until_captured(&order, 150).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_must_be_an_order_that_could_be_bought() {
    let mut cinema = TestCinema::open().await;
    cinema.create_prices().await;
    let ada = cinema.register().await;
    let seat = |number: u16, kind: &str| json!({"number": number, "column": number, "kind": kind});
    let love = |number: u16| json!({"number": number, "column": number, "kind": "LOVESEAT", "unit": 1});
    cinema.showtime = cinema
        .schedule_layout(
            json!([
                {"label": "A", "seats": [seat(1, "STANDARD"), seat(2, "WHEELCHAIR"), seat(3, "COMPANION")]},
                {"label": "B", "seats": [love(1), love(2), seat(3, "STANDARD")]},
            ]),
            24 * 3600,
        )
        .await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3", "B1", "B2"]).await;
    let incomplete = async |seats: &[&str]| {
        let plan = cinema.plan_cancellation(&order, &ada, &seats.join(",")).await;
        let refused = cinema.give_back(&order, &ada, json!({"seats": seats})).await;
        for answer in [&plan, &refused] {
            expect_refused(answer, 422, "order-incomplete");
            assert_eq!(answer.body["errors"][0]["code"], "order-incomplete");
        }
        refused.body["seats"].clone()
    };
    assert_eq!(incomplete(&["B2"]).await, json!(["B1", "B2"]), "half a love seat");
    assert_eq!(incomplete(&["A2", "A1"]).await, json!(["A3"]), "the companion place alone");
    let left = cinema.give_back(&order, &ada, json!({"seats": ["B1", "B2", "A3"]})).await.expect(200);
    assert_eq!((&left["seats"], &left["total"]), (&json!(["A1", "A2"]), &euros(2000)));

    let foreign = cinema.give_back(&order, &ada, json!({"seats": ["A1", "B1"]})).await;
    expect_refused(&foreign, 422, "not-your-seats");
    assert_eq!(
        (&foreign.body["seats"], &foreign.body["errors"][0]["field"]),
        (&json!(["B1"]), &json!("seats"))
    );
    for bad in [json!([]), json!(["A1", "A1"]), json!("A1"), json!(["?"])] {
        let refused = cinema.give_back(&order, &ada, json!({"seats": bad})).await;
        assert_eq!(refused.status.as_u16(), 422, "{}", refused.text);
    }
    assert_eq!(cinema.plan_cancellation(&order, &ada, "A1,a b").await.status.as_u16(), 400);

    // A free companion stays only with the visitor whom it accompanies.
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    let tickets = [("A1", "DISABLED"), ("A2", "COMPANION"), ("A3", "ADULT")];
    let order = cinema.buy_tickets(&ada, &tickets).await;
    let alone = cinema.give_back(&order, &ada, json!({"seats": ["A1"]})).await;
    expect_refused(&alone, 422, "order-incomplete");
    assert_eq!(alone.body["ticketTypes"], json!(["COMPANION", "DISABLED"]));
    cinema.give_back(&order, &ada, json!({"seats": ["A2"]})).await.expect(200);
    cinema.give_back(&order, &ada, json!({"seats": ["A1"]})).await.expect(200);
    cinema.until_captured(&order, 1250 + 50).await;
    cinema.check_with_fsck().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_given_back_once_by_the_owner_and_only_as_planned() {
    let cinema = TestCinema::open().await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    let path = format!("/v1/reservations/{order}/cancel");
    expect_refused(&cinema.give_back(&order, &bob, json!({"seats": ["A1"]})).await, 404, "not-found");
    expect_refused(&cinema.plan_cancellation(&order, &bob, "A1").await, 404, "not-found");
    let by_guest = cinema.give_back(&order, &ada, json!({"seats": ["A1"], "refundPercent": 100})).await;
    expect_refused(&by_guest, 403, "forbidden");

    // Twice at once with one key, and once more later.
    let version = cinema.reservation(&ada, &order).await["version"].clone();
    let body = json!({"seats": ["A1"], "version": version});
    let send = || cinema.call_with_key(Method::POST, &path, Some(&ada), Some(body.clone()), "give-1");
    let (first, second) = tokio::join!(send(), send());
    assert_eq!((first.status.as_u16(), &first.text), (200, &second.text));
    assert_eq!(send().await.text, first.text);
    assert_eq!(cinema.events("reservation.updated").await.len(), 1);
    cinema.until_captured(&order, 2400).await;

    // Of the version that was shown before.
    let late = cinema.give_back(&order, &ada, json!({"seats": ["A2"], "version": version})).await;
    expect_refused(&late, 409, "plan-changed");
    assert_eq!((&late.body["plan"]["refund"], &late.body["plan"]["total"]), (&euros(1200), &euros(1200)));
    assert!(late.body["plan"]["version"].as_i64() > version.as_i64());

    // Without a version: two requests at once for one seat each are both done, the last one as a cancellation.
    let (one, other) = tokio::join!(
        cinema.give_back(&order, &ada, json!({"seats": ["A2"]})),
        cinema.give_back(&order, &ada, json!({"seats": ["A3"]}))
    );
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200), "{one:?} {other:?}");
    cinema.until_status(&ada, &order, "REFUNDED").await;
    expect_refused(
        &cinema.give_back(&order, &ada, json!({"seats": ["A2", "A1"]})).await,
        422,
        "not-your-seats",
    );
    cinema.until_captured(&order, 0).await;
    for seat in ["A1", "A2", "A3"] {
        assert_eq!(cinema.seat(seat).await, "FREE");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_seats_are_a_cancellation_and_unpaid_seats_are_given_back_only_together() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let held = cinema.reserve(&ada, &["C1", "C2"]).await;
    expect_refused(&cinema.give_back(&held, &ada, json!({"seats": ["C1"]})).await, 409, "not-confirmed");
    expect_refused(&cinema.plan_cancellation(&held, &ada, "C1").await, 409, "not-confirmed");
    let ended = cinema.give_back(&held, &ada, json!({"seats": ["C2", "C1"]})).await.expect(200);
    assert_eq!(ended["status"], "CANCELLED");

    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let plan = cinema.plan_cancellation(&order, &ada, "A2,A1").await.expect(200);
    assert_eq!((&plan["refund"], &plan["total"], &plan["lines"]), (&euros(2400), &euros(0), &json!([])));
    let body = json!({"seats": ["A1", "A2"], "version": plan["version"]});
    let cancelled = cinema.give_back(&order, &ada, body).await.expect(200);
    assert_eq!((&cancelled["reason"], &cancelled["refund"]["total"]), (&json!("USER_REQUEST"), &euros(2400)));
    assert!(cinema.events("reservation.updated").await.is_empty());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ticket_is_given_back_while_an_exchange_waits_to_be_paid_nor_after_the_start() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let exchange = format!("/v1/reservations/{order}/exchange");
    let seats = json!({"seats": ["B1", "B2", "B3"]});
    let new = id(&cinema.post(&exchange, &ada, seats).await.expect(201));
    let running = cinema.give_back(&order, &ada, json!({"seats": ["A1"]})).await;
    expect_refused(&running, 409, "exchange-running");
    expect_refused(&cinema.plan_cancellation(&order, &ada, "A1").await, 409, "exchange-running");
    cinema.cancel(&ada, &new).await.expect(200);
    cinema.until_sql("select count(*) from reservation.saga_steps where input = 'exchange-over'", 1).await;
    cinema.give_back(&order, &ada, json!({"seats": ["A1"]})).await.expect(200);
    cinema.until_captured(&order, 1200).await;

    // Exchanged for another seat, the ticket that was given back stays given back.
    let moved = cinema.post(&exchange, &ada, json!({"seats": ["C1"]})).await.expect(200);
    assert_eq!((&moved["seats"], &moved["total"]), (&json!(["C1"]), &euros(1200)));
    cinema.check_with_fsck().await;

    cinema.showtime = cinema.schedule(&["SS"], 8).await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    cinema
        .until("the show has begun", async || {
            cinema.plan_cancellation(&order, &ada, "A1").await.code() == "showtime-started"
        })
        .await;
    let late = cinema.give_back(&order, &ada, json!({"seats": ["A1"]})).await;
    expect_refused(&late, 409, "showtime-started");
    assert_eq!(cinema.captured(&order).await, 2400);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_back_for_a_ticket_given_back_too_late_and_staff_decide_otherwise() {
    let policy = Plan::default().with("REFUND_PERCENT", 50).with("REFUND_UNTIL_MINUTES", 120);
    let mut cinema = TestCinema::open_with(policy).await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    let whole = json!({"seats": ["A1"], "refundPercent": 100, "reason": "a broken seat"});
    let left = cinema.give_back(&order, &owner, whole).await.expect(200);
    assert_eq!(left["partialRefunds"][0]["total"], euros(1200));
    // The others have the policy's share as before.
    assert_eq!(left["cancellation"]["refund"], euros(1200));
    cinema.until_captured(&order, 2400).await;
    cinema.give_back(&order, &ada, json!({"seats": ["A3"]})).await.expect(200);
    cinema.until_captured(&order, 1800).await;
    let saga = cinema.get(&format!("/v1/admin/sagas/{order}"), &owner).await.expect(200);
    let detail = "A1. 100 % back. a broken seat";
    let steps = saga["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["input"] == "return" && step["detail"] == detail), "{saga}");

    cinema.showtime = cinema.schedule(&["SS"], 3600).await;
    let late = cinema.buy(&ada, &["A1", "A2"]).await;
    let plan = cinema.plan_cancellation(&late, &ada, "A1").await.expect(200);
    assert_eq!((&plan["refund"], &plan["total"]), (&euros(0), &euros(1200)));
    let left = cinema.give_back(&late, &ada, json!({"seats": ["A1"]})).await.expect(200);
    assert_eq!((&left["seats"], &left["partialRefunds"]), (&json!(["A2"]), &Value::Null));
    assert_eq!((cinema.seat("A1").await, cinema.captured(&late).await), ("FREE".to_owned(), 2400));
    cinema.check_with_fsck().await;
    // The cinema takes the showtime off: the price of the ticket that is left comes back.
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::DELETE, &path, Some(&owner), None).await.expect(204);
    cinema.until_status(&ada, &late, "REFUNDED").await;
    cinema.until_captured(&late, 1200).await;
    cinema.check_with_fsck().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_seats_that_many_want_go_to_one_order_each_when_they_are_given_back() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    cinema.showtime = cinema.schedule(&["SSSS"], 24 * 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3", "A4"]).await;
    let bob = cinema.register().await;
    cinema.give_back(&order, &ada, json!({"seats": ["A2", "A4"]})).await.expect(200);
    let wanted = [["A2"], ["A4"], ["A2"], ["A4"], ["A2"]];
    let answers = futures::future::join_all(wanted.iter().map(|seats| cinema.try_reserve(&bob, seats))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 201).collect();
    assert_eq!(won.len(), 2, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status.is_success() || answer.code() == "seats-taken"));
    cinema.until_captured(&order, 2400).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_give_single_tickets_back_at_a_percent_that_they_saw_before() {
    let policy = Plan::default().with("REFUND_PERCENT", 50).with("REFUND_UNTIL_MINUTES", 120);
    let cinema = TestCinema::open_with(policy).await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    let plan = async |who: &Person, query: &str| cinema.plan_cancellation(&order, who, query).await;
    assert_eq!(plan(&owner, "A1").await.expect(200)["refund"], euros(600), "by the policy");
    let chosen = plan(&owner, "A1,A2&refundPercent=75").await.expect(200);
    assert_eq!((&chosen["refund"], &chosen["total"]), (&euros(1800), &euros(1200)));
    assert_eq!(plan(&owner, "A1,A2,A3&refundPercent=100").await.expect(200)["refund"], euros(3600));
    expect_refused(&plan(&ada, "A1&refundPercent=100").await, 403, "forbidden");
    expect_refused(&plan(&owner, "A1&refundPercent=101").await, 422, "invalid");
    assert_eq!(cinema.seat("A1").await, "SOLD", "a plan changes nothing");

    let body =
        json!({"seats": ["A1", "A2"], "refundPercent": 75, "version": chosen["version"], "reason": "noise"});
    let left = cinema.give_back(&order, &owner, body.clone()).await.expect(200);
    assert_eq!((&left["status"], &left["seats"]), (&json!("CONFIRMED"), &json!(["A3"])));
    cinema.until_captured(&order, 1800).await;
    let again = cinema.give_back(&order, &owner, body).await;
    assert_ne!(again.status.as_u16(), 200, "what was shown for one version applies to no other");
    assert_eq!([cinema.seat("A1").await, cinema.seat("A3").await], ["FREE", "SOLD"]);
    // The last one has the policy's share.
    cinema.cancel(&ada, &order).await.expect(200);
    cinema.until_captured(&order, 1200).await;
    cinema.check_with_fsck().await;
    cinema.close().await;
}

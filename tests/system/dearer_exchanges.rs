//! Dearer exchanges: only the difference is paid, one commit replaces the order, and every refund is of a capture that has it.

use reqwest::Method;
use sandbox::{FailCalls, Switches};
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::operator::until_all_is_handled;
use crate::revenue::euros;

const VISA: &str = "4242424242424242";

impl TestCinema {
    async fn exchange_for(&self, order: &str, who: &Person, seats: &[&str]) -> Answer {
        self.post(&format!("/v1/reservations/{order}/exchange"), who, json!({"seats": seats})).await
    }

    /// Exchanges for dearer seats and pays the difference. Returns the new order.
    async fn exchange_up(&self, order: &str, who: &Person, seats: &[&str]) -> String {
        let new = id(&self.exchange_for(order, who, seats).await.expect(201));
        self.pay(who, &new, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &new).await;
        new
    }

    /// Exchanges for a dearer seat of another showtime and pays the difference. Returns the new order as it is shown.
    async fn exchange_and_pay(&self, showtime: &str, order: &str, who: &Person, seat: &str) -> Value {
        let body = json!({"showtimeId": showtime, "seats": [seat]});
        let path = format!("/v1/reservations/{order}/exchange");
        let new = id(&self.post(&path, who, body).await.expect(201));
        self.pay(who, &new, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &new).await
    }

    async fn payment_shown(&self, who: &Person, order: &str) -> Value {
        let payment = id(&self.reservation(who, order).await["payment"]);
        self.get(&format!("/v1/payments/{payment}"), who).await.expect(200)
    }

    /// Every event is handled and every refund is settled; then the books must agree.
    pub async fn check_the_books(&self) {
        self.until_published().await;
        until_all_is_handled(self).await;
        self.until_sql("select count(*) from payment.refunds where status = 'REQUESTED'", 0).await;
        self.until_published().await;
        until_all_is_handled(self).await;
        self.until_sql(
            "select coalesce(sum(amount), 0)::int8 from payment.postings where account = 'CREDIT'",
            0,
        )
        .await;
        self.check_with_fsck().await;
    }
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dearer_exchange_charges_the_difference_and_moves_the_money() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let old = cinema.buy(&ada, &["A1"]).await;
    let kept = cinema.exchange_for(&old, &ada, &["A1", "A2"]).await;
    assert_eq!(refused(&kept), (409, "exchange-keeps-seats"));
    let plan = cinema.get(&format!("/v1/reservations/{old}/exchange?seats=B1,B2"), &ada).await.expect(200);
    assert_eq!([&plan["total"], &plan["refund"], &plan["payable"]], [&euros(2400), &euros(0), &euros(1200)]);

    let new = cinema.exchange_for(&old, &ada, &["B1", "B2"]).await.expect(201);
    assert_eq!((new["status"].as_str(), &new["exchangeOf"]), (Some("PENDING"), &json!(old)));
    assert_eq!([&new["total"], &new["credit"], &new["due"]], [&euros(2400), &euros(1200), &euros(1200)]);
    let new = id(&new);

    // Meanwhile the old order stays as it is.
    let payment = id(&cinema.reservation(&ada, &old).await["payment"]);
    let refund = json!({"amount": 300, "reason": "the sound was off"});
    let cancel = format!("/v1/reservations/{old}/cancel");
    for answer in [
        cinema.exchange_for(&old, &ada, &["C1"]).await,
        cinema.cancel(&ada, &old).await,
        cinema.post(&cancel, &owner, json!({"refundPercent": 100})).await,
        cinema.post(&format!("/v1/payments/{payment}/refund"), &owner, refund).await,
    ] {
        assert_eq!(refused(&answer), (409, "exchange-running"), "{}", answer.text);
    }

    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    let confirmed = cinema.until_confirmed(&ada, &new).await;
    assert_eq!((&confirmed["credit"], &confirmed["due"]), (&euros(1200), &Value::Null));
    let ended = cinema.reservation(&ada, &old).await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("CANCELLED"), &json!("EXCHANGED")));
    assert_eq!((&ended["refund"], &ended["exchangingTo"]), (&Value::Null, &Value::Null));
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["FREE", "SOLD"]);
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (1200, 1200));
    let paid = cinema.payment_shown(&ada, &new).await;
    assert_eq!([&paid["total"], &paid["credit"]], [&euros(1200), &euros(1200)]);
    assert_eq!(paid["exchangeOf"], json!(old));
    cinema.check_the_books().await;
    let credits = "select count(*) from payment.postings where account = 'CREDIT'";
    assert_eq!(cinema.count(credits).await, 2);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_too_small_to_be_charged_is_waived() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_at(&["SSWW"], 24 * 3600, [1200, 1230]).await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = cinema.exchange_for(&old, &ada, &["A3"]).await.expect(201);
    assert_eq!([&new["credit"], &new["waived"], &new["due"]], [&euros(1200), &euros(30), &euros(0)]);
    let new = id(&new);
    let paid = cinema.post("/v1/payments", &ada, json!({"reservationId": new})).await.expect(201);
    assert_eq!((&paid["status"], &paid["total"]), (&json!("SUCCEEDED"), &euros(0)));
    cinema.until_confirmed(&ada, &new).await;
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (1200, 0));
    cinema.check_the_books().await;
    let waived = "select coalesce(sum(amount), 0)::int8 from payment.postings where account = 'WAIVED'";
    assert_eq!(cinema.count(waived).await, 30);

    let receipt = cinema.get(&format!("/v1/reservations/{new}/receipt"), &ada).await;
    assert_eq!(refused(&receipt), (409, "not-paid"));

    cinema.cancel(&ada, &new).await.expect(200);
    let refunded = cinema.until_status(&ada, &new, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    assert_eq!(cinema.captured(&old).await, 0);
    // The new order has no receipt that its credit note could correct.
    let (receipt, note) =
        (&cinema.until_receipts(&ada, &old, 1).await[0], &cinema.until_receipts(&ada, &new, 1).await[0]);
    assert_eq!((&note["kind"], &note["total"]), (&json!("CREDIT_NOTE"), &euros(1200)));
    assert_eq!(note["corrects"], receipt["number"]);
    cinema.receipt_file(&ada, &new, note["number"].as_str().unwrap()).await;
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_waived_is_not_given_back_by_a_cheaper_exchange() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_at(&["SSWW"], 24 * 3600, [1200, 1230]).await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = id(&cinema.exchange_for(&old, &ada, &["A3"]).await.expect(201));
    cinema.post("/v1/payments", &ada, json!({"reservationId": new})).await.expect(201);
    cinema.until_confirmed(&ada, &new).await;
    let plan = cinema.get(&format!("/v1/reservations/{new}/exchange?seats=A2"), &ada).await.expect(200);
    assert_eq!([&plan["total"], &plan["refund"]], [&euros(1200), &euros(0)]);
    cinema.exchange_for(&new, &ada, &["A2"]).await.expect(200);
    cinema.check_the_books().await;
    assert_eq!(cinema.captured(&old).await, 1200);
    cinema.cancel(&ada, &new).await.expect(200);
    let refunded = cinema.until_status(&ada, &new, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_after_several_exchanges_are_split_over_their_captures() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let first = cinema.buy(&ada, &["A1"]).await;
    let second = cinema.exchange_up(&first, &ada, &["B1", "B2"]).await;
    let third = cinema.exchange_up(&second, &ada, &["C1", "C2", "C3", "C4"]).await;
    let captured = async || {
        let mut all = Vec::new();
        for order in [&first, &second, &third] {
            all.push(cinema.captured(order).await);
        }
        all
    };
    assert_eq!(captured().await, [1200, 1200, 2400]);
    cinema.check_the_books().await;
    // A cheaper exchange gives back 36.00: all of the newest capture, and a half of what is left.
    let moved = cinema.exchange_for(&third, &ada, &["D1"]).await.expect(200);
    assert_eq!((&moved["id"], &moved["total"]), (&json!(third), &euros(1200)));
    cinema.until("the money is back", async || captured().await == [1200, 0, 0]).await;
    cinema.check_the_books().await;
    cinema.cancel(&ada, &third).await.expect(200);
    let refunded = cinema.until_status(&ada, &third, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    cinema.until("the rest is back", async || captured().await == [0, 0, 0]).await;
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_after_an_exchange_is_one_refund_of_two_captures() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = cinema.exchange_up(&old, &ada, &["B1", "B2"]).await;
    assert_eq!(cinema.reservation(&ada, &new).await["cancellation"]["refund"], euros(2400));
    cinema.cancel(&ada, &new).await.expect(200);
    cinema
        .until("both captures are given back", async || {
            let order = cinema.reservation(&ada, &new).await;
            let refund = &order["refund"];
            refund["total"] == euros(2400) && refund["status"] == "COMPLETED"
        })
        .await;
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (0, 0));
    assert_eq!(cinema.payment_shown(&ada, &new).await["status"], "REFUNDED");
    // Each credit note corrects the receipt of the capture that it gives back.
    let (first, second) =
        (cinema.until_receipts(&ada, &old, 1).await, cinema.until_receipts(&ada, &new, 3).await);
    let mut corrected: Vec<&str> =
        second[1..].iter().map(|note| note["corrects"].as_str().unwrap()).collect();
    corrected.sort_unstable();
    assert_eq!(corrected, [&first[0], &second[0]].map(|receipt| receipt["number"].as_str().unwrap()));
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_that_arrives_after_the_hold_goes_back_and_the_old_order_stays() {
    let quick =
        Plan::default().with("HOLD_SECONDS", 2).with("HOLD_SECONDS_MAX", 3).with("HOLD_GRACE_SECONDS", 2);
    let cinema = TestCinema::open_with(quick).await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = id(&cinema.exchange_for(&old, &ada, &["B1", "B2"]).await.expect(201));
    let page = cinema.open_payment_page(&ada, &new).await;
    let away = FailCalls { status: 503, next: -1, path_prefix: Some("/v1/".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(away), ..Switches::default() });
    cinema.until_status(&ada, &new, "CANCELLED").await;
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.switch(Switches::default());
    let refunded = cinema.until_status(&ada, &new, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (1200, 0));
    let stays = cinema.reservation(&ada, &old).await;
    assert_eq!((&stays["status"], &stays["exchangingTo"]), (&json!("CONFIRMED"), &Value::Null));
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["SOLD", "FREE"]);
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disputed_capture_pays_for_no_other_order() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let old = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &old, "pm_card_createDispute").await.expect(201);
    cinema.until_confirmed(&ada, &old).await;
    let new = id(&cinema.exchange_for(&old, &ada, &["B1", "B2"]).await.expect(201));
    cinema.until_sql("select count(*) from payment.disputes where status = 'OPEN'", 1).await;
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    let refunded = cinema.until_status(&ada, &new, "REFUNDED").await;
    assert_eq!((&refunded["reason"], &refunded["refund"]["total"]), (&json!("PAYMENT_FAILED"), &euros(1200)));
    assert_eq!(cinema.captured(&new).await, 0);
    let sql = "select count(*) from reservation.saga_steps where input = 'exchange-over'";
    cinema.until_sql(sql, 1).await;
    let stays = cinema.reservation(&ada, &old).await;
    assert_eq!((&stays["status"], &stays["exchangingTo"]), (&json!("CONFIRMED"), &Value::Null));
    cinema
        .until_sql("select coalesce(sum(amount), 0)::int8 from payment.postings where account = 'CREDIT'", 0)
        .await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_showtime_gives_back_the_old_order_and_the_difference() {
    let mut cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let first = cinema.showtime.clone();
    let second = cinema.schedule(&["SSSS"], 48 * 3600).await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let body = json!({"showtimeId": second, "seats": ["A1", "A2"]});
    let new = id(&cinema.post(&format!("/v1/reservations/{old}/exchange"), &ada, body).await.expect(201));
    cinema.call(Method::DELETE, &format!("/v1/showtimes/{first}"), Some(&owner), None).await.expect(204);
    let refunded = cinema.until_status(&ada, &old, "REFUNDED").await;
    assert_eq!(
        (&refunded["reason"], &refunded["refund"]["total"]),
        (&json!("SHOWTIME_CANCELLED"), &euros(1200))
    );
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    let refunded = cinema.until_status(&ada, &new, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1200));
    assert_eq!((cinema.captured(&old).await, cinema.captured(&new).await), (0, 0));
    cinema.showtime = second;
    assert_eq!(cinema.seat("A1").await, "FREE");
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_between_payment_and_confirmation_loses_nothing() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = id(&cinema.exchange_for(&old, &ada, &["B1", "B2"]).await.expect(201));
    // The commit over both rows waits for this lock, until its host is killed.
    let mut lock = cinema.database.begin().await.unwrap();
    sqlx::query("select from reservation.reservations where id = $1::uuid for update")
        .bind(&old)
        .execute(&mut *lock)
        .await
        .unwrap();
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    let waits =
        "select count(*) from reservation.reservations where checkpoint #>> '{state,is}' = 'replacing'";
    cinema.until_sql(waits, 1).await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "reservation").unwrap();
    hosts.remove(at).kill();
    lock.rollback().await.unwrap();
    cinema.start_another("reservation").await;
    cinema.until_confirmed(&ada, &new).await;
    assert_eq!(cinema.reservation(&ada, &old).await["reason"], "EXCHANGED");
    assert_eq!([cinema.seat("A1").await, cinema.seat("B1").await], ["FREE", "SOLD"]);
    cinema.check_the_books().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dearer_exchange_makes_no_money_refundable_that_was_not() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    // To a showtime whose orders are refundable, and which has no fee.
    let elsewhere = cinema.schedule_at(&["SSSS"], 48 * 3600, [1800, 1800]).await;
    cinema.change_showtime(json!({"overrides": {"refundPolicy": {"untilMinutes": 180, "percent": 0}}})).await;
    let old = cinema.buy(&ada, &["A1"]).await;
    let new = cinema.exchange_and_pay(&elsewhere, &old, &ada, "A1").await;
    assert_eq!(new["refundPolicy"], json!({"untilMinutes": 180, "percent": 0}));
    assert_eq!((&new["total"], &new["cancellation"]["refund"]), (&euros(1800), &euros(0)));
    let strict = id(&new);

    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    let old = cinema.buy(&ada, &["A1"]).await;
    assert_eq!(cinema.reservation(&ada, &old).await["cancellation"]["refund"], euros(1200));
    let new = cinema.exchange_and_pay(&elsewhere, &old, &ada, "A2").await;
    assert_eq!((&new["credit"], &new["cancellation"]["refund"]), (&euros(1250), &euros(1750)));
    cinema.check_the_books().await;

    assert_eq!(cinema.cancel(&ada, &strict).await.expect(200)["refund"], Value::Null);
    cinema.cancel(&ada, &id(&new)).await.expect(200);
    let refunded = cinema.until_status(&ada, &id(&new), "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], euros(1750));
    cinema.check_the_books().await;
    cinema.close().await;
}

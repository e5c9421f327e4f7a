//! Free showtimes: sold like any other, with tickets and mails, and without the provider.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::operator::{expect_success, marquee};
use crate::revenue::{day, euros};

impl TestCinema {
    /// Confirms free seats, as the button "Get tickets" does.
    async fn get_tickets(&self, who: &Person, reservation: &str, key: &str) -> Answer {
        let body = json!({"reservationId": reservation});
        self.call_with_key(Method::POST, "/v1/payments", Some(who), Some(body), key).await
    }

    /// Reserves free seats, confirms them and waits until the reservation is confirmed.
    async fn buy_free(&self, who: &Person, seats: &[&str]) -> String {
        let reservation = self.reserve(who, seats).await;
        self.get_tickets(who, &reservation, &reservation).await.expect(201);
        self.until_confirmed(who, &reservation).await;
        reservation
    }

    /// The number of payments at the provider.
    async fn payments_at_the_provider(&self) -> usize {
        let url = format!("{}/v1/payment_intents?limit=100", self.cinema().sandbox.as_ref().unwrap().url());
        let answer = self.http.get(url).bearer_auth("sk_test_marquee").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().len()
    }

    pub async fn revenue_by_showtime(&self) -> Value {
        let path = format!("/v1/admin/reports/revenue?from={}&to={}&by=showtime", day(-1), day(1));
        self.call(Method::GET, &path, Some(&self.owner()), None).await.expect(200)["items"].clone()
    }

    /// Runs `marquee fsck`, with rows so old that nothing counts as in progress.
    pub async fn check_with_fsck(&self) {
        self.until_sql("select count(*) from payment.unsent", 0).await;
        for sql in [
            "update reservation.reservations set updated_at = updated_at - interval '1 hour'",
            "update payment.payments set updated_at = updated_at - interval '1 hour'",
        ] {
            sqlx::query(sql).execute(&self.database).await.unwrap();
        }
        expect_success(&marquee(self, &["fsck"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_showtime_is_sold_end_to_end() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let reservation = cinema.reserve(&ada, &["A1", "A2"]).await;
    let first = cinema.get_tickets(&ada, &reservation, "once").await;
    let again = cinema.get_tickets(&ada, &reservation, "once").await;
    let payment = first.clone().expect(201);
    assert_eq!((payment["status"].as_str(), &payment["total"]), (Some("SUCCEEDED"), &euros(0)));
    assert_eq!(payment["checkoutUrl"], Value::Null, "there is no payment page");
    assert_eq!(again.text, first.text, "the same key gets the same answer");
    let other = cinema.get_tickets(&ada, &reservation, "another").await;
    assert_eq!((other.status.as_u16(), other.code()), (409, "already-paid"));
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.seat("A1").await, "SOLD");
    let tickets = format!("/v1/reservations/{reservation}/tickets");
    let tickets = cinema.call(Method::GET, &tickets, Some(&ada), None).await.expect(200);
    assert_eq!(tickets["tickets"].as_array().unwrap().len(), 2);
    cinema.until_mail(&reservation, "RESERVATION_CONFIRMED", "SENT").await;
    let mail = cinema.mail("Your tickets");
    assert!(mail.text.contains("Free") && !mail.text.contains("0.00"), "{}", mail.text);
    assert!(!mail.text.contains("Your payment"), "{}", mail.text);
    let events = cinema.events("payment.success").await;
    let payment_id = id(&payment);
    assert_eq!((events[0]["provider"].as_str(), &events[0]["total"]), (Some("none"), &euros(0)));
    assert_eq!(events[0]["providerRef"], format!("none:{payment_id}"));

    let sold = cinema.revenue_by_showtime().await;
    let nothing = [&sold[0]["gross"], &sold[0]["net"]];
    assert_eq!((sold[0]["tickets"].as_i64(), nothing), (Some(2), [&euros(0); 2]), "{sold}");
    let shown = format!("/v1/payments/{payment_id}");
    let shown = cinema.call(Method::GET, &shown, Some(&owner), None).await.expect(200);
    assert_eq!((shown["status"].as_str(), &shown["attempts"]), (Some("SUCCEEDED"), &json!([])));
    assert!(shown["log"].to_string().contains("nothing is due"), "{shown}");
    let refund = format!("/v1/payments/{payment_id}/refund");
    for body in [json!({"reason": "x"}), json!({"amount": 100, "reason": "x"})] {
        let refused = cinema.call(Method::POST, &refund, Some(&owner), Some(body)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "refund-too-large"), "{}", refused.text);
    }

    assert_eq!(cinema.reservation(&ada, &reservation).await["cancellation"]["refund"], euros(0));
    let cancelled = cinema.cancel(&ada, &reservation).await.expect(200);
    assert_eq!((cancelled["status"].as_str(), &cancelled["refund"]), (Some("CANCELLED"), &Value::Null));
    assert_eq!([cinema.seat("A1").await, cinema.seat("A2").await], ["FREE", "FREE"]);
    cinema.until_sql("select coalesce(sum(tickets), 0) from payment.postings", 0).await;
    assert_eq!(cinema.revenue_by_showtime().await, json!([]));
    assert!(cinema.events("refund.requested").await.is_empty(), "there is nothing to refund");
    assert_eq!(cinema.payments_at_the_provider().await, 0);
    // The seats can be reserved by others.
    cinema.buy_free(&cinema.register().await, &["A1"]).await;
    cinema.check_with_fsck().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_and_paid_seats_of_one_showtime_are_exchanged_both_ways() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule_at(&["SSSSWW"], 24 * 3600, [0, 800]).await;
    let ada = cinema.register().await;
    let exchange = async |reservation: &str, seats: &[&str]| {
        let path = format!("/v1/reservations/{reservation}/exchange");
        cinema.call(Method::POST, &path, Some(&ada), Some(json!({"seats": seats}))).await
    };
    // An order of both kinds costs the price of the paid seat.
    let mixed = cinema.buy(&ada, &["A1", "A5"]).await;
    assert_eq!(cinema.captured(&mixed).await, 800);
    let moved = exchange(&mixed, &["A1"]).await.expect(200);
    assert_eq!((moved["status"].as_str(), &moved["total"]), (Some("CONFIRMED"), &euros(0)));
    cinema.until_sql("select count(*) from payment.payments where status = 'REFUNDED'", 1).await;
    assert_eq!(cinema.captured(&mixed).await, 0);
    cinema.until_sql("select coalesce(sum(tickets), 0) from payment.postings", 1).await;

    // From free to paid the new seats are paid first, and nothing is refunded for the old ones.
    let free = cinema.buy_free(&ada, &["A2"]).await;
    let new = id(&exchange(&free, &["A5"]).await.expect(201));
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &new).await;
    let old = cinema.until_status(&ada, &free, "CANCELLED").await;
    assert_eq!((old["reason"].as_str(), &old["refund"]), (Some("EXCHANGED"), &Value::Null));
    cinema.until_sql("select coalesce(sum(tickets), 0) from payment.postings", 2).await;
    let sold = cinema.revenue_by_showtime().await;
    assert_eq!((&sold[0]["gross"], &sold[0]["refunded"]), (&euros(1600), &euros(800)), "{sold}");
    let cancelled = cinema.cancel(&ada, &mixed).await.expect(200);
    assert_eq!(cancelled["status"], "CANCELLED");
    cinema.until_sql("select coalesce(sum(tickets), 0) from payment.postings", 1).await;
    cinema.check_with_fsck().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_seats_that_are_not_confirmed_expire_and_confirmed_ones_survive_a_restart_of_all_hosts() {
    let short_holds = Plan::default().with("HOLD_SECONDS", 2).with("HOLD_SECONDS_MAX", 3);
    let mut cinema = TestCinema::open_with(short_holds.with("HOLD_GRACE_SECONDS", 2)).await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let ada = cinema.register().await;
    let unconfirmed = cinema.reserve(&ada, &["A1"]).await;
    let expired = cinema.until_status(&ada, &unconfirmed, "CANCELLED").await;
    assert_eq!(
        (expired["reason"].as_str(), cinema.seat("A1").await),
        (Some("HOLD_EXPIRED"), "FREE".to_owned())
    );
    let late = cinema.get_tickets(&ada, &unconfirmed, "late").await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "hold-expired"));

    let confirmed = cinema.reserve(&ada, &["A2"]).await;
    cinema.get_tickets(&ada, &confirmed, "in-time").await.expect(201);
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_confirmed(&ada, &confirmed).await;
    assert_eq!(cinema.get_tickets(&ada, &confirmed, "in-time").await.expect(201)["status"], "SUCCEEDED");
    cinema.check_with_fsck().await;
    cinema.close().await;
}

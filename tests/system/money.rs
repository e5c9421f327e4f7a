//! Money: duplicate and lost webhooks, declines, late payments, cancellation during payment, a failing provider.

use reqwest::Method;
use sandbox::{FailCalls, Switches};
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema};

const VISA: &str = "4242424242424242";
const DECLINED: &str = "4000000000000002";

fn quick() -> Plan {
    Plan::default().with("HOLD_SECONDS", 2).with("HOLD_SECONDS_MAX", 3).with("HOLD_GRACE_SECONDS", 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_on_the_providers_page_is_confirmed_by_webhook() {
    let cinema = TestCinema::open().await;
    cinema.switch(Switches { webhook_duplicate: true, webhook_reorder: true, ..Switches::default() });
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let page = cinema.open_payment_page(&ada, &reservation).await;
    assert!(!cinema.pay_on_page(&page, DECLINED).await);
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.captured(&reservation).await, 1200);
    assert_eq!(cinema.events("payment.success").await.len(), 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_webhook_does_not_prevent_the_confirmation() {
    let cinema = TestCinema::open_with(quick()).await;
    cinema.switch(Switches { webhook_drop: true, ..Switches::default() });
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let page = cinema.open_payment_page(&ada, &reservation).await;
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.seat("A1").await, "SOLD");
    // The webhook is delivered late: nothing changes.
    cinema.switch(Switches::default());
    cinema.flush_webhooks().await;
    cinema
        .until_sql(
            "select count(*) from payment.provider_events where kind = 'checkout.session.completed'",
            1,
        )
        .await;
    assert_eq!(cinema.reservation(&ada, &reservation).await["status"], "CONFIRMED");
    assert_eq!(cinema.events("payment.success").await.len(), 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_card_keeps_the_seats_and_another_card_pays() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let declined = cinema.pay(&ada, &reservation, "pm_card_chargeDeclined").await;
    assert_eq!((declined.status.as_u16(), declined.code()), (402, "card-declined"));
    assert_eq!(cinema.seat("A1").await, "HELD");
    assert_eq!(cinema.reservation(&ada, &reservation).await["status"], "PENDING");
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.captured(&reservation).await, 1200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaid_page_is_closed_at_the_end_of_the_hold() {
    let cinema = TestCinema::open_with(quick()).await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let page = cinema.open_payment_page(&ada, &reservation).await;
    let cancelled = cinema.until_status(&ada, &reservation, "CANCELLED").await;
    assert_eq!(cancelled["reason"], "HOLD_EXPIRED");
    assert!(!cinema.pay_on_page(&page, VISA).await, "a closed page takes no money");
    assert_eq!(cinema.seat("A1").await, "FREE");
    cinema.until_sql("select count(*) from payment.payments where status = 'FAILED'", 1).await;
    let late = cinema.pay(&ada, &reservation, "pm_card_visa").await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "hold-expired"));
    cinema.close().await;
}

/// Lets a hold expire while the provider answers no call, so that its page stays open. Returns the user, the reservation
/// and the page.
async fn expire_with_open_page(cinema: &TestCinema, seat: &str) -> (crate::cinema::Person, String, String) {
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &[seat]).await;
    let page = cinema.open_payment_page(&ada, &reservation).await;
    let away = FailCalls { status: 503, next: -1, path_prefix: Some("/v1/".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(away), ..Switches::default() });
    let cancelled = cinema.until_status(&ada, &reservation, "CANCELLED").await;
    assert_eq!(cancelled["reason"], "HOLD_EXPIRED");
    (ada, reservation, page)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_after_expiry_confirms_the_seats_if_they_are_free() {
    let cinema = TestCinema::open_with(quick()).await;
    let (ada, reservation, page) = expire_with_open_page(&cinema, "A1").await;
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.switch(Switches::default());
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.seat("A1").await, "SOLD");
    assert_eq!(cinema.captured(&reservation).await, 1200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_after_expiry_is_refunded_if_the_seats_are_taken() {
    let cinema = TestCinema::open_with(quick()).await;
    let (ada, reservation, page) = expire_with_open_page(&cinema, "A1").await;
    // Cards work again, but the page cannot be closed yet.
    let away = FailCalls { status: 503, next: -1, path_prefix: Some("/v1/checkout/".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(away), ..Switches::default() });
    let bob = cinema.register().await;
    let faster = cinema.reserve(&bob, &["A1"]).await;
    cinema.pay(&bob, &faster, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&bob, &faster).await;
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.switch(Switches::default());
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["status"], "COMPLETED");
    assert_eq!(cinema.captured(&reservation).await, 0);
    assert_eq!(cinema.captured(&faster).await, 1200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_during_payment_frees_the_seats_and_refunds_the_money() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    // The user pays on the open page after the cancellation, while the provider does not answer and so cannot close it.
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let page = cinema.open_payment_page(&ada, &reservation).await;
    let away = FailCalls { status: 503, next: -1, path_prefix: Some("/v1/".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(away), ..Switches::default() });
    let cancelled = cinema.cancel(&ada, &reservation).await.expect(200);
    assert_eq!(
        (cancelled["status"].as_str(), cancelled["reason"].as_str()),
        (Some("CANCELLED"), Some("USER_REQUEST"))
    );
    assert_eq!(cinema.seat("A1").await, "FREE");
    assert!(cinema.pay_on_page(&page, VISA).await);
    cinema.switch(Switches::default());
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], json!({"amount": 1200, "currency": "EUR"}));
    assert_eq!(cinema.captured(&reservation).await, 0);

    // A page that was not paid is closed.
    let second = cinema.reserve(&ada, &["A2"]).await;
    let page = cinema.open_payment_page(&ada, &second).await;
    cinema.cancel(&ada, &second).await.expect(200);
    cinema.until_sql("select count(*) from payment.payments where status = 'FAILED'", 1).await;
    assert!(!cinema.pay_on_page(&page, VISA).await);
    // A repeated cancel answers as the first.
    cinema.cancel(&ada, &second).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_confirmed_reservation_refunds_it() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    let cancelled = cinema.cancel(&ada, &reservation).await.expect(200);
    assert_eq!(cancelled["status"], "CANCELLED");
    assert_eq!(cinema.seat("A2").await, "FREE");
    cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(cinema.captured(&reservation).await, 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_the_provider_charge_once() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    for (seat, lost) in [("A1", 1), ("A2", 2)] {
        let reservation = cinema.reserve(&ada, &[seat]).await;
        cinema.switch(Switches { answer_lost: lost, ..Switches::default() });
        let paid = cinema.pay(&ada, &reservation, "pm_card_visa").await;
        assert!([201, 503].contains(&paid.status.as_u16()), "{}", paid.text);
        cinema.until_confirmed(&ada, &reservation).await;
        assert_eq!(cinema.captured(&reservation).await, 1200);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_failing_provider_are_retried() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let failing = FailCalls { status: 500, next: 2, path_prefix: None, kept: false };
    cinema.switch(Switches { fail_calls: Some(failing), ..Switches::default() });
    let paid = cinema.pay(&ada, &reservation, "pm_card_visa").await;
    assert!([201, 503].contains(&paid.status.as_u16()), "{}", paid.text);
    cinema.until_confirmed(&ada, &reservation).await;
    // The same for a refund.
    let failing = FailCalls { status: 500, next: 3, path_prefix: Some("/v1/refunds".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(failing), ..Switches::default() });
    cinema.cancel(&ada, &reservation).await.expect(200);
    cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(cinema.captured(&reservation).await, 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_never_answers_never_leaves_money_without_seats() {
    let cinema = TestCinema::open_with(quick()).await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let away = FailCalls { status: 503, next: -1, path_prefix: Some("/v1/".into()), kept: false };
    cinema.switch(Switches { fail_calls: Some(away), ..Switches::default() });
    let paid = cinema.pay(&ada, &reservation, "pm_card_visa").await;
    assert_eq!(paid.status.as_u16(), 503, "{}", paid.text);
    cinema.until_status(&ada, &reservation, "CANCELLED").await;
    assert_eq!(cinema.seat("A1").await, "FREE");
    cinema.switch(Switches::default());
    // When the provider answers again, the attempt is closed or the payment is settled: there is never money without seats.
    cinema.until_sql("select count(*) from payment.payments where status in ('OPEN', 'PROCESSING')", 0).await;
    let status = cinema.reservation(&ada, &reservation).await["status"].clone();
    if status == "CANCELLED" {
        assert_eq!(cinema.captured(&reservation).await, 0);
    } else {
        cinema.until_confirmed(&ada, &reservation).await;
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_refused_by_the_provider_needs_attention_and_can_be_resumed() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.switch(Switches { refunds_fail: true, ..Switches::default() });
    cinema.cancel(&ada, &reservation).await.expect(200);
    cinema.until_sql("select count(*) from reservation.reservations where attention", 1).await;
    let waiting = cinema.reservation(&ada, &reservation).await;
    assert_eq!((waiting["status"].as_str(), waiting["attention"].as_bool()), (Some("CANCELLED"), Some(true)));
    cinema.switch(Switches::default());
    let resume = bus::contract::reservation::ResumeSaga { reservation_id: reservation.parse().unwrap() };
    let ask = |token: &str| bus::service::Ask {
        token: Some(token.to_owned()),
        ..bus::service::Ask::new(bus::Context::new())
    };
    let refused = cinema.cinema().bus.ask(&resume, &ask(&ada.token)).await.unwrap_err();
    assert_eq!(refused.status, 403);
    cinema.cinema().bus.ask(&resume, &ask(&cinema.owner().token)).await.unwrap();
    cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(cinema.captured(&reservation).await, 0);
    cinema.close().await;
}

/// Sends a webhook with the provider's signature, and returns the status.
async fn send_webhook(cinema: &TestCinema, event: &Value) -> u16 {
    let (body, now) = (event.to_string(), time::OffsetDateTime::now_utc().unix_timestamp());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"whsec_test");
    let signature = ring::hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let request = cinema.http.post(format!("{}/v1/payments/webhook", cinema.url()));
    let request = request.header("Stripe-Signature", format!("t={now},v1={}", hex::encode(signature)));
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signed_webhook_is_acknowledged_and_stored_once() {
    let cinema = TestCinema::open().await;
    let thin = json!({"id": "evt_thin", "object": "v2.core.event", "type": "v2.core.event_destination.ping"});
    let nul = json!({"id": "evt_nul", "object": "event", "type": "customer.\0", "data": {"object": {
        "id": "cus_\0", "object": "customer", "name": "\0"}}});
    let refund = json!({"id": "evt_\0", "object": "event", "type": "refund.updated", "data": {"object": {
        "id": "re_\0", "object": "refund", "amount": 5, "currency": "eur", "status": "succeeded", "charge": "\0",
        "payment_intent": "pi_\0", "metadata": {"note": "\0"}}}});
    for event in [&thin, &nul, &refund, &thin] {
        assert_eq!(send_webhook(&cinema, event).await, 200, "{event}");
    }
    let stored: i64 =
        sqlx::query_scalar("select count(*) from payment.provider_events where id like 'evt_%'")
            .fetch_one(&cinema.database)
            .await
            .unwrap();
    assert_eq!(stored, 3);
    let dead_letters = cinema.call(Method::GET, "/v1/admin/dead-letters", Some(&cinema.owner()), None).await;
    assert_eq!(dead_letters.expect(200)["items"], json!([]));
    cinema.close().await;
}

//! Paying: by token, on the page, twice, with a key again, and the webhooks that tell of it.

use bus::contract::payment::{AttemptStatus, PaymentFailed, PaymentInitiated, PaymentStatus, PaymentSuccess};
use ring::hmac;

use super::*;

#[tokio::test]
async fn a_declined_card_followed_by_a_good_one_charges_once() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let declined = till.pay(reservation, Some("pm_card_chargeDeclined")).await.unwrap_err();
    assert_eq!((declined.status, declined.code.as_str()), (402, "card-declined"));
    assert!(declined.detail.contains("generic_decline"), "{}", declined.detail);
    let unknown = till.pay(reservation, Some("pm_card_nobodys")).await.unwrap_err();
    assert_eq!((unknown.status, unknown.errors[0].field.as_str()), (422, "paymentMethod"));
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    assert_eq!((paid.status, paid.total), (PaymentStatus::Succeeded, PRICE));
    let attempts: Vec<AttemptStatus> = paid.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(attempts, [AttemptStatus::Declined, AttemptStatus::Declined, AttemptStatus::Captured]);
    let again = till.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));

    let success: Vec<PaymentSuccess> = till.said(1).await;
    assert_eq!((success[0].payment_id, success[0].reservation_id), (paid.id, reservation));
    assert_eq!(paid.attempts[2].provider_ref.as_deref(), Some(success[0].provider_ref.as_str()));
    till.said::<PaymentInitiated>(3).await;
    till.said::<PaymentFailed>(0).await;
    till.close().await;
}

#[tokio::test]
async fn only_the_owner_and_staff_see_a_payment_and_only_staff_its_log() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let id = till.pay(reservation, Some("pm_card_visa")).await.unwrap().id;
    let ask = async |user, role| {
        let token = till.token(user, role);
        till.system.ask(&GetPayment { id }, Some(&token)).await
    };
    assert_eq!(ask(till.ada, Role::User).await.unwrap().log, None);
    assert_eq!(ask(Uuid::now_v7(), Role::User).await.unwrap_err().status, 404);
    let log = ask(Uuid::now_v7(), Role::Admin).await.unwrap().log.unwrap();
    let entries: Vec<&str> = log.iter().map(|line| line.entry.as_str()).collect();
    assert_eq!(entries[..3], ["opened", "attempt", "captured"]);
    assert_eq!(till.system.ask(&GetPayment { id }, None).await.unwrap_err().status, 401);
    till.close().await;
}

#[tokio::test]
async fn a_repeated_idempotency_key_gets_the_first_answer_byte_for_byte() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let first = till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap(), first);
    let other = till.pay_raw(reservation, Some("pm_card_mastercard"), "key").await.unwrap_err();
    assert_eq!((other.status, other.code.as_str()), (422, "idempotency-mismatch"));
    let pay = Pay { reservation_id: reservation, payment_method: None };
    let token = till.token(till.ada, Role::User);
    let keyless = till.system.ask(&pay, Some(&token)).await.unwrap_err();
    assert_eq!((keyless.status, keyless.code.as_str()), (400, "idempotency-key-missing"));

    // A page that is asked for again is the same one, and still open.
    let other = till.reserve().await;
    let first = till.pay_raw(other, None, "page").await.unwrap();
    assert_eq!(till.pay_raw(other, None, "page").await.unwrap(), first);
    let page: Payment = serde_json::from_slice(&first).unwrap();
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 303);
    till.until("the page's money", other, |row| row["status"] == "SUCCEEDED").await;
    assert_eq!(till.provider("checkout/sessions").await.len(), 1);

    // A refusal is not kept: the same key may be tried again.
    let other = till.reserve().await;
    let card = Some("pm_card_chargeDeclined");
    assert_eq!(till.pay_raw(other, card, "second").await.unwrap_err().status, 402);
    assert_eq!(till.pay_raw(other, card, "second").await.unwrap_err().status, 402);
    assert_eq!(till.provider("payment_intents").await.len(), 4);
    till.close().await;
}

#[tokio::test]
async fn concurrent_requests_on_two_hosts_charge_once() {
    let mut till = Till::open().await;
    till.start_host().await;
    let (one, other) = (till.reserve().await, till.book());
    for (reservation, keys) in [(one, "the same"), (other, "")] {
        let tries = (0..12).map(|n| {
            let key = if keys.is_empty() { format!("key {n}") } else { keys.to_owned() };
            let till = &till;
            async move { till.pay_raw(reservation, Some("pm_card_visa"), &key).await }
        });
        let answers = futures::future::join_all(tries).await;
        let paid: Vec<&Bytes> = answers.iter().flatten().collect();
        assert!(!paid.is_empty() && paid.iter().all(|answer| *answer == paid[0]), "{answers:?}");
        assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|problem| problem.status == 409));
    }
    assert_eq!(till.provider("payment_intents").await.len(), 2);
    till.said::<PaymentSuccess>(2).await;
    till.close().await;
}

#[tokio::test]
async fn a_request_that_arrives_before_the_event_opens_the_payment() {
    let till = Till::open().await;
    let reservation = till.book();
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    till.publish(&till.created(reservation)).await;
    let cancelled = till.reserve().await;
    assert_eq!(till.row(reservation).await["status"], "SUCCEEDED");
    assert_eq!(till.get(paid.id).await.status, PaymentStatus::Succeeded);
    assert_eq!(till.count("select count(*) from payment.payments").await, 2);
    till.cancel(cancelled).await;
    till.until("the end", cancelled, |row| row["status"] == "FAILED").await;
    let over = till.pay(cancelled, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((over.status, over.code.as_str()), (409, "payment-over"));
    till.said::<PaymentFailed>(0).await;
    till.close().await;
}

#[tokio::test]
async fn an_order_event_redelivered_to_another_host_charges_nothing_again() {
    let mut till = Till::open().await;
    let reservation = till.book();
    till.publish(&till.created(reservation)).await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    till.hosts.remove(0).stop().await;
    till.start_host().await;
    // It takes the order for a new one, whose payer opens the payment.
    let told = till.publish(&till.created(reservation)).await;
    let again = till.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));
    assert_eq!(till.get(paid.id).await.status, PaymentStatus::Succeeded);
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.system.until_heard("payment", told).await;
    till.close().await;
}

#[tokio::test]
async fn a_refusal_by_reservation_is_passed_on_and_nothing_is_charged() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let refusal = Problem::new(409, "hold-expired", "The seats were kept until now; they are free again.");
    till.bookings.lock().unwrap().get_mut(&reservation).unwrap().1 = Some(refusal);
    let refused = till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (409, "hold-expired"));
    let unknown = till.pay(Uuid::now_v7(), Some("pm_card_visa")).await.unwrap_err();
    assert_eq!(unknown.status, 404);
    till.bookings.lock().unwrap().get_mut(&reservation).unwrap().1 = None;
    till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.close().await;
}

#[tokio::test]
async fn a_payment_on_the_page_with_duplicate_webhooks_counts_once() {
    let till = Till::open().await;
    till.switch(Switches { webhook_duplicate: true, webhook_reorder: true, ..Switches::default() });
    let reservation = till.reserve().await;
    let open = till.pay(reservation, None).await.unwrap();
    assert_eq!(open.status, PaymentStatus::Processing);
    let initiated: Vec<PaymentInitiated> = till.said(1).await;
    assert_eq!(initiated[0].checkout_url, open.checkout_url);
    assert_eq!(till.pay_on_page(&open, "4000000000000002").await, 200);
    assert_eq!(till.pay_on_page(&open, "4242424242424242").await, 303);
    till.until("the success", reservation, |row| row["status"] == "SUCCEEDED").await;
    till.system
        .until("every webhook", async |_| {
            let pending = till.provider("events").await;
            pending.iter().all(|event| event["pending_webhooks"] == 0)
        })
        .await;
    till.said::<PaymentSuccess>(1).await;
    let events = till.provider("events").await.len() as i64;
    assert_eq!(till.count("select count(*) from payment.provider_events").await, events);
    assert_eq!(till.get(open.id).await.checkout_url, None);
    till.close().await;
}

#[tokio::test]
async fn a_new_attempt_closes_the_earlier_page() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let first = till.pay(reservation, None).await.unwrap();
    let second = till.pay(reservation, None).await.unwrap();
    assert_eq!(till.pay_on_page(&first, "4242424242424242").await, 410);
    till.switch(Switches { webhook_drop: true, ..Switches::default() });
    assert_eq!(till.pay_on_page(&second, "4242424242424242").await, 303);
    // Nobody has told us; closing the page finds out.
    let again = till.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));
    till.said::<PaymentSuccess>(1).await;
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.close().await;
}

fn sign(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("t={at},v1={}", hex::encode(hmac::sign(&key, format!("{at}.{body}").as_bytes())))
}

#[tokio::test]
async fn only_fresh_signed_webhooks_are_accepted() {
    let till = Till::open().await;
    let body = r#"{"id":"evt_x","type":"radar.early","data":{"object":{"object":"radar","id":"r"}}}"#;
    let now = Timestamp::wall_clock().unix_seconds();
    let tell = async |body: &str, signature: String| {
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        till.system.ask(&Webhook { body, signature }, None).await
    };
    let refused = [
        sign("whsec_other", now, body),
        sign(SECRET, now - 400, body),
        sign(SECRET, now + 400, body),
        String::new(),
        "nonsense".into(),
    ];
    for signature in refused {
        let problem = tell(body, signature.clone()).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (400, "bad-signature"), "{signature}");
    }
    assert_eq!(tell("{}", sign(SECRET, now, "{}")).await.unwrap_err().code, "bad-webhook");
    for _ in 0..2 {
        tell(body, sign(SECRET, now, body)).await.unwrap();
    }
    assert_eq!(till.count("select count(*) from payment.provider_events").await, 1);
    till.close().await;
}

//! Paying: by token and on the page, twice, with repeated keys, and with webhooks.

use bus::contract::payment::{AttemptStatus, PaymentFailed, PaymentInitiated, PaymentStatus, PaymentSuccess};
use ring::hmac;

use super::*;

#[tokio::test]
async fn a_declined_card_followed_by_a_good_one_charges_once() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let declined = system.pay(reservation, Some("pm_card_chargeDeclined")).await.unwrap_err();
    assert_eq!((declined.status, declined.code.as_str()), (402, "card-declined"));
    assert!(declined.detail.contains("generic_decline"), "{}", declined.detail);
    let unknown = system.pay(reservation, Some("pm_card_nobodys")).await.unwrap_err();
    assert_eq!((unknown.status, unknown.errors[0].field.as_str()), (422, "paymentMethod"));
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    assert_eq!((paid.status, paid.total), (PaymentStatus::Succeeded, PRICE));
    let attempts: Vec<AttemptStatus> = paid.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(attempts, [AttemptStatus::Declined, AttemptStatus::Declined, AttemptStatus::Captured]);
    let again = system.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));

    let success: Vec<PaymentSuccess> = system.published(1).await;
    assert_eq!((success[0].payment_id, success[0].reservation_id), (paid.id, reservation));
    assert_eq!(paid.attempts[2].provider_ref.as_deref(), Some(success[0].provider_ref.as_str()));
    system.published::<PaymentInitiated>(3).await;
    system.published::<PaymentFailed>(0).await;
    system.close().await;
}

#[tokio::test]
async fn only_the_owner_and_staff_see_a_payment_and_only_staff_its_log() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let id = system.pay(reservation, Some("pm_card_visa")).await.unwrap().id;
    let ask = async |user, role| {
        let token = system.token(user, role);
        system.servers.ask(&GetPayment { id }, Some(&token)).await
    };
    assert_eq!(ask(system.ada, Role::User).await.unwrap().log, None);
    assert_eq!(ask(Uuid::now_v7(), Role::User).await.unwrap_err().status, 404);
    let log = ask(Uuid::now_v7(), Role::Admin).await.unwrap().log.unwrap();
    let entries: Vec<&str> = log.iter().map(|line| line.entry.as_str()).collect();
    assert_eq!(entries[..3], ["opened", "attempt", "captured"]);
    assert_eq!(system.servers.ask(&GetPayment { id }, None).await.unwrap_err().status, 401);
    system.close().await;
}

#[tokio::test]
async fn a_repeated_idempotency_key_gets_the_first_answer_byte_for_byte() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let first = system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap(), first);
    let other = system.pay_raw(reservation, Some("pm_card_mastercard"), "key").await.unwrap_err();
    assert_eq!((other.status, other.code.as_str()), (422, "idempotency-mismatch"));
    let pay = Pay { reservation_id: reservation, payment_method: None };
    let token = system.token(system.ada, Role::User);
    let keyless = system.servers.ask(&pay, Some(&token)).await.unwrap_err();
    assert_eq!((keyless.status, keyless.code.as_str()), (400, "idempotency-key-missing"));

    // A repeated request for a page gets the same page, which is still open.
    let other = system.reserve().await;
    let first = system.pay_raw(other, None, "page").await.unwrap();
    assert_eq!(system.pay_raw(other, None, "page").await.unwrap(), first);
    let page: Payment = serde_json::from_slice(&first).unwrap();
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 303);
    system.until("the page's money", other, |row| row["status"] == "SUCCEEDED").await;
    assert_eq!(system.provider("checkout/sessions").await.len(), 1);

    // A refusal is not stored: the same key may be used again.
    let other = system.reserve().await;
    let card = Some("pm_card_chargeDeclined");
    assert_eq!(system.pay_raw(other, card, "second").await.unwrap_err().status, 402);
    assert_eq!(system.pay_raw(other, card, "second").await.unwrap_err().status, 402);
    assert_eq!(system.provider("payment_intents").await.len(), 4);
    system.close().await;
}

#[tokio::test]
async fn concurrent_requests_on_two_hosts_charge_once() {
    let mut system = PaymentSystem::open().await;
    system.start_host().await;
    let (one, other) = (system.reserve().await, system.create_reservation());
    for (reservation, keys) in [(one, "the same"), (other, "")] {
        let tries = (0..12).map(|n| {
            let key = if keys.is_empty() { format!("key {n}") } else { keys.to_owned() };
            let system = &system;
            async move { system.pay_raw(reservation, Some("pm_card_visa"), &key).await }
        });
        let answers = futures::future::join_all(tries).await;
        let paid: Vec<&Bytes> = answers.iter().flatten().collect();
        assert!(!paid.is_empty() && paid.iter().all(|answer| *answer == paid[0]), "{answers:?}");
        assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|problem| problem.status == 409));
    }
    assert_eq!(system.provider("payment_intents").await.len(), 2);
    system.published::<PaymentSuccess>(2).await;
    system.close().await;
}

#[tokio::test]
async fn a_request_that_arrives_before_the_event_opens_the_payment() {
    let system = PaymentSystem::open().await;
    let reservation = system.create_reservation();
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.publish(&system.created(reservation)).await;
    let cancelled = system.reserve().await;
    assert_eq!(system.row(reservation).await["status"], "SUCCEEDED");
    assert_eq!(system.get(paid.id).await.status, PaymentStatus::Succeeded);
    assert_eq!(system.count("select count(*) from payment.payments").await, 2);
    system.cancel(cancelled).await;
    system.until("the end", cancelled, |row| row["status"] == "FAILED").await;
    let refused = system.pay(cancelled, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (409, "payment-over"));
    system.published::<PaymentFailed>(0).await;
    system.close().await;
}

#[tokio::test]
async fn an_order_event_redelivered_to_another_host_charges_nothing_again() {
    let mut system = PaymentSystem::open().await;
    let reservation = system.create_reservation();
    system.publish(&system.created(reservation)).await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.hosts.remove(0).stop().await;
    system.start_host().await;
    // For this host the order is new, so the next request opens the payment.
    let sequence = system.publish(&system.created(reservation)).await;
    let again = system.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));
    assert_eq!(system.get(paid.id).await.status, PaymentStatus::Succeeded);
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.servers.until_handled("payment", sequence).await;
    system.close().await;
}

#[tokio::test]
async fn a_refusal_by_reservation_is_passed_on_and_nothing_is_charged() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let refusal = Problem::new(409, "hold-expired", "The seats were kept until now; they are free again.");
    system.reservations.lock().unwrap().get_mut(&reservation).unwrap().1 = Some(refusal);
    let refused = system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (409, "hold-expired"));
    let unknown = system.pay(Uuid::now_v7(), Some("pm_card_visa")).await.unwrap_err();
    assert_eq!(unknown.status, 404);
    system.reservations.lock().unwrap().get_mut(&reservation).unwrap().1 = None;
    system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.close().await;
}

#[tokio::test]
async fn a_payment_on_the_page_with_duplicate_webhooks_counts_once() {
    let system = PaymentSystem::open().await;
    system.switch(Switches { webhook_duplicate: true, webhook_reorder: true, ..Switches::default() });
    let reservation = system.reserve().await;
    let open = system.pay(reservation, None).await.unwrap();
    assert_eq!(open.status, PaymentStatus::Processing);
    let initiated: Vec<PaymentInitiated> = system.published(1).await;
    assert_eq!(initiated[0].checkout_url, open.checkout_url);
    assert_eq!(system.pay_on_page(&open, "4000000000000002").await, 200);
    assert_eq!(system.pay_on_page(&open, "4242424242424242").await, 303);
    system.until("the success", reservation, |row| row["status"] == "SUCCEEDED").await;
    system
        .servers
        .until("every webhook", async |_| {
            let pending = system.provider("events").await;
            pending.iter().all(|event| event["pending_webhooks"] == 0)
        })
        .await;
    system.published::<PaymentSuccess>(1).await;
    let events = system.provider("events").await.len() as i64;
    assert_eq!(system.count("select count(*) from payment.provider_events").await, events);
    assert_eq!(system.get(open.id).await.checkout_url, None);
    system.close().await;
}

#[tokio::test]
async fn a_new_attempt_closes_the_earlier_page() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let first = system.pay(reservation, None).await.unwrap();
    let second = system.pay(reservation, None).await.unwrap();
    assert_eq!(system.pay_on_page(&first, "4242424242424242").await, 410);
    system.switch(Switches { webhook_drop: true, ..Switches::default() });
    assert_eq!(system.pay_on_page(&second, "4242424242424242").await, 303);
    // The webhook is lost; the host finds the capture when it closes the page.
    let again = system.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!((again.status, again.code.as_str()), (409, "already-paid"));
    system.published::<PaymentSuccess>(1).await;
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.close().await;
}

fn sign(secret: &str, at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("t={at},v1={}", hex::encode(hmac::sign(&key, format!("{at}.{body}").as_bytes())))
}

#[tokio::test]
async fn only_fresh_signed_webhooks_are_accepted() {
    let system = PaymentSystem::open().await;
    let body = r#"{"id":"evt_x","type":"radar.early","data":{"object":{"object":"radar","id":"r"}}}"#;
    let now = Timestamp::wall_clock().unix_seconds();
    let send = async |body: &str, signature: String| {
        let body = base64::engine::general_purpose::STANDARD.encode(body);
        system.servers.ask(&Webhook { body, signature }, None).await
    };
    let refused = [
        sign("whsec_other", now, body),
        sign(SECRET, now - 400, body),
        sign(SECRET, now + 400, body),
        String::new(),
        "nonsense".into(),
    ];
    for signature in refused {
        let problem = send(body, signature.clone()).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (400, "bad-signature"), "{signature}");
    }
    assert_eq!(send("{}", sign(SECRET, now, "{}")).await.unwrap_err().code, "bad-webhook");
    for _ in 0..2 {
        send(body, sign(SECRET, now, body)).await.unwrap();
    }
    assert_eq!(system.count("select count(*) from payment.provider_events").await, 1);
    system.close().await;
}

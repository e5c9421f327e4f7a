//! Faults: a failing provider, lost answers, killed hosts, second and late captures, and ending a payment during them.

use bus::contract::payment::{PaymentFailed, PaymentStatus, PaymentSuccess};
use sandbox::FailCalls;

use super::*;

/// Every call to the provider fails.
fn failing() -> Switches {
    let fail_calls = Some(FailCalls { status: 503, next: -1, path_prefix: None, kept: false });
    Switches { fail_calls, ..Switches::default() }
}

#[tokio::test]
async fn ending_a_payment_closes_the_page_and_allows_no_new_attempt() {
    let system = PaymentSystem::open().await;
    let (untried, open) = (system.reserve().await, system.reserve().await);
    assert_eq!(system.end(untried).await, PaymentEnd::Over);
    let page = system.pay(open, None).await.unwrap();
    assert_eq!(system.end(open).await, PaymentEnd::Over);
    assert_eq!(system.end(open).await, PaymentEnd::Over, "it may be repeated");
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 410);
    let refused = system.pay(open, None).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (409, "payment-over"));
    assert_eq!(system.get(page.id).await.status, PaymentStatus::Failed);
    let failed: Vec<PaymentFailed> = system.published(2).await;
    assert!(failed.iter().all(|event| event.code == "hold-expired"));
    system.close().await;
}

#[tokio::test]
async fn ending_a_payment_finds_a_capture_whose_webhook_was_lost() {
    let system = PaymentSystem::open().await;
    system.switch(Switches { webhook_drop: true, ..Switches::default() });
    let reservation = system.reserve().await;
    let page = system.pay(reservation, None).await.unwrap();
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 303);
    let PaymentEnd::Captured { success } = system.end(reservation).await else { panic!() };
    assert_eq!((success.payment_id, success.total), (page.id, PRICE));
    assert_eq!(system.published::<PaymentSuccess>(1).await, [success]);
    system.close().await;
}

#[tokio::test]
async fn ending_a_payment_while_the_provider_does_not_answer_is_unknown_and_completes_later() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let page = system.pay(reservation, None).await.unwrap();
    system.switch(failing());
    assert_eq!(system.end(reservation).await, PaymentEnd::Unknown);
    assert_eq!(system.get(page.id).await.status, PaymentStatus::Processing);
    system.switch(Switches::default());
    system.until("the end", reservation, |row| row["status"] == "FAILED").await;
    assert_eq!(system.end(reservation).await, PaymentEnd::Over);
    system.published::<PaymentFailed>(1).await;
    system.close().await;
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_repeated_under_the_same_key() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    system.switch(Switches { answer_lost: 1, ..Switches::default() });
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    assert_eq!((paid.status, paid.attempts.len()), (PaymentStatus::Succeeded, 1));
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.close().await;
}

#[tokio::test]
async fn a_charge_without_an_answer_is_looked_up_later_and_its_key_gets_the_answer() {
    let system = PaymentSystem::open().await;
    system.switch(Switches { webhook_drop: true, answer_lost: 3, ..Switches::default() });
    let reservation = system.reserve().await;
    let unavailable = system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((unavailable.status, unavailable.retry_after), (503, Some(1)));
    let running = system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((running.status, running.code.as_str()), (409, "idempotency-running"));
    system.until("the outcome of the charge", reservation, |row| row["status"] == "SUCCEEDED").await;
    let answer = system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    let answer: Payment = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer.status, PaymentStatus::Succeeded);
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.published::<PaymentSuccess>(1).await;
    system.close().await;
}

#[tokio::test]
async fn ending_a_payment_whose_charge_got_no_answer_cancels_the_charge() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    system.switch(failing());
    assert_eq!(system.pay(reservation, Some("pm_card_visa")).await.unwrap_err().status, 503);
    system.switch(Switches::default());
    assert_eq!(system.end(reservation).await, PaymentEnd::Over);
    let intents = system.provider("payment_intents").await;
    assert_eq!(
        (intents.len(), &intents[0]["status"]),
        (1, &Value::from("canceled")),
        "the charge is cancelled"
    );
    system.published::<PaymentFailed>(1).await;
    system.close().await;
}

#[tokio::test]
async fn a_charge_of_a_killed_host_is_completed_by_the_next_host() {
    let mut system = PaymentSystem::open().await;
    system.switch(Switches { webhook_drop: true, call_delay_ms: 1_500, ..Switches::default() });
    let reservation = system.reserve().await;
    let paying = system.pay_raw(reservation, Some("pm_card_visa"), "key");
    let attempted = async {
        system.until("the attempt", reservation, |row| row["status"] == "PROCESSING").await;
    };
    tokio::select! {
        answered = paying => panic!("answered before the host was killed: {answered:?}"),
        () = attempted => {}
    }
    system.hosts.remove(0).kill();
    system.switch(Switches { webhook_drop: true, ..Switches::default() });
    system.start_host().await;
    system.until("the outcome of the charge", reservation, |row| row["status"] == "SUCCEEDED").await;
    system.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(system.provider("payment_intents").await.len(), 1);
    system.published::<PaymentSuccess>(1).await;
    system.close().await;
}

#[tokio::test]
async fn a_second_capture_is_refunded_by_payment_itself() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    let form = [
        ("amount", "2400".to_owned()),
        ("currency", "eur".to_owned()),
        ("payment_method", "pm_card_visa".to_owned()),
        ("confirm", "true".to_owned()),
        ("metadata[payment_id]", paid.id.to_string()),
        ("metadata[reservation_id]", reservation.to_string()),
        ("metadata[attempt]", "1".to_owned()),
    ];
    let url = format!("{}/v1/payment_intents", system.sandbox.url());
    let charged = system.http.post(url).bearer_auth(API_KEY).form(&form).send().await.unwrap();
    assert_eq!(charged.status(), 200);
    let refunded = "select count(*) from payment.refunds where origin = 'OWN' and status = 'COMPLETED'";
    system.servers.until("the refund", async |_| system.count(refunded).await == 1).await;
    let refunds = system.provider("refunds").await;
    let accepted = paid.attempts[0].provider_ref.as_deref().unwrap();
    assert_eq!((refunds.len(), &refunds[0]["amount"]), (1, &Value::from(2400)));
    assert_ne!(refunds[0]["payment_intent"], accepted, "the accepted capture stays");
    assert_eq!(system.get(paid.id).await.status, PaymentStatus::Succeeded);
    system.published::<PaymentSuccess>(1).await;
    system.published::<bus::contract::payment::RefundCompleted>(0).await;
    system.close().await;
}

#[tokio::test]
async fn a_cancelled_reservation_closes_its_page_and_a_late_capture_is_published() {
    let system = PaymentSystem::open().await;
    let (closed, late) = (system.reserve().await, system.reserve().await);
    let page = system.pay(closed, None).await.unwrap();
    system.cancel(closed).await;
    system.until("the end", closed, |row| row["status"] == "FAILED").await;
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 410);

    let page = system.pay(late, None).await.unwrap();
    system.switch(failing());
    system.cancel(late).await;
    system.until("the ending", late, |row| row["stage"] == "ENDING").await;
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 303);
    system.until("the money", late, |row| row["status"] == "SUCCEEDED").await;
    let success: Vec<PaymentSuccess> = system.published(1).await;
    assert_eq!(success[0].reservation_id, late);
    system.close().await;
}

#[tokio::test]
async fn an_attempt_unknown_to_the_provider_needs_attention_and_does_not_fail_the_payment() {
    let mut system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let page = system.pay(reservation, None).await.unwrap();
    system.hosts.remove(0).stop().await;
    let other = r#"update payment.payments set checkpoint =
        jsonb_set(checkpoint, '{attempts,0,session}', '"cs_test_of_another_account"')"#;
    sqlx::query(other).execute(&system.servers.database).await.unwrap();
    system.start_host().await;
    assert_eq!(system.end(reservation).await, PaymentEnd::Unknown);
    assert_eq!(system.get(page.id).await.status, PaymentStatus::Processing);
    let row = system.row(reservation).await;
    assert_eq!(row["attention"], "the provider does not know attempt 1");
    assert!(!row["next_check_at"].is_null(), "it will be looked up again");
    system.published::<PaymentFailed>(0).await;
    system.close().await;
}

//! Ends, lost answers, dead hosts, doubled and late money, an ill provider.

use bus::contract::payment::{PaymentFailed, PaymentStatus, PaymentSuccess};
use sandbox::FailCalls;

use super::*;

fn ill() -> Switches {
    let fail_calls = Some(FailCalls { status: 503, next: -1, path_prefix: None, kept: false });
    Switches { fail_calls, ..Switches::default() }
}

#[tokio::test]
async fn ending_a_payment_closes_the_page_and_allows_no_new_attempt() {
    let till = Till::open().await;
    let (untried, open) = (till.reserve().await, till.reserve().await);
    assert_eq!(till.end(untried).await, PaymentEnd::Over);
    let page = till.pay(open, None).await.unwrap();
    assert_eq!(till.end(open).await, PaymentEnd::Over);
    assert_eq!(till.end(open).await, PaymentEnd::Over, "it may be repeated");
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 410);
    let over = till.pay(open, None).await.unwrap_err();
    assert_eq!((over.status, over.code.as_str()), (409, "payment-over"));
    assert_eq!(till.get(page.id).await.status, PaymentStatus::Failed);
    let failed: Vec<PaymentFailed> = till.said(2).await;
    assert!(failed.iter().all(|event| event.code == "hold-expired"));
    till.close().await;
}

#[tokio::test]
async fn ending_a_payment_finds_a_capture_whose_webhook_was_lost() {
    let till = Till::open().await;
    till.switch(Switches { webhook_drop: true, ..Switches::default() });
    let reservation = till.reserve().await;
    let page = till.pay(reservation, None).await.unwrap();
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 303);
    let PaymentEnd::Captured { success } = till.end(reservation).await else { panic!() };
    assert_eq!((success.payment_id, success.total), (page.id, PRICE));
    assert_eq!(till.said::<PaymentSuccess>(1).await, [success]);
    till.close().await;
}

#[tokio::test]
async fn ending_a_payment_while_the_provider_does_not_answer_is_unknown_and_completes_later() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let page = till.pay(reservation, None).await.unwrap();
    till.switch(ill());
    assert_eq!(till.end(reservation).await, PaymentEnd::Unknown);
    assert_eq!(till.get(page.id).await.status, PaymentStatus::Processing);
    till.switch(Switches::default());
    till.until("the end", reservation, |row| row["status"] == "FAILED").await;
    assert_eq!(till.end(reservation).await, PaymentEnd::Over);
    till.said::<PaymentFailed>(1).await;
    till.close().await;
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_repeated_under_the_same_key() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    till.switch(Switches { answer_lost: 1, ..Switches::default() });
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    assert_eq!((paid.status, paid.attempts.len()), (PaymentStatus::Succeeded, 1));
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.close().await;
}

#[tokio::test]
async fn a_charge_without_an_answer_is_looked_up_later_and_its_key_gets_the_answer() {
    let till = Till::open().await;
    till.switch(Switches { webhook_drop: true, answer_lost: 3, ..Switches::default() });
    let reservation = till.reserve().await;
    let away = till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((away.status, away.retry_after), (503, Some(1)));
    let running = till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap_err();
    assert_eq!((running.status, running.code.as_str()), (409, "idempotency-running"));
    till.until("what became of it", reservation, |row| row["status"] == "SUCCEEDED").await;
    let answer = till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    let answer: Payment = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer.status, PaymentStatus::Succeeded);
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.said::<PaymentSuccess>(1).await;
    till.close().await;
}

#[tokio::test]
async fn ending_a_payment_whose_charge_got_no_answer_cancels_the_charge() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    till.switch(ill());
    assert_eq!(till.pay(reservation, Some("pm_card_visa")).await.unwrap_err().status, 503);
    till.switch(Switches::default());
    assert_eq!(till.end(reservation).await, PaymentEnd::Over);
    let intents = till.provider("payment_intents").await;
    assert_eq!(
        (intents.len(), &intents[0]["status"]),
        (1, &Value::from("canceled")),
        "charged nothing, ever"
    );
    till.said::<PaymentFailed>(1).await;
    till.close().await;
}

#[tokio::test]
async fn a_charge_of_a_killed_host_is_completed_by_the_next_host() {
    let mut till = Till::open().await;
    till.switch(Switches { webhook_drop: true, call_delay_ms: 1_500, ..Switches::default() });
    let reservation = till.reserve().await;
    let paying = till.pay_raw(reservation, Some("pm_card_visa"), "key");
    let dying = async {
        till.until("the attempt", reservation, |row| row["status"] == "PROCESSING").await;
    };
    tokio::select! {
        answered = paying => panic!("answered before the host died: {answered:?}"),
        () = dying => {}
    }
    till.hosts.remove(0).kill();
    till.switch(Switches { webhook_drop: true, ..Switches::default() });
    till.start_host().await;
    till.until("what became of it", reservation, |row| row["status"] == "SUCCEEDED").await;
    till.pay_raw(reservation, Some("pm_card_visa"), "key").await.unwrap();
    assert_eq!(till.provider("payment_intents").await.len(), 1);
    till.said::<PaymentSuccess>(1).await;
    till.close().await;
}

#[tokio::test]
async fn a_second_capture_is_refunded_by_payment_itself() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    let form = [
        ("amount", "2400".to_owned()),
        ("currency", "eur".to_owned()),
        ("payment_method", "pm_card_visa".to_owned()),
        ("confirm", "true".to_owned()),
        ("metadata[payment_id]", paid.id.to_string()),
        ("metadata[reservation_id]", reservation.to_string()),
        ("metadata[attempt]", "1".to_owned()),
    ];
    let url = format!("{}/v1/payment_intents", till.sandbox.url());
    let charged = till.http.post(url).bearer_auth(API_KEY).form(&form).send().await.unwrap();
    assert_eq!(charged.status(), 200);
    let refunded = "select count(*) from payment.refunds where origin = 'OWN' and status = 'COMPLETED'";
    till.system.until("the refund", async |_| till.count(refunded).await == 1).await;
    let refunds = till.provider("refunds").await;
    let accepted = paid.attempts[0].provider_ref.as_deref().unwrap();
    assert_eq!((refunds.len(), &refunds[0]["amount"]), (1, &Value::from(2400)));
    assert_ne!(refunds[0]["payment_intent"], accepted, "the accepted one stays");
    assert_eq!(till.get(paid.id).await.status, PaymentStatus::Succeeded);
    till.said::<PaymentSuccess>(1).await;
    till.said::<bus::contract::payment::RefundCompleted>(0).await;
    till.close().await;
}

#[tokio::test]
async fn a_cancelled_reservation_closes_its_page_and_a_late_capture_is_published() {
    let till = Till::open().await;
    let (closed, late) = (till.reserve().await, till.reserve().await);
    let page = till.pay(closed, None).await.unwrap();
    till.cancel(closed).await;
    till.until("the end", closed, |row| row["status"] == "FAILED").await;
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 410);

    let page = till.pay(late, None).await.unwrap();
    till.switch(ill());
    till.cancel(late).await;
    till.until("the ending", late, |row| row["stage"] == "ENDING").await;
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 303);
    till.until("the money", late, |row| row["status"] == "SUCCEEDED").await;
    let success: Vec<PaymentSuccess> = till.said(1).await;
    assert_eq!(success[0].reservation_id, late);
    till.close().await;
}

#[tokio::test]
async fn an_attempt_unknown_to_the_provider_needs_attention_and_does_not_fail_the_payment() {
    let mut till = Till::open().await;
    let reservation = till.reserve().await;
    let page = till.pay(reservation, None).await.unwrap();
    till.hosts.remove(0).stop().await;
    let other = r#"update payment.payments set checkpoint =
        jsonb_set(checkpoint, '{attempts,0,session}', '"cs_test_of_another_account"')"#;
    sqlx::query(other).execute(&till.system.database).await.unwrap();
    till.start_host().await;
    assert_eq!(till.end(reservation).await, PaymentEnd::Unknown);
    assert_eq!(till.get(page.id).await.status, PaymentStatus::Processing);
    let row = till.row(reservation).await;
    assert_eq!(row["attention"], "the provider does not know attempt 1");
    assert!(!row["next_check_at"].is_null(), "it is asked about again");
    till.said::<PaymentFailed>(0).await;
    till.close().await;
}

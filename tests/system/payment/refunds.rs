//! Refunds requested by the saga: in part, in full, too much, twice, and with a bank that fails.

use bus::contract::payment::{GetRefund, PaymentStatus, RefundAnswer, RefundCompleted, RefundFailed};
use bus::contract::reservation::RefundStatus;

use super::*;

#[tokio::test]
async fn a_payment_is_refunded_in_parts_up_to_the_captured_amount() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    let (part, rest, much) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    system.request_refund(&paid, part, 1000).await;
    system.until("the part", reservation, |row| row["status"] == "PARTIALLY_REFUNDED").await;
    system.request_refund(&paid, much, 1500).await;
    let failed: Vec<RefundFailed> = system.published(1).await;
    assert_eq!((failed[0].refund_id, failed[0].code.as_deref()), (much, Some("exceeds-captured")));
    system.request_refund(&paid, rest, 1400).await;
    system.until("the rest", reservation, |row| row["status"] == "REFUNDED").await;
    system.published::<RefundCompleted>(2).await;

    // A repeated event changes nothing; the result of a refund is read by a request.
    system.request_refund(&paid, part, 1000).await;
    let ask = async |refund_id| {
        let request = GetRefund { refund_id, reservation_id: reservation };
        system.servers.ask(&request, None).await.unwrap()
    };
    assert!(matches!(ask(part).await, RefundAnswer::Completed { version } if version > 0));
    assert!(
        matches!(ask(much).await, RefundAnswer::Failed { code: Some(code), .. } if code == "exceeds-captured")
    );
    assert_eq!(ask(Uuid::now_v7()).await, RefundAnswer::Unknown);
    system.published::<RefundCompleted>(2).await;
    assert_eq!(system.provider("refunds").await.len(), 2, "a repeated request refunds nothing again");
    let shown = system.get(paid.id).await;
    let statuses: Vec<RefundStatus> = shown.refunds.iter().map(|refund| refund.status).collect();
    assert_eq!(statuses, [RefundStatus::Completed, RefundStatus::Failed, RefundStatus::Completed]);
    system.close().await;
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_made_once() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.switch(Switches { answer_lost: 2, ..Switches::default() });
    system.request_refund(&paid, Uuid::now_v7(), 2400).await;
    system.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    assert_eq!(system.provider("refunds").await.len(), 1);
    system.published::<RefundCompleted>(1).await;
    system.close().await;
}

#[tokio::test]
async fn a_refund_that_fails_at_the_bank_is_tried_three_times_and_then_published_as_failed() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.switch(Switches { refunds_fail: true, ..Switches::default() });
    system.request_refund(&paid, Uuid::now_v7(), 2400).await;
    let failed: Vec<RefundFailed> = system.published(1).await;
    assert_eq!(failed[0].code.as_deref(), Some("expired_or_canceled_card"));
    assert_eq!(system.provider("refunds").await.len(), 3);
    assert_eq!(system.get(paid.id).await.status, PaymentStatus::Succeeded, "the money is not refunded");

    // The bank works again: another refund succeeds.
    system.switch(Switches::default());
    system.request_refund(&paid, Uuid::now_v7(), 2400).await;
    system.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    system.close().await;
}

//! Refunds that the saga requests: in part, in full, too much, again, and by a bank that fails.

use bus::contract::payment::{GetRefund, PaymentStatus, RefundAnswer, RefundCompleted, RefundFailed};
use bus::contract::reservation::RefundStatus;

use super::*;

#[tokio::test]
async fn a_payment_is_refunded_in_parts_up_to_the_captured_amount() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    let (part, rest, much) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    till.give_back(&paid, part, 1000).await;
    till.until("the part", reservation, |row| row["status"] == "PARTIALLY_REFUNDED").await;
    till.give_back(&paid, much, 1500).await;
    let failed: Vec<RefundFailed> = till.said(1).await;
    assert_eq!((failed[0].refund_id, failed[0].code.as_deref()), (much, Some("exceeds-captured")));
    till.give_back(&paid, rest, 1400).await;
    till.until("the rest", reservation, |row| row["status"] == "REFUNDED").await;
    till.said::<RefundCompleted>(2).await;

    // The same event again changes nothing; how the refund went is requested.
    till.give_back(&paid, part, 1000).await;
    let ask = async |refund_id| {
        let request = GetRefund { refund_id, reservation_id: reservation };
        till.system.ask(&request, None).await.unwrap()
    };
    assert!(matches!(ask(part).await, RefundAnswer::Completed { version } if version > 0));
    assert!(
        matches!(ask(much).await, RefundAnswer::Failed { code: Some(code), .. } if code == "exceeds-captured")
    );
    assert_eq!(ask(Uuid::now_v7()).await, RefundAnswer::Unknown);
    till.said::<RefundCompleted>(2).await;
    assert_eq!(till.provider("refunds").await.len(), 2, "and not given back again");
    let shown = till.get(paid.id).await;
    let statuses: Vec<RefundStatus> = shown.refunds.iter().map(|refund| refund.status).collect();
    assert_eq!(statuses, [RefundStatus::Completed, RefundStatus::Failed, RefundStatus::Completed]);
    till.close().await;
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_made_once() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    till.switch(Switches { answer_lost: 2, ..Switches::default() });
    till.give_back(&paid, Uuid::now_v7(), 2400).await;
    till.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    assert_eq!(till.provider("refunds").await.len(), 1);
    till.said::<RefundCompleted>(1).await;
    till.close().await;
}

#[tokio::test]
async fn a_refund_that_fails_at_the_bank_is_tried_three_times_and_then_published_as_failed() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    till.switch(Switches { refunds_fail: true, ..Switches::default() });
    till.give_back(&paid, Uuid::now_v7(), 2400).await;
    let failed: Vec<RefundFailed> = till.said(1).await;
    assert_eq!(failed[0].code.as_deref(), Some("expired_or_canceled_card"));
    assert_eq!(till.provider("refunds").await.len(), 3);
    assert_eq!(till.get(paid.id).await.status, PaymentStatus::Succeeded, "the money is still here");

    // The bank is well again: another refund goes through.
    till.switch(Switches::default());
    till.give_back(&paid, Uuid::now_v7(), 2400).await;
    till.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    till.close().await;
}

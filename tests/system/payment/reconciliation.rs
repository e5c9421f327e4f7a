//! Webhooks that never come: the provider's own list of events tells the same, once, by whichever host reads it.

use bus::contract::payment::{DisputeStatus, PaymentStatus, PaymentSuccess, RefundCompleted};

use super::*;

/// Webhooks get lost, and nobody but the list of events tells.
fn deaf() -> Switches {
    Switches { webhook_drop: true, ..Switches::default() }
}

#[tokio::test]
async fn a_paid_page_is_found_in_the_providers_list_of_events() {
    let till = Till::open_reading(Duration::from_secs(1)).await;
    till.switch(deaf());
    let reservation = till.reserve().await;
    let page = till.pay(reservation, None).await.unwrap();
    assert_eq!(till.pay_on_page(&page, "4000000000000259").await, 303);
    let row = till.until("the success", reservation, |row| row["status"] == "SUCCEEDED").await;
    assert!(row["expires_at"].as_str() > row["paid_at"].as_str(), "no deadline had to ask");
    till.said::<PaymentSuccess>(1).await;
    // The dispute came by the same way, without any metadata of ours on it.
    till.system.until("the dispute", async |_| !till.get(page.id).await.disputes.is_empty()).await;
    assert_eq!(till.get(page.id).await.disputes[0].status, DisputeStatus::Open);
    // The webhooks come after all: nothing changes.
    let before = till.row(reservation).await["version"].clone();
    till.switch(Switches::default());
    let flush = format!("{}/sandbox/webhooks/flush", till.sandbox.url());
    till.http.post(flush).send().await.unwrap();
    till.system
        .until("every webhook", async |_| {
            till.provider("events").await.iter().all(|event| event["pending_webhooks"] == 0)
        })
        .await;
    assert_eq!(till.row(reservation).await["version"], before);
    till.said::<PaymentSuccess>(1).await;
    till.close().await;
}

#[tokio::test]
async fn payments_made_while_no_host_ran_are_found_at_the_next_start() {
    let mut till = Till::open_reading(Duration::from_secs(1)).await;
    till.switch(deaf());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let reservation = till.reserve().await;
        waiting.push((reservation, till.pay(reservation, None).await.unwrap()));
    }
    for host in till.hosts.drain(..) {
        host.stop().await;
    }
    for (_, page) in &waiting {
        assert_eq!(till.pay_on_page(page, "4242424242424242").await, 303);
    }
    // Two hosts share the reading.
    till.start_host().await;
    till.start_host().await;
    for (reservation, _) in &waiting {
        till.until("the success", *reservation, |row| row["status"] == "SUCCEEDED").await;
    }
    till.said::<PaymentSuccess>(3).await;
    till.close().await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_to_its_end_despite_failures_of_the_provider() {
    let till = Till::open_reading(Duration::from_secs(1)).await;
    till.switch(deaf());
    let first = till.reserve().await;
    let page = till.pay(first, None).await.unwrap();
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 303);
    // Others' sales push it far down the list, before anybody has read it.
    let ill =
        sandbox::FailCalls { status: 503, next: -1, path_prefix: Some("/v1/events".into()), kept: false };
    till.switch(Switches { fail_calls: Some(ill), ..deaf() });
    for number in 0..230 {
        let key = format!("other-{number}");
        let form =
            [("amount", "900"), ("currency", "eur"), ("payment_method", "pm_card_visa"), ("confirm", "true")];
        let sale = till.http.post(format!("{}/v1/payment_intents", till.sandbox.url())).form(&form);
        let sale = sale.bearer_auth(API_KEY).header("Idempotency-Key", key).send().await.unwrap();
        assert!(sale.status().is_success());
    }
    till.switch(deaf());
    till.until("the success", first, |row| row["status"] == "SUCCEEDED").await;
    let others = "select count(*) from payment.provider_events where payment_id is null";
    till.system.until("the whole list", async |_| till.count(others).await == 230).await;
    till.system
        .until("the end of the pass", async |_| {
            till.count("select count(*) from payment.reconciliation where pass_began is null and version > 3")
                .await
                == 1
        })
        .await;
    till.close().await;
}

#[tokio::test]
async fn a_failed_refund_whose_webhooks_are_lost_is_found_and_retried() {
    let till = Till::open_reading(Duration::from_secs(1)).await;
    let reservation = till.reserve().await;
    let paid = till.pay(reservation, Some("pm_card_visa")).await.unwrap();
    till.switch(Switches { refunds_fail: true, ..deaf() });
    till.give_back(&paid, Uuid::now_v7(), 2400).await;
    till.system
        .until("a try that failed", async |_| {
            let tries = "select count(*) from payment.refunds where tries > 1";
            till.count(tries).await == 1
        })
        .await;
    till.switch(deaf());
    till.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    till.said::<RefundCompleted>(1).await;
    assert_eq!(till.get(paid.id).await.status, PaymentStatus::Refunded);
    till.close().await;
}

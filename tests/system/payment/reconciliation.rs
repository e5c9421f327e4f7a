//! Lost webhooks: the hosts read the same events, once each, from the provider's list.

use bus::contract::payment::{DisputeStatus, PaymentStatus, PaymentSuccess, RefundCompleted};

use super::*;

/// Every webhook is lost.
fn without_webhooks() -> Switches {
    Switches { webhook_drop: true, ..Switches::default() }
}

#[tokio::test]
async fn a_paid_page_is_found_in_the_providers_list_of_events() {
    let system = PaymentSystem::open_reconciling(Duration::from_secs(1)).await;
    system.switch(without_webhooks());
    let reservation = system.reserve().await;
    let page = system.pay(reservation, None).await.unwrap();
    assert_eq!(system.pay_on_page(&page, "4000000000000259").await, 303);
    let row = system.until("the success", reservation, |row| row["status"] == "SUCCEEDED").await;
    assert!(
        row["expires_at"].as_str() > row["paid_at"].as_str(),
        "it was found before a deadline would have looked it up"
    );
    system.published::<PaymentSuccess>(1).await;
    // The dispute is found in the same list, although it has no metadata of ours.
    system.servers.until("the dispute", async |_| !system.get(page.id).await.disputes.is_empty()).await;
    assert_eq!(system.get(page.id).await.disputes[0].status, DisputeStatus::Open);
    // The webhooks are delivered late: nothing changes.
    let before = system.row(reservation).await["version"].clone();
    system.switch(Switches::default());
    let flush = format!("{}/sandbox/webhooks/flush", system.sandbox.url());
    system.http.post(flush).send().await.unwrap();
    system
        .servers
        .until("every webhook", async |_| {
            system.provider("events").await.iter().all(|event| event["pending_webhooks"] == 0)
        })
        .await;
    assert_eq!(system.row(reservation).await["version"], before);
    system.published::<PaymentSuccess>(1).await;
    system.close().await;
}

#[tokio::test]
async fn payments_made_while_no_host_ran_are_found_at_the_next_start() {
    let mut system = PaymentSystem::open_reconciling(Duration::from_secs(1)).await;
    system.switch(without_webhooks());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let reservation = system.reserve().await;
        waiting.push((reservation, system.pay(reservation, None).await.unwrap()));
    }
    for host in system.hosts.drain(..) {
        host.stop().await;
    }
    for (_, page) in &waiting {
        assert_eq!(system.pay_on_page(page, "4242424242424242").await, 303);
    }
    // Two hosts share the work.
    system.start_host().await;
    system.start_host().await;
    for (reservation, _) in &waiting {
        system.until("the success", *reservation, |row| row["status"] == "SUCCEEDED").await;
    }
    system.published::<PaymentSuccess>(3).await;
    system.close().await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_to_its_end_despite_failures_of_the_provider() {
    let system = PaymentSystem::open_reconciling(Duration::from_secs(1)).await;
    system.switch(without_webhooks());
    let first = system.reserve().await;
    let page = system.pay(first, None).await.unwrap();
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 303);
    // 230 other sales move the event far down the list before a host can read it.
    let failing =
        sandbox::FailCalls { status: 503, next: -1, path_prefix: Some("/v1/events".into()), kept: false };
    system.switch(Switches { fail_calls: Some(failing), ..without_webhooks() });
    for number in 0..230 {
        let key = format!("other-{number}");
        let form =
            [("amount", "900"), ("currency", "eur"), ("payment_method", "pm_card_visa"), ("confirm", "true")];
        let sale = system.http.post(format!("{}/v1/payment_intents", system.sandbox.url())).form(&form);
        let sale = sale.bearer_auth(API_KEY).header("Idempotency-Key", key).send().await.unwrap();
        assert!(sale.status().is_success());
    }
    system.switch(without_webhooks());
    system.until("the success", first, |row| row["status"] == "SUCCEEDED").await;
    let others = "select count(*) from payment.provider_events where payment_id is null";
    system.servers.until("the whole list", async |_| system.count(others).await == 230).await;
    system
        .servers
        .until("the end of the pass", async |_| {
            system
                .count("select count(*) from payment.reconciliation where pass_began is null and version > 3")
                .await
                == 1
        })
        .await;
    system.close().await;
}

#[tokio::test]
async fn a_failed_refund_whose_webhooks_are_lost_is_found_and_retried() {
    let system = PaymentSystem::open_reconciling(Duration::from_secs(1)).await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.switch(Switches { refunds_fail: true, ..without_webhooks() });
    system.request_refund(&paid, Uuid::now_v7(), 2400).await;
    system
        .servers
        .until("a try that failed", async |_| {
            let tries = "select count(*) from payment.refunds where tries > 1";
            system.count(tries).await == 1
        })
        .await;
    system.switch(without_webhooks());
    system.until("the refund", reservation, |row| row["status"] == "REFUNDED").await;
    system.published::<RefundCompleted>(1).await;
    assert_eq!(system.get(paid.id).await.status, PaymentStatus::Refunded);
    system.close().await;
}

//! Everything that was answered survives the process. A copy of the log, taken when an answer arrives, has the content that a
//! `kill -9` at that moment would leave; a dropped `TestSandbox` is the same, with the port freed.

use std::io::Write;

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_restart_keeps_payments_refunds_sessions_keys_and_events() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let (_, first) = sandbox.post_once("k", "/v1/payment_intents", &charge_of("pm_card_visa", "2400")).await;
    let (_, declined) =
        sandbox.post_once("d", "/v1/payment_intents", &charge_of("pm_card_chargeDeclined", "900")).await;
    let id = text(&first.1["id"]);
    let (_, refund) = sandbox.post("/v1/refunds", &[("payment_intent", &id), ("amount", "400")]).await;
    let session = sandbox.session().await;
    sandbox.pay(&session, "4000000000000002").await;
    let (_, events) = sandbox.get("/v1/events?limit=100").await;
    drop(sandbox);

    let sandbox = TestSandbox::open(&folder).await;
    let params = charge_of("pm_card_visa", "2400");
    assert_eq!(sandbox.post_once("k", "/v1/payment_intents", &params).await, (true, first));
    let params = charge_of("pm_card_chargeDeclined", "900");
    assert_eq!(sandbox.post_once("d", "/v1/payment_intents", &params).await, (true, declined));
    assert_eq!(sandbox.get(&format!("/v1/refunds/{}", text(&refund["id"]))).await.1, refund);
    assert_eq!(sandbox.get("/v1/events?limit=100").await.1, events);
    assert_eq!(sandbox.count("/v1/payment_intents").await, 3);
    let (status, body) = sandbox.post("/v1/refunds", &[("payment_intent", &id), ("amount", "2001")]).await;
    assert_eq!(status, 400, "the earlier refund still counts: {body}");
    assert_eq!(sandbox.pay(&session, "4242424242424242").await.status(), 303);
    sandbox.running.stop().await;
}

#[tokio::test]
async fn every_answer_is_in_the_log_when_it_arrives() {
    let (folder, copies) = (Folder::new(), Folder::new());
    let sandbox = TestSandbox::open(&folder).await;
    for round in 0..20 {
        let id = sandbox.paid("2400").await;
        let copy = copies.0.join(format!("{round}.jsonl"));
        std::fs::copy(folder.log(), &copy).unwrap();
        let after_kill = TestSandbox::with(&copy, None).await;
        assert_eq!(after_kill.get(&format!("/v1/payment_intents/{id}")).await.0, 200);
        assert_eq!(after_kill.count("/v1/payment_intents?limit=100").await, round + 1);
    }
}

#[tokio::test]
async fn a_truncated_last_line_is_removed_and_the_rest_stays() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let id = sandbox.paid("2400").await;
    drop(sandbox);
    let mut log = std::fs::File::options().append(true).open(folder.log()).unwrap();
    log.write_all(br#"[{"intent":{"id":"pi_cut","amo"#).unwrap();
    drop(log);
    for payments in [1, 2] {
        let sandbox = TestSandbox::open(&folder).await;
        assert_eq!(sandbox.count("/v1/payment_intents").await, payments);
        assert_eq!(sandbox.get(&format!("/v1/payment_intents/{id}")).await.0, 200);
        sandbox.paid("900").await;
    }
}

#[tokio::test]
async fn an_unreadable_line_in_the_middle_fails_the_start() {
    let folder = Folder::new();
    std::fs::write(folder.log(), "[{\"intent\":\n[]\n").unwrap();
    let config = Config {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        log_file: folder.log(),
        webhook_url: None,
        webhook_secret: SECRET.into(),
        api_key: KEY.into(),
        public_url: None,
    };
    let error = crate::start(config).await.err().expect("refused");
    assert!(format!("{error:#}").contains("line 1"), "{error:#}");
}

#[tokio::test]
async fn webhooks_that_did_not_arrive_are_sent_after_a_restart_and_the_others_are_not() {
    let (folder, shop) = (Folder::new(), Shop::open().await);
    let sandbox = TestSandbox::with(&folder.log(), Some(shop.url())).await;
    sandbox.paid("900").await;
    let arrived = shop.until(1).await.remove(0);
    settled(&sandbox, &arrived.id()).await;
    sandbox.running.set_switches(Switches { webhook_drop: true, ..Switches::default() });
    let missed = sandbox.paid("2400").await;
    sandbox.running.stop().await;

    let sandbox = TestSandbox::with(&folder.log(), Some(shop.url())).await;
    let later = sandbox.paid("1300").await;
    let received = shop.until(3).await;
    let about: Vec<_> =
        received[1..].iter().map(|received| received.event()["data"]["object"]["id"].clone()).collect();
    assert!(about.contains(&json!(missed)) && about.contains(&json!(later)), "{received:?}");
}

#[tokio::test]
async fn a_stopped_sandbox_frees_its_log_at_once_and_a_second_one_waits_for_it() {
    let folder = Folder::new();
    let first = TestSandbox::open(&folder).await;
    let id = first.paid("2400").await;
    let (second, ()) = tokio::join!(TestSandbox::open(&folder), first.running.stop());
    assert_eq!(second.get(&format!("/v1/payment_intents/{id}")).await.0, 200);
}

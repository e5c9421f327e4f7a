//! Webhooks to the shop, with delays, repeats, reordering and failures.

use std::collections::HashSet;

use serde_json::json;

use super::*;

async fn connected() -> (Folder, Shop, TestSandbox) {
    let (folder, shop) = (Folder::new(), Shop::open().await);
    let sandbox = TestSandbox::with(&folder.log(), Some(shop.url())).await;
    (folder, shop, sandbox)
}

/// HMAC by its definition (RFC 2104) over plain SHA-256, so that the signature is not verified by the code that made it.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    assert!(key.len() <= 64);
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect() };
    let hash = |first: Vec<u8>, rest: &[u8]| {
        ring::digest::digest(&ring::digest::SHA256, &[first.as_slice(), rest].concat()).as_ref().to_vec()
    };
    hex::encode(hash(pad(0x5c), &hash(pad(0x36), message)))
}

#[tokio::test]
async fn an_event_is_signed_over_its_raw_body() {
    let (_folder, shop, sandbox) = connected().await;
    let id = sandbox.paid("2400").await;
    let received = shop.until(1).await.remove(0);
    let event = received.event();
    assert_eq!((&event["type"], &event["object"]), (&json!("payment_intent.succeeded"), &json!("event")));
    assert_eq!((&event["data"]["object"]["id"], &event["livemode"]), (&json!(id), &json!(false)));
    assert!(event["created"].is_i64() && event["api_version"].is_string() && event["request"].is_object());
    let (time, signature) = received.signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    assert!(time.parse::<i64>().unwrap().abs_diff(crate::provider::unix_now()) < 30);
    assert_eq!(signature, hmac_sha256(SECRET.as_bytes(), format!("{time}.{}", received.raw).as_bytes()));
}

#[test]
fn the_signature_agrees_with_a_published_vector() {
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hmac_sha256(b"Jefe", b"what do ya want for nothing?"), expected);
}

#[tokio::test]
async fn every_outcome_has_its_event() {
    let (_folder, shop, sandbox) = connected().await;
    let id = sandbox.paid("2400").await;
    sandbox.charge("pm_card_chargeDeclined", "2400").await;
    let (_, open) = sandbox.post("/v1/payment_intents", &[("amount", "2400"), ("currency", "eur")]).await;
    sandbox.post(&format!("/v1/payment_intents/{}/cancel", text(&open["id"])), &[]).await;
    sandbox.post("/v1/refunds", &[("payment_intent", &id), ("amount", "400")]).await;
    let session = sandbox.session().await;
    sandbox.pay(&session, "4242424242424242").await;
    let received = shop.until(8).await;
    let mut kinds: Vec<_> = received.iter().map(ReceivedWebhook::kind).collect();
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "charge.refunded",
            "checkout.session.completed",
            "payment_intent.canceled",
            "payment_intent.payment_failed",
            "payment_intent.succeeded",
            "payment_intent.succeeded",
            "refund.created",
            "refund.updated",
        ]
    );
    let refunded = received.iter().find(|received| received.kind() == "charge.refunded").unwrap().event();
    let charge = &refunded["data"]["object"];
    assert_eq!((&charge["object"], &charge["payment_intent"]), (&json!("charge"), &json!(id)));
    assert_eq!((&charge["amount_refunded"], &charge["refunded"]), (&json!(400), &json!(false)));
}

#[tokio::test]
async fn a_failed_webhook_is_sent_again() {
    let (_folder, shop, sandbox) = connected().await;
    shop.answer_first(&[500, 404]);
    sandbox.paid("2400").await;
    let received = shop.until(3).await;
    let ids: HashSet<_> = received.iter().map(ReceivedWebhook::id).collect();
    assert_eq!(ids.len(), 1, "{received:?}");
    settled(&sandbox, &received[0].id()).await;
}

#[tokio::test]
async fn a_duplicated_webhook_is_sent_twice_with_one_id() {
    let (_folder, shop, sandbox) = connected().await;
    sandbox.running.set_switches(Switches { webhook_duplicate: true, ..Switches::default() });
    sandbox.paid("2400").await;
    let received = shop.until(2).await;
    assert_eq!(received[0].id(), received[1].id());
}

#[tokio::test]
async fn a_reordered_pair_is_sent_in_reverse() {
    let (_folder, shop, sandbox) = connected().await;
    sandbox.running.set_switches(Switches { webhook_reorder: true, ..Switches::default() });
    let session = sandbox.session().await;
    sandbox.pay(&session, "4242424242424242").await;
    shop.until(2).await;
    assert_eq!(shop.kinds(), ["checkout.session.completed", "payment_intent.succeeded"]);
}

#[tokio::test]
async fn a_delayed_webhook_is_sent_after_the_delay() {
    let (_folder, shop, sandbox) = connected().await;
    sandbox.running.set_switches(Switches { webhook_delay_ms: 400, ..Switches::default() });
    let begun = std::time::Instant::now();
    sandbox.paid("2400").await;
    shop.until(1).await;
    assert!(begun.elapsed().as_millis() >= 400);
}

#[tokio::test]
async fn dropped_webhooks_are_withheld_until_flushed_and_their_events_are_listed() {
    let (_folder, shop, sandbox) = connected().await;
    let switches = |body: Value| {
        sandbox.client.post(format!("{}/sandbox/switches", sandbox.running.url())).json(&body).send()
    };
    assert_eq!(switches(json!({"webhook_drop": true})).await.unwrap().status(), 200);
    let dropped = sandbox.paid("2400").await;
    let (_, events) = sandbox.get("/v1/events").await;
    assert_eq!(events["data"][0]["data"]["object"]["id"], json!(dropped));
    assert_eq!(switches(json!({})).await.unwrap().status(), 200);
    assert_eq!(switches(json!({"webhook_dropp": true})).await.unwrap().status(), 400, "a typo is refused");
    let later = sandbox.paid("900").await;
    assert_eq!(shop.until(1).await[0].event()["data"]["object"]["id"], json!(later), "the first is withheld");
    let flush = format!("{}/sandbox/webhooks/flush", sandbox.running.url());
    let (_, released) = reply(sandbox.client.post(flush).send().await.unwrap()).await;
    assert_eq!(released, json!({"released": 1}));
    assert_eq!(shop.until(2).await[1].event()["data"]["object"]["id"], json!(dropped));
}

#[tokio::test]
async fn a_refund_that_fails_is_pending_first() {
    let (_folder, shop, sandbox) = connected().await;
    sandbox.running.set_switches(Switches { refunds_fail: true, ..Switches::default() });
    let id = sandbox.paid("2400").await;
    let params = [("payment_intent", id.as_str())];
    let (_, (status, refund)) = sandbox.post_once("r", "/v1/refunds", &params).await;
    assert_eq!((status, &refund["status"]), (200, &json!("pending")));
    let (_, now) = sandbox.get(&format!("/v1/refunds/{}", text(&refund["id"]))).await;
    assert_eq!(now["status"], json!("failed"));
    let (replayed, (_, again)) = sandbox.post_once("r", "/v1/refunds", &params).await;
    assert_eq!((replayed, &again), (true, &refund));
    shop.until(4).await;
    assert!(shop.kinds().contains(&"refund.failed".to_owned()), "{:?}", shop.kinds());
    sandbox.running.set_switches(Switches::default());
    assert_eq!(sandbox.post("/v1/refunds", &params).await.0, 200, "what failed was not given back");
}

#[tokio::test]
async fn webhooks_wait_for_an_address() {
    let (folder, shop) = (Folder::new(), Shop::open().await);
    let sandbox = TestSandbox::open(&folder).await;
    let id = sandbox.paid("2400").await;
    sandbox.running.set_webhook_url(shop.url());
    assert_eq!(shop.until(1).await[0].event()["data"]["object"]["id"], json!(id));
}

#[tokio::test]
async fn switches_are_served_on_loopback_only() {
    let folder = Folder::new();
    let config = Config {
        addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        log_file: folder.log(),
        webhook_url: None,
        webhook_secret: SECRET.into(),
        api_key: KEY.into(),
        public_url: None,
    };
    let running = crate::start(config).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/sandbox/switches", running.url())).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

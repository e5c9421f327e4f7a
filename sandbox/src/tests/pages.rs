//! Hosted sessions and the pay page.

use serde_json::json;

use super::*;

#[tokio::test]
async fn paying_on_the_page_redirects_to_the_shop() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    assert_eq!((&session["status"], &session["payment_status"]), (&json!("open"), &json!("unpaid")));
    assert_eq!((&session["amount_total"], &session["payment_intent"]), (&json!(2400), &json!(null)));
    let id = text(&session["id"]);
    assert!(id.starts_with("cs_test_"));
    assert_eq!(session["url"], json!(format!("{}/pay/{id}", sandbox.running.url())));
    let (status, page) = sandbox.view_page(&session).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("EUR 24.00") && page.contains("Seats &lt;C7&gt; &amp; C8") && !page.contains("<script")
    );

    let answer = sandbox.pay(&session, "4242 4242 4242 4242").await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], format!("http://shop.test/done?session={id}"));
    let (_, session) = sandbox.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!((&session["status"], &session["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(session["url"], json!(null));
    let (_, intent) = sandbox.get(&format!("/v1/payment_intents/{}", text(&session["payment_intent"]))).await;
    assert_eq!((&intent["status"], &intent["amount"]), (&json!("succeeded"), &json!(2400)));
    assert_eq!(intent["metadata"], json!({"payment_id": "p-1"}));
}

#[tokio::test]
async fn the_page_is_in_the_language_of_the_session_and_says_what_is_bought() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let expires_at = (crate::provider::unix_now() + 3600).to_string();
    let mut session = session_of(&expires_at).to_vec();
    session.push(("locale", "de"));
    session.push(("line_items[0][price_data][product_data][description]", "1. Mai <20:15> · Saal 1"));
    let (status, session) = sandbox.post("/v1/checkout/sessions", &session).await;
    assert_eq!(status, 200, "{session}");
    let (_, page) = sandbox.view_page(&session).await;
    for text in ["<html lang=de>", "Kartennummer", "Bezahlen: 24,00 EUR", "1. Mai &lt;20:15&gt; · Saal 1"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("value=\"4242"), "a card is filled in: {page}");
    let declined = sandbox.pay(&session, "4000000000009995").await.text().await.unwrap();
    assert!(declined.contains("Auf der Karte ist nicht genug Geld."), "{declined}");
}

#[tokio::test]
async fn pressing_pay_twice_captures_once() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    let pay = || sandbox.pay(&session, "4242424242424242");
    let (first, second) = tokio::join!(pay(), pay());
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (303, 303));
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1);
    assert_eq!(sandbox.count("/v1/events?type=checkout.session.completed").await, 1);
}

#[tokio::test]
async fn a_declined_card_leaves_the_page_open() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    for (number, message) in [
        ("4000000000000002", "Your card was declined."),
        ("4000000000009995", "Your card has insufficient funds."),
        ("4000000000000069", "Your card has expired."),
        ("1234", "not one of the test cards"),
    ] {
        let answer = sandbox.pay(&session, number).await;
        assert_eq!(answer.status(), 200);
        let page = answer.text().await.unwrap();
        assert!(page.contains(message) && page.contains("<form"), "{page}");
    }
    assert_eq!(sandbox.count("/v1/events?type=payment_intent.payment_failed").await, 3);
    assert_eq!(sandbox.pay(&session, "5555555555554444").await.status(), 303);
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1, "all tries are one payment");
}

#[tokio::test]
async fn an_expired_page_shows_that_and_charges_nothing() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    sandbox.pay(&session, "4000000000000002").await;
    let path = format!("/v1/checkout/sessions/{}/expire", text(&session["id"]));
    let (status, expired) = sandbox.post(&path, &[]).await;
    assert_eq!((status, &expired["status"], &expired["url"]), (200, &json!("expired"), &json!(null)));
    assert_eq!(sandbox.post(&path, &[]).await.0, 400);
    let answer = sandbox.pay(&session, "4242424242424242").await;
    assert_eq!(answer.status(), 410);
    assert!(answer.text().await.unwrap().contains("expired"));
    let (_, intents) = sandbox.get("/v1/payment_intents").await;
    assert_eq!(intents["data"][0]["status"], json!("canceled"));
    assert_eq!(sandbox.count("/v1/events?type=checkout.session.expired").await, 1);
}

#[tokio::test]
async fn a_complete_session_cannot_be_expired() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    sandbox.pay(&session, "4242424242424242").await;
    let (status, body) =
        sandbox.post(&format!("/v1/checkout/sessions/{}/expire", text(&session["id"])), &[]).await;
    assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
    let (_, page) = sandbox.view_page(&session).await;
    assert!(page.contains("has been paid already"), "{page}");
}

#[tokio::test]
async fn a_session_expires_by_itself() {
    let folder = Folder::new();
    let shop = Shop::open().await;
    let sandbox = TestSandbox::with(&folder.log(), Some(shop.url())).await;
    let session = sandbox.session().await;
    sandbox.running.set_switches(Switches { clock_ahead_s: 3601, ..Switches::default() });
    let replies = shop.until(1).await;
    assert_eq!(replies[0].kind(), "checkout.session.expired");
    assert_eq!(sandbox.pay(&session, "4242424242424242").await.status(), 410);
    assert_eq!(sandbox.count("/v1/payment_intents").await, 0);
}

#[tokio::test]
async fn a_session_expires_between_thirty_minutes_and_a_day_after_its_creation() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let now = crate::provider::unix_now();
    // A margin for the seconds until the sandbox reads its clock.
    for (away, status) in [(1790, 400), (1830, 200), (86_390, 200), (86_430, 400)] {
        let expires_at = (now + away).to_string();
        let (answer_status, body) = sandbox.post("/v1/checkout/sessions", &session_of(&expires_at)).await;
        assert_eq!(answer_status, status, "{away}: {body}");
        assert!(status == 200 || body["error"]["param"] == json!("expires_at"));
    }
}

#[tokio::test]
async fn the_page_allows_no_script_and_posts_only_to_itself_and_the_shop() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    let answer = sandbox.client.get(text(&session["url"])).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("form-action 'self' http://shop.test;"), "{policy}");
    let nowhere =
        sandbox.client.get(format!("{}/pay/cs_test_x", sandbox.running.url())).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
}

#[tokio::test]
async fn health_is_answered_without_a_key() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    for path in ["/health/live", "/health/ready"] {
        let answer = sandbox.client.get(format!("{}{path}", sandbox.running.url())).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

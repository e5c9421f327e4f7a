//! Hosted sessions and the pay page.

use serde_json::json;

use super::*;

#[tokio::test]
async fn paying_on_the_page_leads_back_to_the_shop() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    assert_eq!((&session["status"], &session["payment_status"]), (&json!("open"), &json!("unpaid")));
    assert_eq!((&session["amount_total"], &session["payment_intent"]), (&json!(2400), &json!(null)));
    let id = text(&session["id"]);
    assert!(id.starts_with("cs_test_"));
    assert_eq!(session["url"], json!(format!("{}/pay/{id}", world.running.url())));
    let (status, page) = world.see(&session).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("EUR 24.00") && page.contains("Seats &lt;C7&gt; &amp; C8") && !page.contains("<script")
    );

    let answer = world.pay(&session, "4242 4242 4242 4242").await;
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["location"], format!("http://shop.test/done?session={id}"));
    let (_, session) = world.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!((&session["status"], &session["payment_status"]), (&json!("complete"), &json!("paid")));
    assert_eq!(session["url"], json!(null));
    let (_, intent) = world.get(&format!("/v1/payment_intents/{}", text(&session["payment_intent"]))).await;
    assert_eq!((&intent["status"], &intent["amount"]), (&json!("succeeded"), &json!(2400)));
    assert_eq!(intent["metadata"], json!({"payment_id": "p-1"}));
}

#[tokio::test]
async fn pressing_pay_twice_captures_once() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    let pay = || world.pay(&session, "4242424242424242");
    let (first, second) = tokio::join!(pay(), pay());
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (303, 303));
    assert_eq!(world.count("/v1/payment_intents").await, 1);
    assert_eq!(world.count("/v1/events?type=checkout.session.completed").await, 1);
}

#[tokio::test]
async fn a_declined_card_leaves_the_page_open() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    for (number, message) in [
        ("4000000000000002", "Your card was declined."),
        ("4000000000009995", "Your card has insufficient funds."),
        ("4000000000000069", "Your card has expired."),
        ("1234", "none of the test cards"),
    ] {
        let answer = world.pay(&session, number).await;
        assert_eq!(answer.status(), 200);
        let page = answer.text().await.unwrap();
        assert!(page.contains(message) && page.contains("<form"), "{page}");
    }
    assert_eq!(world.count("/v1/events?type=payment_intent.payment_failed").await, 3);
    assert_eq!(world.pay(&session, "5555555555554444").await.status(), 303);
    assert_eq!(world.count("/v1/payment_intents").await, 1, "all tries are one payment");
}

#[tokio::test]
async fn an_expired_page_says_so_and_takes_no_money() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    world.pay(&session, "4000000000000002").await;
    let path = format!("/v1/checkout/sessions/{}/expire", text(&session["id"]));
    let (status, expired) = world.post(&path, &[]).await;
    assert_eq!((status, &expired["status"], &expired["url"]), (200, &json!("expired"), &json!(null)));
    assert_eq!(world.post(&path, &[]).await.0, 400);
    let answer = world.pay(&session, "4242424242424242").await;
    assert_eq!(answer.status(), 410);
    assert!(answer.text().await.unwrap().contains("expired"));
    let (_, intents) = world.get("/v1/payment_intents").await;
    assert_eq!(intents["data"][0]["status"], json!("canceled"));
    assert_eq!(world.count("/v1/events?type=checkout.session.expired").await, 1);
}

#[tokio::test]
async fn a_complete_session_cannot_be_expired() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    world.pay(&session, "4242424242424242").await;
    let (status, body) =
        world.post(&format!("/v1/checkout/sessions/{}/expire", text(&session["id"])), &[]).await;
    assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
    let (_, page) = world.see(&session).await;
    assert!(page.contains("paid already"), "{page}");
}

#[tokio::test]
async fn a_session_expires_by_itself_when_its_time_is_over() {
    let folder = Folder::new();
    let shop = Shop::open().await;
    let world = World::with(&folder.log(), Some(shop.url())).await;
    let session = world.session().await;
    world.running.set_switches(Switches { clock_ahead_s: 3601, ..Switches::default() });
    let told = shop.until(1).await;
    assert_eq!(told[0].kind(), "checkout.session.expired");
    assert_eq!(world.pay(&session, "4242424242424242").await.status(), 410);
    assert_eq!(world.count("/v1/payment_intents").await, 0);
}

#[tokio::test]
async fn a_session_lives_between_thirty_minutes_and_a_day() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let now = crate::provider::unix_now();
    // A margin for the seconds that pass between here and there.
    for (away, status) in [(1790, 400), (1830, 200), (86_390, 200), (86_430, 400)] {
        let expires_at = (now + away).to_string();
        let (told, body) = world.post("/v1/checkout/sessions", &session_of(&expires_at)).await;
        assert_eq!(told, status, "{away}: {body}");
        assert!(status == 200 || body["error"]["param"] == json!("expires_at"));
    }
}

#[tokio::test]
async fn the_page_lets_no_script_run_and_may_only_post_home() {
    let folder = Folder::new();
    let world = World::open(&folder).await;
    let session = world.session().await;
    let answer = world.client.get(text(&session["url"])).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("form-action 'self' http://shop.test;"), "{policy}");
    let nowhere = world.client.get(format!("{}/pay/cs_test_x", world.running.url())).send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
}

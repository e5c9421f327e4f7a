//! The card that disputes its payment, the verdict by the switch, and events listed by type.

use serde_json::json;

use super::*;
use crate::Verdict;

async fn until(sandbox: &TestSandbox, path: &str, status: &str) -> Value {
    let end = std::time::Instant::now() + WAIT_MAX;
    loop {
        let (_, seen) = sandbox.get(path).await;
        if seen["status"] == status {
            return seen;
        }
        assert!(std::time::Instant::now() < end, "not {status}: {seen}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_disputed_payment_is_not_refunded_until_the_dispute_is_won() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let (status, intent) = sandbox.charge("pm_card_createDispute", "2400").await;
    assert_eq!((status, &intent["status"]), (200, &json!("succeeded")));
    let id = text(&intent["id"]);
    let (_, list) = sandbox.get(&format!("/v1/disputes?payment_intent={id}")).await;
    let dispute = &list["data"][0];
    assert_eq!((&dispute["status"], &dispute["amount"]), (&json!("needs_response"), &json!(2400)));
    assert_eq!(dispute["metadata"], json!({}), "it does not carry ours");
    let refund = [("payment_intent", id.as_str()), ("amount", "2400")];
    let (status, body) = sandbox.post("/v1/refunds", &refund).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("charge_disputed")));

    sandbox.running.set_switches(Switches { decide_disputes: Some(Verdict::Won), ..Switches::default() });
    until(&sandbox, &format!("/v1/disputes/{}", text(&dispute["id"])), "won").await;
    assert_eq!(sandbox.post("/v1/refunds", &refund).await.0, 200);
    let kinds = "types[]=charge.dispute.created&types[]=charge.dispute.closed&limit=100";
    assert_eq!(sandbox.count(&format!("/v1/events?{kinds}")).await, 2);
    let (_, none) = sandbox.get("/v1/events?types[0]=radar.early&created[gte]=1").await;
    assert_eq!((&none["data"], &none["has_more"]), (&json!([]), &json!(false)));
    assert_eq!(sandbox.get("/v1/events?type=a&types[]=b").await.0, 400);
}

#[tokio::test]
async fn disputes_are_kept_over_a_restart() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let session = sandbox.session().await;
    assert_eq!(sandbox.pay(&session, "4000000000000259").await.status(), 303);
    sandbox.running.stop().await;
    let sandbox = TestSandbox::open(&folder).await;
    sandbox.running.set_switches(Switches { decide_disputes: Some(Verdict::Lost), ..Switches::default() });
    let (_, list) = sandbox.get("/v1/disputes").await;
    until(&sandbox, &format!("/v1/disputes/{}", text(&list["data"][0]["id"])), "lost").await;
}

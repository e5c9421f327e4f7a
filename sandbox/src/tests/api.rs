//! Payments, refunds, idempotency keys and rejections through `/v1`.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::FailCalls;

#[tokio::test]
async fn a_valid_token_is_charged_at_once() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let (status, intent) = sandbox.charge("pm_card_visa", "2400").await;
    assert_eq!(status, 200, "{intent}");
    assert_eq!((&intent["status"], &intent["object"]), (&json!("succeeded"), &json!("payment_intent")));
    assert_eq!((&intent["amount_received"], &intent["currency"]), (&json!(2400), &json!("eur")));
    assert_eq!(intent["metadata"], json!({"payment_id": "p-1"}));
    assert!(text(&intent["id"]).starts_with("pi_") && text(&intent["latest_charge"]).starts_with("ch_"));
    let (_, again) = sandbox.get(&format!("/v1/payment_intents/{}", text(&intent["id"]))).await;
    assert_eq!(again, intent);
}

#[tokio::test]
async fn a_declined_card_is_a_402_that_carries_the_payment() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let cases = [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ];
    for (token, code, decline_code) in cases {
        let (status, body) = sandbox.charge(token, "2400").await;
        let error = &body["error"];
        assert_eq!((status, &error["type"]), (402, &json!("card_error")), "{body}");
        assert_eq!((&error["code"], &error["decline_code"]), (&json!(code), &json!(decline_code)));
        let intent = &error["payment_intent"];
        assert_eq!(
            (&intent["status"], &intent["amount_received"]),
            (&json!("requires_payment_method"), &json!(0))
        );
        assert!(text(&error["charge"]).starts_with("ch_"), "{error}");
        assert_eq!(intent["last_payment_error"]["decline_code"], json!(decline_code));
    }
}

#[tokio::test]
async fn a_declined_payment_can_be_confirmed_with_another_card() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let (_, body) = sandbox.charge("pm_card_chargeDeclined", "2400").await;
    let path = format!("/v1/payment_intents/{}/confirm", text(&body["error"]["payment_intent"]["id"]));
    let (status, refused) = sandbox.post(&path, &[]).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("payment_intent_unexpected_state")));
    let (status, intent) = sandbox.post(&path, &[("payment_method", "pm_card_mastercard")]).await;
    assert_eq!((status, &intent["status"]), (200, &json!("succeeded")), "{intent}");
    let (status, twice) = sandbox.post(&path, &[("payment_method", "pm_card_visa")]).await;
    assert_eq!((status, &twice["error"]["payment_intent"]["status"]), (400, &json!("succeeded")));
}

#[tokio::test]
async fn an_invalid_request_is_rejected_and_creates_nothing() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    type Params = &'static [(&'static str, &'static str)];
    let cases: [(Params, &str, &str); 5] = [
        (&[("currency", "eur")], "parameter_missing", "amount"),
        (&[("amount", "x"), ("currency", "eur")], "parameter_invalid_integer", "amount"),
        (&[("amount", "10"), ("currency", "eur")], "amount_too_small", "amount"),
        (&[("amount", "2400"), ("currency", "eur"), ("colour", "red")], "parameter_unknown", "colour"),
        (
            &[("amount", "2400"), ("currency", "eur"), ("payment_method", "pm_x"), ("confirm", "true")],
            "resource_missing",
            "payment_method",
        ),
    ];
    for (params, code, param) in cases {
        let (status, body) = sandbox.post("/v1/payment_intents", params).await;
        let error = &body["error"];
        assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")), "{body}");
        assert_eq!((&error["code"], &error["param"]), (&json!(code), &json!(param)), "{body}");
    }
    assert_eq!(sandbox.count("/v1/payment_intents").await, 0);
    let (status, body) = sandbox.get("/v1/payment_intents/pi_unknown").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("resource_missing")));
    assert_eq!(sandbox.get("/v1/unheard_of").await.0, 404);
}

#[tokio::test]
async fn each_currency_has_the_decimals_and_limits_of_stripe() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let ask = async |amount: &'static str, currency: &'static str| {
        sandbox.post("/v1/payment_intents", &[("amount", amount), ("currency", currency)]).await
    };
    let fine = [("350000", "isk"), ("4000000", "ugx"), ("3500", "kwd"), ("17500", "huf"), ("1900", "jpy")];
    for (amount, currency) in fine.into_iter().chain([("30", "gbp"), ("600000000", "idr")]) {
        let (status, intent) = ask(amount, currency).await;
        assert_eq!((status, intent["amount"].to_string().as_str()), (200, amount), "{currency} {intent}");
    }
    let wrong = [
        // "The amount value must be evenly divisible by 100."
        ("350050", "isk", "invalid_charge_amount"),
        ("4000001", "ugx", "invalid_charge_amount"),
        // "These API calls require the least-significant (last) digit to be 0."
        ("3505", "kwd", "invalid_charge_amount"),
        ("17400", "huf", "amount_too_small"),
        ("3500", "isk", "amount_too_small"),
        ("29", "gbp", "amount_too_small"),
        ("100000000", "eur", "amount_too_large"),
    ];
    for (amount, currency, code) in wrong {
        let (status, body) = ask(amount, currency).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!(code)), "{currency} {body}");
        assert_eq!(body["error"]["param"], "amount");
    }
    let (status, body) = ask("2400", "xxx").await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("currency")), "{body}");
    assert_eq!(sandbox.count("/v1/payment_intents").await, 7);

    let paid =
        [("amount", "350000"), ("currency", "isk"), ("payment_method", "pm_card_visa"), ("confirm", "true")];
    let (_, intent) = sandbox.post("/v1/payment_intents", &paid).await;
    let intent = text(&intent["id"]);
    for (amount, status) in [("100050", 400), ("100000", 200)] {
        let refund = sandbox.post("/v1/refunds", &[("payment_intent", &intent), ("amount", amount)]).await;
        assert_eq!(refund.0, status, "{}", refund.1);
    }
}

#[tokio::test]
async fn the_api_needs_the_right_key() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let get = || sandbox.client.get(format!("{}/v1/events", sandbox.running.url()));
    assert_eq!(get().send().await.unwrap().status(), 401);
    assert_eq!(get().bearer_auth("sk_test_other").send().await.unwrap().status(), 401);
    assert_eq!(get().basic_auth(KEY, None::<&str>).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_same_key_replays_the_first_answer_and_acts_once() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    for token in ["pm_card_visa", "pm_card_chargeDeclined"] {
        let params = charge_of(token, "2400");
        let (first_replayed, first) = sandbox.post_once(token, "/v1/payment_intents", &params).await;
        let (replayed, again) = sandbox.post_once(token, "/v1/payment_intents", &params).await;
        assert_eq!((first_replayed, replayed), (false, true));
        assert_eq!(first, again);
    }
    assert_eq!(sandbox.count("/v1/payment_intents").await, 2);
    // A replay is the first answer, also after a refund changed the payment.
    let (_, (_, body)) =
        sandbox.post_once("pm_card_visa", "/v1/payment_intents", &charge_of("pm_card_visa", "2400")).await;
    let refund = [("payment_intent", body["id"].as_str().unwrap())];
    assert_eq!(sandbox.post("/v1/refunds", &refund).await.0, 200);
    let (_, later) =
        sandbox.post_once("pm_card_visa", "/v1/payment_intents", &charge_of("pm_card_visa", "2400")).await;
    assert_eq!(later.1, body);
}

#[tokio::test]
async fn the_same_key_with_other_parameters_is_rejected() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    sandbox.post_once("k", "/v1/payment_intents", &charge_of("pm_card_visa", "2400")).await;
    let (_, (status, body)) =
        sandbox.post_once("k", "/v1/payment_intents", &charge_of("pm_card_visa", "2500")).await;
    assert_eq!((status, &body["error"]["type"]), (400, &json!("idempotency_error")));
    let (_, (status, _)) = sandbox.post_once("k", "/v1/refunds", &[]).await;
    assert_eq!(status, 400);
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1);
}

#[tokio::test]
async fn an_invalid_request_does_not_use_its_key() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let (_, (status, _)) =
        sandbox.post_once("k", "/v1/payment_intents", &charge_of("pm_unknown", "2400")).await;
    assert_eq!(status, 400);
    let (replayed, (status, _)) =
        sandbox.post_once("k", "/v1/payment_intents", &charge_of("pm_card_visa", "2400")).await;
    assert_eq!((replayed, status), (false, 200));
}

#[tokio::test]
async fn a_key_in_use_is_a_409_and_one_charge() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    sandbox.running.set_switches(Switches { call_delay_ms: 300, ..Switches::default() });
    let params = charge_of("pm_card_visa", "2400");
    let call = || sandbox.post_once("k", "/v1/payment_intents", &params);
    let ((_, (first, _)), (_, (second, body))) = tokio::join!(call(), call());
    let mut statuses = [first, second];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{body}");
    sandbox.running.set_switches(Switches::default());
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1);
}

#[tokio::test]
async fn after_a_lost_answer_the_same_key_returns_the_outcome() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    sandbox.running.set_switches(Switches { answer_lost: 1, ..Switches::default() });
    let params = charge_of("pm_card_visa", "2400");
    let lost = sandbox.request("/v1/payment_intents", &params, "k").send().await;
    assert!(lost.is_err(), "{lost:?}");
    let (replayed, (status, intent)) = sandbox.post_once("k", "/v1/payment_intents", &params).await;
    assert_eq!((replayed, status, &intent["status"]), (true, 200, &json!("succeeded")));
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1);
}

#[tokio::test]
async fn a_caller_that_disconnects_is_charged_anyway() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    sandbox.running.set_switches(Switches { call_delay_ms: 200, ..Switches::default() });
    let params = charge_of("pm_card_visa", "2400");
    let request = sandbox.request("/v1/payment_intents", &params, "k").timeout(Duration::from_millis(50));
    assert!(request.send().await.unwrap_err().is_timeout());
    sandbox.running.set_switches(Switches::default());
    let begun = std::time::Instant::now();
    while sandbox.count("/v1/payment_intents").await == 0 {
        assert!(begun.elapsed() < WAIT_MAX, "the charge did not happen in time");
    }
    let (replayed, (status, _)) = sandbox.post_once("k", "/v1/payment_intents", &params).await;
    assert_eq!((replayed, status), (true, 200));
}

#[tokio::test]
async fn a_failing_call_has_no_effect_and_its_failure_is_stored_only_if_kept() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let fail = |status, kept| {
        let path_prefix = Some("/v1/payment_intents".to_owned());
        let fail_calls = Some(FailCalls { status, next: 1, path_prefix, kept });
        sandbox.running.set_switches(Switches { fail_calls, ..Switches::default() });
    };
    let params = charge_of("pm_card_visa", "2400");
    for status in [429, 500, 503] {
        fail(status, false);
        let (_, (answer_status, body)) = sandbox.post_once("free", "/v1/payment_intents", &params).await;
        assert_eq!(answer_status, status, "{body}");
    }
    let (replayed, (status, _)) = sandbox.post_once("free", "/v1/payment_intents", &params).await;
    assert_eq!((replayed, status), (false, 200));
    fail(500, true);
    sandbox.post_once("kept", "/v1/payment_intents", &params).await;
    let (replayed, (status, body)) = sandbox.post_once("kept", "/v1/payment_intents", &params).await;
    assert_eq!((replayed, status, &body["error"]["type"]), (true, 500, &json!("api_error")));
    assert_eq!(sandbox.count("/v1/payment_intents").await, 1);
}

#[tokio::test]
async fn a_succeeded_payment_cannot_be_canceled_but_an_unpaid_one_can() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let paid = sandbox.paid("2400").await;
    let (status, body) = sandbox.post(&format!("/v1/payment_intents/{paid}/cancel"), &[]).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("payment_intent_unexpected_state")));
    assert_eq!(body["error"]["payment_intent"]["status"], json!("succeeded"));
    let (_, open) = sandbox.post("/v1/payment_intents", &[("amount", "2400"), ("currency", "eur")]).await;
    assert_eq!(open["status"], json!("requires_payment_method"));
    let path = format!("/v1/payment_intents/{}", text(&open["id"]));
    let (status, canceled) = sandbox.post(&format!("{path}/cancel"), &[]).await;
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")));
    let (status, _) = sandbox.post(&format!("{path}/confirm"), &[("payment_method", "pm_card_visa")]).await;
    assert_eq!(status, 400, "a canceled payment captures nothing");
}

#[tokio::test]
async fn refunds_never_exceed_the_captured_amount() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let id = sandbox.paid("2400").await;
    let refund = async |amount: &str| {
        let all = [("payment_intent", id.as_str()), ("reason", "requested_by_customer"), ("amount", amount)];
        sandbox.post("/v1/refunds", if amount.is_empty() { &all[..2] } else { &all }).await
    };
    let (status, first) = refund("1000").await;
    assert_eq!((status, &first["status"], &first["amount"]), (200, &json!("succeeded"), &json!(1000)));
    let (status, body) = refund("1401").await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("amount")), "{body}");
    let (status, rest) = refund("").await;
    assert_eq!((status, &rest["amount"]), (200, &json!(1400)));
    let (status, body) = refund("1").await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("charge_already_refunded")));
    sandbox.paid("900").await;
    assert_eq!(sandbox.count(&format!("/v1/refunds?payment_intent={id}")).await, 2);
    let (_, seen) = sandbox.get(&format!("/v1/refunds/{}", text(&rest["id"]))).await;
    assert_eq!(seen, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_refunds_return_exactly_the_captured_amount() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let id = sandbox.paid("2400").await;
    let params = [("payment_intent", id.as_str()), ("amount", "200")];
    let replies = futures::future::join_all((0..30).map(|_| sandbox.post("/v1/refunds", &params))).await;
    assert_eq!(replies.iter().filter(|(status, _)| *status == 200).count(), 12, "{replies:?}");
    assert_eq!(sandbox.count(&format!("/v1/refunds?limit=100&payment_intent={id}")).await, 12);
}

#[tokio::test]
async fn lists_are_newest_first_and_continue_after_the_last_id() {
    let folder = Folder::new();
    let sandbox = TestSandbox::open(&folder).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(sandbox.paid("2400").await);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/payment_intents?limit=2&created[gte]=1".to_owned();
    loop {
        let (_, page) = sandbox.get(&path).await;
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| text(&row["id"])));
        if page["has_more"] == json!(false) {
            break;
        }
        path = format!("/v1/payment_intents?limit=2&starting_after={}", seen.last().unwrap());
    }
    assert_eq!(seen, ids);
    assert_eq!(sandbox.count("/v1/payment_intents?created%5Bgte%5D=9999999999").await, 0);
    assert_eq!(sandbox.count("/v1/events?type=payment_intent.succeeded&limit=100").await, 5);
    assert_eq!(sandbox.get("/v1/events?limit=0").await.0, 400);
}

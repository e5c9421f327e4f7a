//! The signatures and the contents of webhooks.

use bus::contract::payment::DisputeStatus;
use ring::hmac;
use serde_json::json;

use super::*;
use crate::payment::provider::objects::{self, About};

const SECRET: &str = "whsec_test";
const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"id":"evt_1"}"#;

fn signature(secret: &str, at: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, &[at.as_bytes(), b".", body].concat()))
}

fn header(at: i64) -> String {
    format!("t={at},v1={}", signature(SECRET, &at.to_string(), BODY))
}

fn verify(header: &str) -> bool {
    objects::verify(SECRET, header, BODY, NOW).is_ok()
}

#[test]
fn a_signature_counts_for_five_minutes_both_ways() {
    for (away, believed) in [(0, true), (-300, true), (300, true), (-301, false), (301, false)] {
        assert_eq!(verify(&header(NOW + away)), believed, "{away}");
    }
}

#[test]
fn a_signature_by_another_secret_or_over_another_body_is_refused() {
    let forged = format!("t={NOW},v1={}", signature("whsec_other", &NOW.to_string(), BODY));
    assert!(!verify(&forged));
    assert!(objects::verify(SECRET, &header(NOW), br#"{"id":"evt_2"}"#, NOW).is_err());
    let moved = header(NOW - 400).replace(&format!("t={}", NOW - 400), &format!("t={NOW}"));
    assert!(!verify(&moved), "the time is signed as well");
}

#[test]
fn one_right_signature_among_several_is_enough() {
    let both =
        format!("t={NOW},v1={},v0=x,v1={}", "ab".repeat(32), signature(SECRET, &NOW.to_string(), BODY));
    assert!(verify(&both));
}

#[test]
fn a_malformed_signature_is_refused() {
    let good = signature(SECRET, &NOW.to_string(), BODY);
    let signed = |time: &str| format!("t={time},v1={}", signature(SECRET, time, BODY));
    let malformed = [
        String::new(),
        "v1=".into(),
        format!("v1={good}"),
        format!("t={NOW}"),
        format!("t={NOW},v1=nothex"),
        format!("t={NOW},v0={good}"),
        format!("t={NOW},t={NOW},v1={good}"),
        format!("{NOW},{good}"),
        signed(""),
        signed("+1700000000"),
        signed("-1"),
        signed("99999999999999999999999999"),
    ];
    for header in malformed {
        assert!(!verify(&header), "{header:?}");
    }
}

#[test]
fn an_event_names_its_payment_by_our_metadata() {
    let event = json!({"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {
        "id": "pi_1", "object": "payment_intent", "amount": 2400, "amount_received": 2400, "currency": "eur",
        "status": "succeeded", "last_payment_error": null,
        "metadata": {"payment_id": payment_id(RESERVATION), "reservation_id": RESERVATION, "attempt": "2"},
    }}});
    let parsed = objects::parse(event.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.reservation_id, Some(RESERVATION));
    let About::Attempt { number, view: shown } = parsed.about else { panic!() };
    assert_eq!((number, shown), (Some(2), view("pi_1", ProviderState::Captured)));
}

#[test]
fn an_amount_is_read_in_the_units_of_its_currency_and_never_rounded() {
    let event = |amount: i64, currency: &str| {
        let event = json!({"id": "evt_1", "type": "charge.dispute.created", "data": {"object": {
            "id": "dp_1", "object": "dispute", "amount": amount, "currency": currency, "charge": "ch_1",
            "payment_intent": "pi_1", "reason": "fraudulent", "status": "needs_response", "metadata": {},
        }}});
        let parsed = objects::parse(event.to_string().as_bytes()).unwrap();
        let About::Dispute(view) = parsed.about else { panic!() };
        view.total.map(|total| (total.amount, total.currency.as_str()))
    };
    assert_eq!(event(350_000, "isk"), Some((3_500, "ISK")));
    assert_eq!(event(4_000_000, "ugx"), Some((40_000, "UGX")));
    assert_eq!(event(15_000, "mga"), Some((1_500_000, "MGA")));
    assert_eq!(event(3_500, "kwd"), Some((3_500, "KWD")));
    assert_eq!(event(250_000, "huf"), Some((250_000, "HUF")));
    assert_eq!(event(350_050, "isk"), None, "half a króna is not one of our amounts");
    assert_eq!(event(2_400, "xxx"), None);
}

#[test]
fn an_event_without_a_use_is_stored_and_a_body_that_is_no_event_is_refused() {
    let unknown =
        json!({"id": "evt_1", "type": "radar.x", "data": {"object": {"object": "radar", "id": "r"}}});
    let parsed = objects::parse(unknown.to_string().as_bytes()).unwrap();
    assert!(matches!(parsed.about, About::Other) && parsed.reservation_id.is_none());
    let torn =
        json!({"id": "evt_2", "type": "payment_intent.x", "data": {"object": {"object": "payment_intent"}}});
    assert!(matches!(objects::parse(torn.to_string().as_bytes()).unwrap().about, About::Other));
    for body in ["", "[]", "{}", r#"{"id":"evt_1"}"#] {
        assert!(matches!(objects::parse(body.as_bytes()), Err(Rejection::BadWebhook)), "{body}");
    }
}

#[test]
fn a_thin_event_is_kept_though_it_holds_no_object() {
    let thin = json!({"id": "evt_1", "object": "v2.core.event", "type": "v2.core.event_destination.ping",
        "related_object": {"id": "ed_1", "type": "v2.core.event_destination"}});
    let parsed = objects::parse(thin.to_string().as_bytes()).unwrap();
    assert!(matches!(parsed.about, About::Other) && parsed.kind == "v2.core.event_destination.ping");
    let torn = json!({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded"});
    assert!(matches!(objects::parse(torn.to_string().as_bytes()), Err(Rejection::BadWebhook)));
}

#[test]
fn a_text_with_nul_is_no_reason_to_refuse_an_event() {
    let event = json!({"id": "evt_\0", "type": "charge.\0", "data": {"object": {"object": "refund", "id": "re_\0",
        "amount": 5, "currency": "eur", "status": "succeeded", "metadata": {"note": "\0"}}}});
    let parsed = objects::parse(event.to_string().as_bytes()).unwrap();
    assert_eq!((parsed.id.as_str(), parsed.kind.as_str()), ("evt_\u{fffd}", "charge.\u{fffd}"));
    assert!(!format!("{:?}", parsed.about).contains("\\0"));
}

#[test]
fn a_dispute_is_read_by_the_payment_that_it_names() {
    let event = |status: &str| {
        let event = json!({"id": "evt_1", "type": "charge.dispute.updated", "data": {"object": {
            "id": "dp_1", "object": "dispute", "amount": 2400, "currency": "eur", "charge": "ch_1",
            "payment_intent": "pi_1", "reason": "fraudulent", "status": status, "metadata": {},
        }}});
        let parsed = objects::parse(event.to_string().as_bytes()).unwrap();
        assert_eq!((parsed.reservation_id, parsed.payment_id), (None, None));
        let About::Dispute(view) = parsed.about else { panic!() };
        assert_eq!((view.intent.as_str(), view.total), ("pi_1", Some(euros(2400))));
        view.status
    };
    let meanings = [
        ("warning_needs_response", DisputeStatus::Inquiry),
        ("warning_under_review", DisputeStatus::Inquiry),
        ("warning_closed", DisputeStatus::Closed),
        ("needs_response", DisputeStatus::Open),
        ("under_review", DisputeStatus::Open),
        ("won", DisputeStatus::Won),
        ("lost", DisputeStatus::Lost),
    ];
    for (status, meaning) in meanings {
        assert_eq!(event(status), meaning, "{status}");
    }
}

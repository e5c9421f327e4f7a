//! Invoices: whom the receipts of an order are made out to.

use serde_json::{Value, json};

use super::plan;
use crate::cinema::{Answer, Person, TestCinema};

impl TestCinema {
    async fn set_buyer(&self, who: &Person, order: &str, buyer: &Value) -> Answer {
        self.post(&format!("/v1/reservations/{order}/invoice"), who, buyer.clone()).await
    }
}

fn company() -> Value {
    json!({"name": "Käse & Brot GmbH", "address": ["Abteilung 7", "Lindenallee 5", "50667 Köln"], "taxId": "DE 987.654"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_buyer_is_set_once_before_or_after_the_receipt_which_keeps_its_number() {
    let cinema = TestCinema::open_with(plan()).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let order = cinema.buy(&ada, &["A1"]).await;
    let before = cinema.until_receipts(&ada, &order, 1).await;
    let number = before[0]["number"].as_str().unwrap();
    assert_eq!(cinema.set_buyer(&bob, &order, &company()).await.status, 404);
    assert_eq!(cinema.set_buyer(&ada, &order, &company()).await.expect(200), company());
    let after = cinema.until_receipts(&ada, &order, 1).await;
    let mut expected = before[0].clone();
    expected["buyer"] = company();
    assert_eq!(after[0], expected);
    let pdf = cinema.receipt_file(&ada, &order, number).await;
    let text = pdf["text"].as_str().unwrap();
    for part in [
        &*format!("Invoice {number}"),
        "Issued to",
        "Käse & Brot GmbH",
        "Abteilung 7",
        "50667 Köln",
        "DE 987.654",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    // The same again, with blanks; another one; by staff as well.
    let mut blanks = company();
    blanks["name"] = json!("  Käse & Brot GmbH ");
    assert_eq!(cinema.set_buyer(&ada, &order, &blanks).await.expect(200), company());
    let mut other = company();
    other["name"] = json!("Somebody else");
    for who in [&ada, &cinema.owner()] {
        let refused = cinema.set_buyer(who, &order, &other).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "buyer-set"));
    }

    // Before it is paid, two at once: one wins; the credit note is made out to the same buyer.
    let held = cinema.reserve(&ada, &["A2"]).await;
    let (one, two) = (company(), other);
    let both = tokio::join!(cinema.set_buyer(&ada, &held, &one), cinema.set_buyer(&ada, &held, &two));
    let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let winner = if both.0.status == 200 { &one } else { &two };
    cinema.pay(&ada, &held, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &held).await;
    cinema.cancel(&ada, &held).await.expect(200);
    let receipts = cinema.until_receipts(&ada, &held, 2).await;
    assert!(receipts.iter().all(|receipt| receipt["buyer"] == *winner), "{receipts:#?}");
    cinema.check_receipts().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_buyer_is_refused_with_every_wrong_field_and_nothing_is_stored() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let with = |name: &str, value: Value| {
        let mut buyer = company();
        buyer[name] = value;
        buyer
    };
    let cases = [
        (with("name", json!("")), vec!["name length"]),
        (with("name", json!("x".repeat(201))), vec!["name length"]),
        (with("name", json!("A\nB")), vec!["name one-line"]),
        (with("address", json!([])), vec!["address count"]),
        (with("address", json!(["a", "b", "c", "d", "e", "f", "g"])), vec!["address count"]),
        (with("address", json!(["a", " "])), vec!["address[1] length"]),
        (with("address", json!(["x".repeat(101)])), vec!["address[0] length"]),
        (with("address", json!("Lindenallee 5")), vec!["address type"]),
        (with("taxId", json!("ÄÖÜ")), vec!["taxId tax-id"]),
        (with("taxId", json!("1".repeat(31))), vec!["taxId length"]),
        (with("country", json!("DE")), vec!["country unknown-field"]),
        (json!({"name": "", "address": []}), vec!["name length", "address count"]),
    ];
    for (buyer, wanted) in cases {
        let refused = cinema.set_buyer(&ada, &order, &buyer).await;
        let errors = refused.body["errors"].as_array().cloned().unwrap_or_default();
        let text = |error: &Value| {
            format!("{} {}", error["field"].as_str().unwrap(), error["code"].as_str().unwrap())
        };
        assert_eq!(
            (refused.status.as_u16(), errors.iter().map(text).collect::<Vec<_>>()),
            (422, wanted.iter().map(|text| (*text).to_owned()).collect()),
            "{buyer}"
        );
    }
    let unknown = cinema.set_buyer(&ada, &uuid::Uuid::now_v7().to_string(), &company()).await;
    assert_eq!(unknown.status, 404);
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let free = cinema.reserve(&ada, &["A1"]).await;
    assert_eq!(cinema.set_buyer(&ada, &free, &company()).await.code(), "not-paid");
    assert_eq!(cinema.count("select count(*) from payment.buyers").await, 0);
    cinema.close().await;
}

//! `GET /v1/me/export`: the account, the orders with their payments and receipts, and the mails, of nobody else.

use serde_json::{Value, json};

use super::{ADDRESS, NAME};
use crate::cinema::TestCinema;
use crate::operator::until_all_is_handled;

fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|order| order["reservation"]["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_exports_what_is_stored_about_it() {
    let cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    let first = cinema.buy(&zebedea, &["A1"]).await;
    let second = cinema.reserve(&zebedea, &["A2"]).await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["B1"]).await;
    cinema.until_receipts(&zebedea, &first, 1).await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;

    let data = cinema.get("/v1/me/export", &zebedea).await.expect(200);
    assert_eq!((&data["account"]["email"], &data["account"]["name"]), (&json!(ADDRESS), &json!(NAME)));
    assert_eq!(
        (ids(&data["orders"]), &data["hasMore"]),
        (vec![second.as_str(), first.as_str()], &json!(false))
    );
    let paid = &data["orders"][1];
    assert_eq!(
        (&paid["payment"]["status"], paid["receipts"].as_array().unwrap().len()),
        (&json!("SUCCEEDED"), 1)
    );
    let mails = data["mails"].as_array().unwrap();
    let kinds: Vec<&str> = mails.iter().map(|mail| mail["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"RESERVATION_CONFIRMED") && kinds.contains(&"EMAIL_VERIFICATION"), "{kinds:?}");
    let text = data.to_string();
    assert!(!text.contains("p0@example.org") && !text.contains("passwordHash"), "{text}");

    // Staff export their own, too.
    let owner = cinema.get("/v1/me/export", &cinema.owner()).await.expect(200);
    assert_eq!(owner["orders"], json!([]));
    cinema.cancel(&zebedea, &second).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_exports_its_orders_and_a_link_the_order_that_it_opens() {
    let cinema = TestCinema::open().await;
    let (guest, order) = cinema.guest_buys("A1", ADDRESS).await;
    let second = cinema.reserve(&guest, &["A2"]).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let all = cinema.get("/v1/me/export", &guest).await.expect(200);
    assert_eq!((ids(&all["orders"]), all.get("account")), (vec![second.as_str(), order.as_str()], None));
    let one = cinema.get("/v1/me/export", &link).await.expect(200);
    assert_eq!((ids(&one["orders"]), one.get("account")), (vec![order.as_str()], None));
    let about: Vec<&Value> =
        one["mails"].as_array().unwrap().iter().map(|mail| &mail["reservationId"]).collect();
    assert!(!about.is_empty() && about.iter().all(|id| **id == json!(order)), "{about:?}");
    cinema.cancel(&guest, &second).await.expect(200);
    cinema.close().await;
}

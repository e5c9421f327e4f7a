//! Bodies that become requests of another form: a replaced row with its version, and a quote of the path's showtime.

use bus::contract::movie::{ListTicketTypes, UpdateTicketType};
use bus::contract::reservation::QuoteTickets;
use poem::http::Method;
use serde_json::{Value, json};

use super::Gateway;

const ID: &str = "01920000-0000-7000-8000-000000000001";

fn adult() -> Value {
    json!({"code": "ADULT", "name": {"en": "Adult"}, "channels": ["WEB"], "active": true})
}

#[tokio::test]
async fn a_replaced_row_reaches_its_host_with_the_version_beside_its_fields() {
    let gateway = Gateway::new();
    gateway.set_answer::<UpdateTicketType>("{}");
    let path = format!("/v1/ticket-types/{ID}");
    let put = |body: Value| gateway.send(Method::PUT, &path).token("admin").json(body);
    let mut body = adult();
    assert_eq!(put(body.clone()).problem().await, (422, "invalid".into()), "without a version");
    body["version"] = json!(7);
    assert_eq!(put(body.clone()).answer().await.status, 200);
    let request = gateway.received().pop().unwrap().request;
    assert_eq!(
        (&request["id"], &request["version"], &request["of"]["code"]),
        (&json!(ID), &json!(7), &json!("ADULT"))
    );
    for (field, value, named) in [
        ("version", json!("7"), "version"),
        ("id", json!(ID), "id"),
        ("zzz", json!(1), "zzz"),
        ("channels", json!([]), "channels"),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        let answer = put(wrong).answer().await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["errors"][0]["field"]), (422, &json!(named)), "{problem}");
    }
    assert_eq!(put(json!([1])).problem().await, (422, "invalid".into()));
    assert_eq!(gateway.received().len(), 1, "no host received a wrong body");
}

#[tokio::test]
async fn a_quote_is_of_the_showtime_in_the_path() {
    let gateway = Gateway::new();
    gateway.set_answer::<QuoteTickets>("{}");
    let post = |body: Value| gateway.post(&format!("/v1/showtimes/{ID}/quote")).json(body);
    let body = json!({"tickets": [{"seat": "A1", "type": "ADULT"}]});
    assert_eq!(post(body.clone()).answer().await.status, 200);
    assert_eq!(gateway.received()[0].request["showtimeId"], ID);
    let mut with_id = body;
    with_id["showtimeId"] = json!(ID);
    let answer = post(with_id).answer().await;
    assert!(answer.status == 422 && answer.body.contains("it is in the path"), "{}", answer.body);
}

#[tokio::test]
async fn ticket_types_are_cached_and_cards_are_for_staff_alone() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListTicketTypes>("{}");
    let types = gateway.get("/v1/ticket-types").answer().await;
    assert_eq!((types.status, types.header("etag").is_empty()), (200, false));
    for path in ["/v1/price-cards", "/v1/price-cards/match?weekday=MONDAY&time=17:30"] {
        assert_eq!(gateway.get(path).token("user").problem().await, (403, "role".into()), "{path}");
    }
}

//! Orders by person: each ticket has the price of its type, and the quote, the order, the events and the mail agree.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::prices::card_fields;
use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::revenue::euros;

impl TestCinema {
    /// Opens with the tests' ticket types and card, and a showtime by that card: two rows, the second one with wheelchair spaces.
    async fn open_with_types(plan: Plan) -> Self {
        let mut cinema = Self::open_with(plan).await;
        cinema.create_prices().await;
        cinema.showtime = cinema.schedule_by_card(&["SSSSSSSS", "WWSSSSSS"], 24 * 3600).await;
        cinema
    }

    async fn order(&self, who: &Person, mut body: Value) -> Answer {
        body["showtimeId"] = json!(self.showtime);
        self.call(Method::POST, "/v1/reservations", Some(who), Some(body)).await
    }

    async fn quote(&self, tickets: &Value) -> Answer {
        let path = format!("/v1/showtimes/{}/quote", self.showtime);
        self.call(Method::POST, &path, None, Some(json!({"tickets": tickets}))).await
    }

    async fn tariff(&self) -> Value {
        self.call(Method::GET, &format!("/v1/showtimes/{}/tariff", self.showtime), None, None)
            .await
            .expect(200)
    }

    /// Changes the card's price for adults and makes the showtime's tariff anew.
    async fn reprice(&self, adult: i64) {
        let owner = self.owner();
        let cards = self.call(Method::GET, "/v1/price-cards", Some(&owner), None).await.expect(200);
        let card = &cards["items"][0];
        let mut fields = card_fields();
        fields["prices"]["ADULT"]["STANDARD"] = json!(adult);
        fields["version"] = card["version"].clone();
        let path = format!("/v1/price-cards/{}", card["id"].as_str().unwrap());
        self.call(Method::PUT, &path, Some(&owner), Some(fields)).await.expect(200);
        let path = format!("/v1/showtimes/{}", self.showtime);
        let body = json!({"priceCardId": card["id"]});
        self.call(Method::PATCH, &path, Some(&owner), Some(body)).await.expect(200);
    }
}

fn tickets(tickets: &[(&str, &str)]) -> Value {
    tickets.iter().map(|(seat, of)| json!({"seat": seat, "type": of})).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_pays_by_person_and_everything_says_the_same_prices() {
    let cinema = TestCinema::open_with_types(Plan::default()).await;
    let ada = cinema.register().await;
    let wanted = tickets(&[("A1", "ADULT"), ("A2", "CHILD"), ("A3", "STUDENT")]);
    let quote = cinema.quote(&wanted).await.expect(200);
    // 12.00, 8.00 and 9.00, with 0.50 a ticket.
    assert_eq!(quote["total"], euros(3050));
    assert_eq!(
        quote["taxes"],
        json!([{"rate": 7000, "net": 2710, "tax": 190}, {"rate": 19000, "net": 126, "tax": 24}])
    );

    let order = json!({"tickets": wanted, "expectedTotal": euros(3050), "locale": "de"});
    let order = cinema.order(&ada, order).await.expect(201);
    assert_eq!((&order["total"], &order["taxes"]), (&quote["total"], &quote["taxes"]));
    let lines = order["lines"].as_array().unwrap();
    let named: Vec<_> = lines.iter().map(|line| (&line["seat"], &line["typeName"], &line["price"])).collect();
    assert_eq!(named[2], (&json!("A3"), &json!("Studierende"), &euros(900)));
    assert_eq!(lines[2]["proof"], "Studierendenausweis");
    assert_eq!(
        (order["fees"].as_array().unwrap().len(), &order["fees"][0]["name"]),
        (3, &json!("Buchungsgebühr"))
    );

    let id = id(&order);
    cinema.pay(&ada, &id, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &id).await;
    cinema.until_captured(&id, 3050).await;
    let event = &cinema.events("reservation.confirmed").await[0];
    assert_eq!((&event["lines"], &event["fees"]), (&order["lines"], &order["fees"]));
    let answer = cinema.get(&format!("/v1/reservations/{id}/tickets"), &ada).await.expect(200);
    let claims = |at: usize| -> Value {
        let token = answer["tickets"][at]["token"].as_str().unwrap();
        serde_json::from_slice(&decoded(token.split('.').nth(1).unwrap())).unwrap()
    };
    assert_eq!((&claims(0)["type"], &claims(2)["type"]), (&json!("ADULT"), &json!("STUDENT")));
    let mail = cinema.read_mail(&id, "RESERVATION_CONFIRMED").await;
    let text = mail["text"].as_str().unwrap_or_default();
    for line in ["Erwachsene: 12,00", "Kind: 8,00", "Studierende: 9,00", "3 × Buchungsgebühr: 1,50"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    cinema.close().await;
}

fn decoded(part: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_without_types_is_for_adults_and_the_price_shown_first_is_paid() {
    let cinema = TestCinema::open_with_types(Plan::default()).await;
    let ada = cinema.register().await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let showtime = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(
        (&showtime["prices"]["STANDARD"], &showtime["priceCard"]["name"]),
        (&euros(1250), &json!("Every day"))
    );
    let map = cinema.call(Method::GET, &format!("{path}/seats"), None, None).await.expect(200);
    assert_eq!(map["seats"][0]["price"], euros(1250));
    let order = cinema.order(&ada, json!({"seats": ["A1", "A2"]})).await.expect(201);
    assert_eq!((&order["total"], &order["lines"][0]["type"]), (&euros(2500), &json!("ADULT")));
    let best = json!({"bestAvailable": {"types": {"CHILD": 2, "ADULT": 1}}});
    let best = cinema.order(&ada, best).await.expect(201);
    assert_eq!(best["total"], euros(1250 + 2 * 850));
    let tariff = cinema.tariff().await;
    assert_eq!(
        (&tariff["types"][1]["code"], &tariff["types"][1]["prices"]["STANDARD"]),
        (&json!("CHILD"), &euros(850))
    );
    assert_eq!(tariff["orderFee"], euros(0));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_has_its_code_and_holds_nothing() {
    let cinema = TestCinema::open_with_types(Plan::default()).await;
    let ada = cinema.register().await;
    let refused = [
        (tickets(&[("A1", "SENIOR")]), 422, "ticket-type-unknown"),
        (tickets(&[("A1", "COMPANION")]), 422, "ticket-type-alone"),
        (tickets(&[("A1", "DISABLED"), ("A2", "COMPANION"), ("A3", "COMPANION")]), 422, "ticket-type-alone"),
        (tickets(&[("A1", "ADULT"), ("A1", "CHILD")]), 422, "invalid"),
        (tickets(&[("A1", "adult")]), 422, "invalid"),
        (tickets(&[("Z9", "ADULT")]), 422, "seat-unknown"),
    ];
    for (wanted, status, code) in &refused {
        let ordered = cinema.order(&ada, json!({"tickets": wanted})).await;
        assert_eq!((ordered.status.as_u16(), ordered.code()), (*status, *code), "{wanted}");
        let quoted = cinema.quote(wanted).await;
        assert_eq!((quoted.status.as_u16(), quoted.code()), (*status, *code), "{wanted}");
    }
    let alone = cinema.order(&ada, json!({"tickets": refused[1].0})).await;
    assert_eq!(alone.body["ticketTypes"], json!(["COMPANION", "DISABLED"]));
    for (body, field) in [
        (json!({"seats": ["A1"], "tickets": tickets(&[("A2", "ADULT")])}), "seats"),
        (json!({"bestAvailable": {"count": 2, "types": {"ADULT": 1}}}), "bestAvailable.count"),
        (json!({"bestAvailable": {}}), "bestAvailable.count"),
        (json!({"bestAvailable": {"types": {"ADULT": 0}}}), "bestAvailable.types"),
    ] {
        let answer = cinema.order(&ada, body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["errors"][0]["field"]),
            (422, &json!(field)),
            "{body}"
        );
    }
    assert_eq!(cinema.seat("A1").await, "FREE");
    // A disabled visitor and a companion pay once.
    let both = tickets(&[("B1", "DISABLED"), ("B2", "COMPANION")]);
    let both = cinema.order(&ada, json!({"tickets": both})).await.expect(201);
    assert_eq!(both["total"], euros(850), "the companion is free, without a fee");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_that_changed_between_view_and_hold_is_refused_with_the_new_one() {
    let cinema = TestCinema::open_with_types(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    let held = cinema.order(&ada, json!({"seats": ["A1"], "expectedTotal": euros(1250)})).await.expect(201);
    cinema.reprice(1400).await;
    cinema.until_on_sale(&cinema.showtime).await;
    // Whichever host answers, it decides by the new tariff.
    for seat in ["A2", "A3", "A4", "A5"] {
        let seen = json!({"seats": [seat], "expectedTotal": euros(1250)});
        let changed = cinema.order(&ada, seen).await;
        assert_eq!((changed.status.as_u16(), changed.code()), (409, "price-changed"));
        assert_eq!(changed.body["total"], euros(1450));
        assert_eq!(cinema.seat(seat).await, "FREE");
    }
    let anew = cinema.order(&ada, json!({"seats": ["A2"], "expectedTotal": euros(1450)})).await.expect(201);
    assert_eq!(anew["total"], euros(1450));
    // What was held keeps its price.
    cinema.pay(&ada, &id(&held), "pm_card_visa").await.expect(201);
    assert_eq!(cinema.until_confirmed(&ada, &id(&held)).await["total"], euros(1250));
    cinema.until_captured(&id(&held), 1250).await;
    cinema.close().await;
}

/// Prices change while many order: no order mixes two tariffs, and each total is that of one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_prices_change_every_order_is_of_one_tariff() {
    let cinema = TestCinema::open_with_types(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let owner = cinema.owner();
    let ordering = async {
        let mut totals = Vec::new();
        for row in ["A", "B"] {
            for number in [3, 5, 7] {
                let wanted = tickets(&[
                    (&format!("{row}{number}"), "ADULT"),
                    (&format!("{row}{}", number + 1), "ADULT"),
                ]);
                let answer = cinema.order(&owner, json!({"tickets": wanted})).await;
                // Staff may hold a few unpaid orders only.
                if answer.code() != "hold-limit" {
                    totals.push(answer.expect(201)["total"]["amount"].as_i64().unwrap());
                }
            }
        }
        totals
    };
    let changing = async {
        for price in [1300, 1400, 1500] {
            cinema.reprice(price).await;
        }
    };
    let (totals, ()) = tokio::join!(ordering, changing);
    assert!(
        !totals.is_empty() && totals.iter().all(|total| [2500, 2700, 2900, 3100].contains(total)),
        "{totals:?}"
    );
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_keeps_the_types_and_a_cancellation_keeps_the_fees() {
    let cinema = TestCinema::open_with_types(Plan::default()).await;
    let ada = cinema.register().await;
    let family = json!({"tickets": tickets(&[("A1", "ADULT"), ("A2", "CHILD")])});
    let order = cinema.order(&ada, family).await.expect(201);
    let reservation = id(&order);
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    let path = format!("/v1/reservations/{reservation}/exchange");
    let body = json!({"seats": ["A5", "A6"]});
    let moved = cinema.call(Method::POST, &path, Some(&ada), Some(body)).await.expect(200);
    let types: Vec<_> = moved["lines"].as_array().unwrap().iter().map(|line| line["type"].clone()).collect();
    assert_eq!((types, &moved["total"]), (vec![json!("ADULT"), json!("CHILD")], &euros(2100)));
    let cancelled = cinema.cancel(&ada, &reservation).await.expect(200);
    assert_eq!(cancelled["refund"]["total"], euros(2000));
    cinema.until_captured(&reservation, 100).await;
    cinema.close().await;
}

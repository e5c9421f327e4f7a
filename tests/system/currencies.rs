//! Currencies end to end: charges and refunds at the provider, valid prices, and the currency of the demo.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Person, Plan, TestCinema};

const VISA: &str = "4242424242424242";

/// Schedules a showtime with prices in this currency, and waits until its seats have the price.
async fn sell_in(cinema: &mut TestCinema, code: &str, amount: i64) {
    cinema.showtime = cinema.schedule(&["SSSS"], 24 * 3600).await;
    let price = json!({"amount": amount, "currency": code});
    let prices = json!({"prices": {"STANDARD": price}});
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(prices)).await.expect(200);
    let map = format!("{path}/seats");
    let priced = async || {
        let map = cinema.call(Method::GET, &map, None, None).await;
        map.body["seats"][0]["price"] == price
    };
    cinema.until(&format!("seats cost {price}"), priced).await;
}

async fn payment(cinema: &TestCinema, who: &Person, reservation: &str) -> Value {
    let order = cinema.reservation(who, reservation).await;
    let path = format!("/v1/payments/{}", order["payment"]["id"].as_str().unwrap());
    cinema.call(Method::GET, &path, Some(who), None).await.expect(200)
}

/// Refunds a part of a reservation as staff, waits until it is completed and returns its total.
async fn refund_part(cinema: &TestCinema, who: &Person, reservation: &str, amount: i64) -> Value {
    let paid = payment(cinema, who, reservation).await;
    let path = format!("/v1/payments/{}/refund", paid["id"].as_str().unwrap());
    let body = json!({"amount": amount, "reason": "a part"});
    cinema.call(Method::POST, &path, Some(&cinema.owner()), Some(body)).await.expect(202);
    let refunded = async || payment(cinema, who, reservation).await["refunds"][0]["status"] == "COMPLETED";
    cinema.until("the partial refund is completed", refunded).await;
    payment(cinema, who, reservation).await["refunds"][0]["total"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_and_refunds_match_the_price_in_every_kind_of_currency() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    // Currency, price in our minor units, the same in Stripe's units, and as its page shows it.
    let cases = [
        ("ISK", 3_500, 350_000, "ISK 3500.00"),
        ("UGX", 40_000, 4_000_000, "UGX 40000.00"),
        ("KWD", 3_500, 3_500, "KWD 3.500"),
        ("JPY", 1_900, 1_900, "JPY 1900"),
        ("HUF", 250_000, 250_000, "HUF 2500.00"),
        ("MGA", 1_500_000, 15_000, "MGA 15000"),
    ];
    for (code, amount, units, shown) in cases {
        sell_in(&mut cinema, code, amount).await;
        let total = json!({"amount": amount, "currency": code});
        let (on_page, by_token) = (cinema.reserve(&ada, &["A1"]).await, cinema.reserve(&ada, &["A2"]).await);
        let page = cinema.open_payment_page(&ada, &on_page).await;
        let shown_page = cinema.http.get(&page).send().await.unwrap().text().await.unwrap();
        assert!(shown_page.contains(&format!("Pay {shown}<")), "{code}: {shown_page}");
        assert!(cinema.pay_on_page(&page, VISA).await);
        cinema.pay(&ada, &by_token, "pm_card_visa").await.expect(201);
        for reservation in [&on_page, &by_token] {
            cinema.until_confirmed(&ada, reservation).await;
            assert_eq!(cinema.captured(reservation).await, units, "{code}");
            let paid = payment(&cinema, &ada, reservation).await;
            assert_eq!((&paid["status"], &paid["total"]), (&json!("SUCCEEDED"), &total), "{paid}");
        }

        let part = refund_part(&cinema, &ada, &on_page, amount / 5).await;
        assert_eq!(part, json!({"amount": amount / 5, "currency": code}));
        assert_eq!(cinema.captured(&on_page).await, units - units / 5, "{code}");
        cinema.cancel(&ada, &on_page).await.expect(200);
        let refunded = cinema.until_status(&ada, &on_page, "REFUNDED").await;
        assert_eq!(refunded["refund"]["status"], "COMPLETED", "{refunded}");
        assert_eq!(refunded["refund"]["total"]["amount"], amount - amount / 5, "{refunded}");
        assert_eq!((cinema.captured(&on_page).await, cinema.captured(&by_token).await), (0, units), "{code}");
    }
    cinema.until_sql("select count(*) from payment.payments where attention is not null", 0).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_are_rounded_to_amounts_that_the_provider_accepts() {
    let mut cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    sell_in(&mut cinema, "KWD", 3_530).await;
    let ada = cinema.register().await;
    let reservation = cinema.buy(&ada, &["A1"]).await;
    let paid = payment(&cinema, &ada, &reservation).await;
    let path = format!("/v1/payments/{}/refund", paid["id"].as_str().unwrap());
    let uneven = json!({"amount": 705, "reason": "a part"});
    let refused = cinema.call(Method::POST, &path, Some(&cinema.owner()), Some(uneven)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "refund-not-whole"), "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["field"], "amount");
    // Half of 3.530 is 1.765, and the provider's amounts in dinars end in 0.
    cinema.cancel(&ada, &reservation).await.expect(200);
    let refunded = cinema.until_status(&ada, &reservation, "REFUNDED").await;
    assert_eq!(refunded["refund"]["total"], json!({"amount": 1_770, "currency": "KWD"}), "{refunded}");
    assert_eq!(cinema.captured(&reservation).await, 3_530 - 1_770);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_that_cannot_be_charged_is_refused_when_it_is_set() {
    let cinema = TestCinema::open().await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let owner = cinema.owner();
    let set = async |prices: Value| {
        cinema.call(Method::PATCH, &path, Some(&owner), Some(json!({"prices": prices}))).await
    };
    let price = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency});
    let wrong = [
        (price(49, "EUR"), "prices.STANDARD"),
        (price(10_000, "HUF"), "prices.STANDARD"),
        (price(1_000, "CZK"), "prices.STANDARD"),
        (price(200, "DKK"), "prices.STANDARD"),
        (price(49, "JPY"), "prices.STANDARD"),
        (price(-1_200, "EUR"), "prices.STANDARD"),
        (price(1_000_000_000, "EUR"), "prices.STANDARD"),
        // At the provider the last of three decimals is 0, and an ariary has no fifths.
        (price(3_505, "KWD"), "prices.STANDARD"),
        (price(1_500_050, "MGA"), "prices.STANDARD"),
        (price(1_200, "XXX"), "prices.STANDARD.currency"),
        (price(1_200, "eur"), "prices.STANDARD.currency"),
    ];
    for (standard, field) in wrong {
        let refused = set(json!({"STANDARD": standard})).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (422, "invalid"),
            "{standard}: {}",
            refused.text
        );
        assert_eq!(refused.body["errors"][0]["field"], field, "{standard}: {}", refused.text);
    }
    let mixed = set(json!({"STANDARD": price(1_200, "EUR"), "WHEELCHAIR": price(1_200, "CHF")})).await;
    assert_eq!(mixed.expect(422)["errors"][0]["field"], "prices");
    let before = cinema.call(Method::GET, &path, None, None).await.expect(200);
    assert_eq!(before["prices"]["STANDARD"], price(1_200, "EUR"), "a refused change changes nothing");
    for valid in [price(50, "EUR"), price(20_000_000, "IDR"), price(60_000_000, "LBP"), price(50, "JPY")] {
        let set = set(json!({"STANDARD": valid})).await.expect(200);
        assert_eq!(set["prices"]["STANDARD"], valid);
    }
    let companions = json!({"STANDARD": price(1_200, "CHF"), "WHEELCHAIR": price(0, "CHF")});
    assert_eq!(set(companions.clone()).await.expect(200)["prices"], companions);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_uses_the_configured_currency() {
    let cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }.with("CURRENCY", "HUF")).await;
    let list = cinema.call(Method::GET, "/v1/currencies", None, None).await.expect(200);
    assert_eq!(list["default"], "HUF");
    let showtimes = cinema.call(Method::GET, "/v1/showtimes?pageSize=100", None, None).await.expect(200);
    let demo: Vec<&Value> = showtimes["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|showtime| showtime["id"] != cinema.showtime.as_str())
        .collect();
    assert!(!demo.is_empty());
    for showtime in demo {
        let price = &showtime["prices"]["STANDARD"];
        assert_eq!(price["currency"], "HUF");
        assert!((300_000..=500_000).contains(&price["amount"].as_i64().unwrap()), "{price}");
    }
    cinema.close().await;
}

//! The tariffs that showtimes get of price cards, and when they change.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_gets_the_card_of_its_weekday_and_time_by_the_halls_clock() {
    let staff = Staff::open().await;
    staff.create_type("ADULT", 1, json!({})).await;
    staff.create_type("CHILD", 2, json!({"seatKinds": ["STANDARD"]})).await;
    let tuesday = next(Weekday::Tuesday, 23);
    let refused = refusal(staff.schedule(tuesday, json!({})).await);
    assert_eq!(refused, (422, "price-card-missing".into(), String::new()));

    let three_d = json!([
        {"code": "3D", "name": {"en": "3D"}, "amount": 200},
        {"code": "LONG", "name": {"en": "Overlength"}, "amount": 100, "minutesOver": 99},
    ]);
    let fee = json!([{"code": "BOOKING", "name": {"en": "Fee"}, "amount": 50, "per": "TICKET", "channels": ["WEB"],
                      "refundable": false}]);
    let more = json!({"position": 1, "surcharges": three_d, "fees": fee});
    let day = staff.create_card("Day", 1200, more).await;
    let cheap = json!({"weekdays": ["TUESDAY"], "from": "17:00"});
    let cheap = staff.create_card("Cheap Tuesday", 800, cheap).await;
    for (weekday, time, card) in
        [("TUESDAY", "17:30", &cheap), ("TUESDAY", "16:59", &day), ("MONDAY", "17:30", &day)]
    {
        let found = staff.get(&format!("/v1/price-cards/match?weekday={weekday}&time={time}")).await;
        assert_eq!(found["card"], *card, "{weekday} {time}");
    }
    let wrong = staff.call(Method::GET, "/v1/price-cards/match?weekday=TUESDAY&time=7:30", None).await;
    assert_eq!(refusal(wrong).2, "time time");

    // 23:30 UTC and 1:30 UTC of the next day are Tuesday evening in New York, also in summer; 13:30 UTC is the morning.
    let evening = staff.schedule(tuesday, json!({})).await.expect(201);
    let night = staff.schedule(next(Weekday::Wednesday, 1), json!({})).await.expect(201);
    for showtime in [&evening, &night] {
        assert_eq!(showtime["priceCard"], json!({"id": cheap["id"], "name": "Cheap Tuesday"}));
        assert_eq!(showtime["prices"]["STANDARD"], json!({"amount": 800, "currency": "EUR"}));
    }
    let morning = staff.schedule(next(Weekday::Tuesday, 13), json!({"surcharges": ["3D"]})).await.expect(201);
    assert_eq!(
        (&morning["priceCard"]["name"], &morning["surcharges"]),
        (&json!("Day"), &json!(["3D", "LONG"]))
    );
    // 12.00, 2.00 for 3D, 1.00 for the length, 0.50 for booking.
    assert_eq!(morning["prices"]["STANDARD"]["amount"], 1550);
    assert_eq!(staff.get(&format!("/v1/showtimes/{}", id(&morning))).await, morning);
    let tariff = staff.published_tariff(&morning).await;
    assert_eq!(codes(&tariff), ["ADULT", "CHILD"]);
    assert_eq!((&tariff["card"]["name"], &tariff["fees"][0]["amount"]), (&json!("Day"), &json!(50)));

    let thursday = next(Weekday::Thursday, 13);
    for (more, field) in [
        (json!({"surcharges": ["IMAX"]}), "surcharges[0] surcharge-unknown"),
        (json!({"surcharges": ["3D", "3D"]}), "surcharges twice"),
        (json!({"priceCardId": uuid::Uuid::now_v7()}), "priceCardId unknown"),
        (json!({"priceCardId": day["id"], "prices": {}}), "prices prices-or-card"),
    ] {
        let refused = refusal(staff.schedule(thursday, more.clone()).await);
        assert_eq!(refused, (422, "invalid".into(), field.into()), "{more}");
    }
    let lacking =
        staff.create_card("Seats alone", 700, json!({"prices": {"ADULT": {"STANDARD": 700}}})).await;
    let refused = staff.schedule(thursday, json!({"priceCardId": lacking["id"]})).await;
    assert_eq!(refused.body["errors"][0]["kind"], "WHEELCHAIR");
    assert_eq!(refusal(refused).2, "prices price-missing");
    let named = staff.schedule(thursday, json!({"priceCardId": cheap["id"]})).await.expect(201);
    assert_eq!(named["priceCard"]["name"], "Cheap Tuesday", "a named card counts on every day");
    staff.cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_showtime_of_a_programme_gets_the_card_of_its_own_start() {
    let staff = Staff::open().await;
    staff.create_type("ADULT", 1, json!({})).await;
    staff.create_type("CHILD", 2, json!({})).await;
    staff.create_card("Evening", 1200, json!({"from": "17:00", "position": 1})).await;
    staff.create_card("Cheap Tuesday", 800, json!({"weekdays": ["TUESDAY"]})).await;
    let tuesday = next(Weekday::Tuesday, 0).date();
    let wanted = json!({
        "movieId": staff.movie["id"], "auditoriumId": staff.hall["id"], "from": tuesday.to_string(),
        "to": tuesday.next_day().unwrap().to_string(), "times": ["14:00", "20:00"],
    });
    let refused = staff.post("/v1/showtimes/bulk", wanted.clone()).await;
    assert_eq!(refusal(refused).1, "price-card-missing", "on Wednesday at 14:00");
    assert_eq!(staff.get(&format!("/v1/showtimes?auditoriumId={}", id(&staff.hall))).await["total"], 0);
    staff.create_card("Day", 1000, json!({"position": 2})).await;
    let made = staff.post("/v1/showtimes/bulk", wanted).await.expect(201);
    let made = made["created"].as_array().unwrap();
    let cards: Vec<_> = made.iter().map(|made| made["priceCard"]["name"].as_str().unwrap()).collect();
    assert_eq!(cards, ["Cheap Tuesday", "Cheap Tuesday", "Day", "Evening"]);
    staff.cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tariff_stays_when_its_card_or_a_type_changes_and_is_made_anew_only_on_request() {
    let staff = Staff::open().await;
    staff.create_type("ADULT", 1, json!({})).await;
    let child = staff.create_type("CHILD", 2, json!({})).await;
    let card = staff.create_card("Day", 1200, json!({})).await;
    let made = staff.schedule(next(Weekday::Friday, 18), json!({})).await.expect(201);
    let before = staff.published_tariff(&made).await;

    let changed = json!({"prices": {"ADULT": {"STANDARD": 1300, "WHEELCHAIR": 1300}, "CHILD": {"STANDARD": 700}},
                         "name": "Day 2"});
    let card = staff.put(&card, "/v1/price-cards", changed).await.expect(200);
    staff.put(&child, "/v1/ticket-types", json!({"active": false})).await.expect(200);
    let path = format!("/v1/showtimes/{}", id(&made));
    assert_eq!(staff.get(&path).await, made, "a change of the card changes no showtime");
    let patch = async |change: Value| staff.call(Method::PATCH, &path, Some(change)).await;
    let saturday = staff.showtime(next(Weekday::Saturday, 18), json!({}))["startsAt"].clone();
    let moved = patch(json!({"startsAt": saturday})).await.expect(200);
    assert_eq!(moved["priceCard"]["name"], "Day");
    assert_eq!(staff.published_tariff(&made).await, before, "a new start keeps the prices");
    let later = staff.schedule(next(Weekday::Sunday, 18), json!({})).await.expect(201);
    assert_eq!(
        codes(&staff.published_tariff(&later).await),
        ["ADULT"],
        "new tariffs lack the type that is switched off"
    );

    let anew = patch(json!({"priceCardId": card["id"]})).await.expect(200);
    assert_eq!(
        (&anew["priceCard"]["name"], &anew["prices"]["STANDARD"]["amount"]),
        (&json!("Day 2"), &json!(1300))
    );
    assert_eq!(codes(&staff.published_tariff(&made).await), ["ADULT"]);
    let audited = "select count(*) from auth.audit where kind = 'PRICES_CHANGED' and details->'tariff'->'card'->>'name' = 'Day 2'";
    staff.cinema.until_sql(audited, 1).await;
    let alone = patch(json!({"surcharges": ["3D"]})).await.expect(422);
    assert_eq!(alone["errors"][0]["code"], "no-change", "{alone}");
    staff.delete("/v1/price-cards", &card).await.expect(204);
    assert_eq!(staff.get(&path).await, anew, "the card is only a template");
    let gone = patch(json!({"priceCardId": card["id"]})).await;
    assert_eq!(refusal(gone).2, "priceCardId unknown");

    let price = json!({"amount": 900, "currency": "EUR"});
    let prices = json!({"STANDARD": price, "WHEELCHAIR": price});
    let plain = patch(json!({"prices": prices})).await.expect(200);
    assert!(plain.get("priceCard").is_none() && plain.get("surcharges").is_none(), "{plain}");
    assert_eq!(plain["prices"], prices);
    assert_eq!(staff.published_tariff(&made).await, Value::Null);
    staff.cinema.close().await;
}

//! Ticket types and price cards over REST: what is refused, and changes at the same time.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_type_is_replaced_over_its_version_and_deleted_when_nothing_uses_it() {
    let staff = Staff::open().await;
    const PATH: &str = "/v1/ticket-types";
    let child = staff.create_type("CHILD", 2, json!({"mostPerOrder": 4})).await;
    let adult = staff.create_type("ADULT", 1, json!({})).await;
    assert_eq!(
        (&adult["version"], &adult["reportedAs"], &adult["seatKinds"]),
        (&json!(1), &json!("FULL"), &json!([]))
    );
    let listed = staff.cinema.call(Method::GET, PATH, None, None).await.expect(200);
    assert_eq!(listed["items"], json!([adult, child]), "everybody sees them, by position");

    let taken = staff.post(PATH, of_type("ADULT", 9, json!({}))).await;
    assert_eq!(refusal(taken), (409, "ticket-type-taken".into(), String::new()));
    for (wrong, field) in [
        (json!({"code": "child"}), "code type"),
        (json!({"name": {}}), "name required"),
        (json!({"channels": []}), "channels count"),
        (json!({"seatKinds": ["GAP"]}), "seatKinds gap"),
        (json!({"mostPerOrder": 0}), "mostPerOrder range"),
        (json!({"accompanies": "NOBODY"}), "accompanies unknown"),
        (json!({"accompanies": "OTHER"}), "accompanies accompanies"),
        (json!({"version": 1}), "version unknown-field"),
    ] {
        let refused = refusal(staff.post(PATH, of_type("OTHER", 3, wrong.clone())).await);
        assert_eq!(refused, (422, "invalid".into(), field.into()), "{wrong}");
    }

    let changed =
        staff.put(&child, PATH, json!({"name": {"en": "Child under 14"}, "active": false})).await.expect(200);
    assert_eq!((&changed["version"], &changed["mostPerOrder"]), (&json!(2), &json!(4)));
    assert_eq!(refusal(staff.put(&child, PATH, json!({})).await).1, "version-changed");
    let other_code = staff.put(&changed, PATH, json!({"code": "KID"})).await;
    assert_eq!(refusal(other_code), (422, "invalid".into(), "code type".into()));
    let unknown = staff.put(&changed, PATH, json!({"id2": 1})).await;
    assert_eq!(refusal(unknown).2, "id2 unknown-field");
    let mut body = of_type("CHILD", 2, json!({}));
    let path = format!("{PATH}/{}", id(&child));
    let unversioned = staff.call(Method::PUT, &path, Some(body.clone())).await;
    assert_eq!(refusal(unversioned).2, "version required");
    body["version"] = json!(2);
    let nobody = format!("{PATH}/{}", uuid::Uuid::now_v7());
    assert_eq!(staff.call(Method::PUT, &nobody, Some(body.clone())).await.status, 404);
    let whole = staff.call(Method::PUT, &path, Some(body)).await.expect(200);
    assert!(whole.get("mostPerOrder").is_none(), "a field that is left out is gone: {whole}");
    let same_version = join_all((0..6).map(|n| staff.put(&whole, PATH, json!({"position": n})))).await;
    let done = same_version.iter().filter(|answer| answer.status == 200).count();
    assert!(
        done == 1
            && same_version.iter().all(|answer| answer.status == 200 || answer.code() == "version-changed")
    );

    let helper = staff.create_type("HELPER", 3, json!({"accompanies": "CHILD"})).await;
    let card = staff.create_card("Day", 1200, json!({"prices": {"ADULT": {"STANDARD": 1200}}})).await;
    assert_eq!(refusal(staff.delete(PATH, &adult).await).1, "ticket-type-in-use", "a card has it");
    assert_eq!(refusal(staff.delete(PATH, &child).await).1, "ticket-type-in-use", "a type accompanies it");
    staff.delete("/v1/price-cards", &card).await.expect(204);
    for of in [&helper, &child, &adult] {
        staff.delete(PATH, of).await.expect(204);
        assert_eq!(staff.delete(PATH, of).await.status, 404);
    }
    assert_eq!(staff.get(PATH).await["total"], 0);
    staff.cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_card_names_each_wrong_field_and_no_card_keeps_a_type_that_was_deleted() {
    let staff = Staff::open().await;
    const PATH: &str = "/v1/price-cards";
    staff.create_type("ADULT", 1, json!({})).await;
    staff.create_type("CHILD", 2, json!({})).await;
    let fee = |changes: Value| {
        let fee = json!({"code": "BOOKING", "name": {"en": "Fee"}, "amount": 50, "per": "TICKET", "channels": ["WEB"],
                         "refundable": false});
        json!({"fees": [with(fee, changes)]})
    };
    for (wrong, field) in [
        (json!({"name": ""}), "name length"),
        (json!({"currency": "XXX"}), "currency type"),
        (json!({"prices": {}}), "prices count"),
        (json!({"prices": {"STUDENT": {"STANDARD": 900}}}), "prices.STUDENT unknown"),
        (json!({"prices": {"ADULT": {"GAP": 900}}}), "prices.ADULT.GAP gap"),
        (json!({"prices": {"ADULT": {"STANDARD": 1}}}), "prices.ADULT.STANDARD price"),
        (
            json!({"surcharges": [{"code": "3D", "name": {"en": "3D"}, "amount": -1}]}),
            "surcharges[0].amount range",
        ),
        (fee(json!({"channels": []})), "fees[0].channels count"),
        (json!({"tax": {"tickets": 100_001, "fees": 0, "included": true}}), "tax.tickets range"),
        (json!({"weekdays": ["MONDAY", "MONDAY"]}), "weekdays weekdays"),
        (json!({"from": "7:00"}), "from time"),
        (json!({"zzz": 1}), "zzz unknown-field"),
    ] {
        let refused = refusal(staff.post(PATH, of_card("Day", 1200, wrong.clone())).await);
        assert_eq!(refused, (422, "invalid".into(), field.into()), "{wrong}");
    }
    let card = staff.create_card("Day", 1200, fee(json!({}))).await;
    assert_eq!(card["prices"]["CHILD"], json!({"STANDARD": 600}));
    let unknown = staff
        .put(&card, PATH, json!({"prices": {"ADULT": {"STANDARD": 900}, "X": {"STANDARD": 1000}}}))
        .await;
    assert_eq!(refusal(unknown).2, "prices.X unknown");
    let changed = staff
        .put(&card, PATH, json!({"prices": {"ADULT": {"STANDARD": 900}}, "from": "17:00"}))
        .await
        .expect(200);
    assert_eq!((&changed["version"], &changed["prices"]), (&json!(2), &json!({"ADULT": {"STANDARD": 900}})));
    assert_eq!(staff.get(PATH).await["items"], json!([changed]));
    assert_eq!(refusal(staff.put(&card, PATH, json!({})).await).1, "version-changed");

    // A card is created with a type while the type is deleted: one of the two is refused.
    for round in 0..6 {
        let of = staff.create_type(&format!("T{round}"), 9, json!({})).await;
        let prices = json!({"prices": {(of["code"].as_str().unwrap()): {"STANDARD": 900}}});
        let with_it = of_card("Race", 1200, prices);
        let (made, deleted) = tokio::join!(staff.post(PATH, with_it), staff.delete("/v1/ticket-types", &of));
        let outcome = (made.status.as_u16(), deleted.status.as_u16());
        assert!([(201, 409), (422, 204)].contains(&outcome), "{outcome:?}: {} {}", made.text, deleted.text);
    }
    let ada = staff.cinema.register().await;
    staff.cinema.call(Method::GET, PATH, Some(&ada), None).await.expect(403);
    staff.cinema.call(Method::GET, PATH, None, None).await.expect(401);
    staff.cinema.close().await;
}

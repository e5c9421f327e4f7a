//! Ticket types and price cards with something wrong: a sentence at each field, by the page or by the server, and rows that were changed
//! meanwhile.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::price_cards::{TUESDAY, change, first_card, next, read};
use crate::speak;
use crate::staff::{log_in_owner, set};

/// The text of an input, by its name.
fn value(name: &str) -> String {
    format!("document.querySelector('[name=\"{name}\"]').value")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_changed_meanwhile_is_loaded_without_losing_what_was_typed() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let card = cinema.create_prices().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/prices/{}", id(&card))).await;
    browser.fill("[name='prices.ADULT.STANDARD']", "13.50").await;
    change(&cinema, "/v1/price-cards", &card, |card| {
        card["prices"]["CHILD"]["STANDARD"] = json!(700);
        card["name"] = json!("Each day");
    })
    .await;
    browser.press("Save").await;
    browser.sees("Somebody has changed this meanwhile. Nothing was saved.").await;
    browser.press("Load it, and keep what I typed").await;
    browser.sees("This is the new version, with what you typed.").await;
    let texts = ["name", "prices.ADULT.STANDARD", "prices.CHILD.STANDARD"].map(value).join(", ");
    assert_eq!(browser.script(&format!("return [{texts}]")).await, json!(["Each day", "13.50", "7.00"]));
    browser.press("Save").await;
    browser.sees("Saved: Each day").await;
    let saved = first_card(&cinema).await;
    assert_eq!(
        (&saved["prices"]["ADULT"]["STANDARD"], &saved["prices"]["CHILD"]["STANDARD"]),
        (&json!(1350), &json!(700))
    );

    let child = read(&cinema, "/v1/ticket-types").await["items"][1].clone();
    browser.click("[aria-label='Change Child']").await;
    browser.fill("dialog [name=mostPerOrder]", "4").await;
    change(&cinema, "/v1/ticket-types", &child, |of| of["name"]["en"] = json!("Kid")).await;
    browser.press("Save").await;
    browser.press("Load it, and keep what I typed").await;
    let texts = ["name.en", "mostPerOrder"].map(value).join(", ");
    browser.until(&format!("[{texts}].join() === 'Kid,4'")).await;
    browser.press("Save").await;
    browser.sees("Saved: Kid").await;
    assert_eq!(read(&cinema, "/v1/ticket-types").await["items"][1]["mostPerOrder"], 4);
    browser.close().await;
    cinema.close().await;
}

/// What is entered into fields by their names, and the field at which the sentence is.
struct Wrong {
    values: Value,
    at: &'static str,
}

fn wrong(values: Value, at: &'static str) -> Wrong {
    Wrong { values, at }
}

/// A card that could be saved, apart from the given texts.
fn cards() -> Vec<Wrong> {
    vec![
        wrong(json!({"name": ""}), "name"),
        wrong(json!({"prices.ADULT.STANDARD": ""}), "prices.ADULT.STANDARD"),
        wrong(json!({"prices.ADULT.STANDARD": "twelve"}), "prices.ADULT.STANDARD"),
        wrong(json!({"prices.CHILD.LOVESEAT": "0.40"}), "prices.CHILD.LOVESEAT"),
        wrong(json!({"surcharges[0].name.en": ""}), "surcharges[0].name.en"),
        wrong(json!({"surcharges[0].amount": ""}), "surcharges[0].amount"),
        wrong(json!({"surcharges[0].amount": "100000"}), "surcharges[0].amount"),
        wrong(json!({"surcharges[0].minutesOver": "0"}), "surcharges[0].minutesOver"),
        wrong(json!({"fees[0].amount": "-1"}), "fees[0].amount"),
        wrong(json!({"fees[0].channels": false}), "fees[0].channels"),
        wrong(json!({"tax.tickets": ""}), "tax.tickets"),
        wrong(json!({"tax.fees": "120"}), "tax.fees"),
        wrong(json!({"weekdays": false}), "weekdays"),
    ]
}

fn types() -> Vec<Wrong> {
    vec![
        wrong(json!({"name.en": ""}), "name.en"),
        wrong(json!({"code": "a b"}), "code"),
        wrong(json!({"code": "ADULT"}), "code"),
        wrong(json!({"seatKinds": false}), "seatKinds"),
        wrong(json!({"channels": false}), "channels"),
        wrong(json!({"mostPerOrder": "0"}), "mostPerOrder"),
    ]
}

/// Fills the form: texts into fields, `false` unchecks every box of the name. Submits, and returns the sentence at the field.
async fn refused(browser: &Browser, form: &str, good: &Value, wrong: &Wrong) -> String {
    let script = format!(
        "const form = document.querySelector({}); const enter = (values) => {{ \
           for (const [name, value] of Object.entries(values)) \
             for (const control of [form.elements[name]].flatMap((one) => one instanceof RadioNodeList ? [...one] : [one])) \
               value === false ? (control.checked = false) : (control.value = value); }}; \
         for (const box of form.querySelectorAll('[type=checkbox]')) box.checked = true; \
         enter({good}); enter({}); form.requestSubmit()",
        json!(form),
        wrong.values
    );
    browser.script(&script).await;
    let place = format!("{form} [data-field=\"{}\"] > .wrong", wrong.at);
    let found = format!("document.querySelector({})", json!(place));
    browser.until(&format!("{found} && !document.querySelector('form [aria-busy]')")).await;
    let focused = format!(
        "return document.activeElement.closest('[data-field]')?.dataset.field === {}",
        json!(wrong.at)
    );
    assert_eq!(browser.script(&focused).await, true, "the focus at {}", wrong.at);
    assert_eq!(
        browser
            .script(&format!("return document.querySelectorAll({}).length", json!(format!("{form} .wrong"))))
            .await,
        1
    );
    browser.script(&format!("return {found}.innerText")).await.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_input_in_each_kind_of_field_gets_a_sentence_at_its_place_in_both_languages() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    cinema.create_prices().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let card = json!({"name": "Night", "prices.ADULT.STANDARD": "12", "surcharges[0].name.en": "3D", "surcharges[0].amount": "1",
                      "fees[0].name.en": "Booking", "fees[0].amount": "1", "tax.tickets": "7", "tax.fees": "7"});
    let of_type = json!({"name.en": "Member", "code": "MEMBER", "mostPerOrder": ""});
    let mut sentences: Vec<Vec<String>> = Vec::new();
    for (language, buttons) in [
        ("en", ["Add surcharge", "Add fee", "New ticket type"]),
        ("de", ["Zuschlag hinzufügen", "Gebühr hinzufügen", "Neuer Tarif"]),
    ] {
        speak(&browser, language).await;
        let mut found = Vec::new();
        browser.go("/staff/prices/new").await;
        browser.press(buttons[0]).await;
        browser.press(buttons[1]).await;
        let form = "main form.form";
        for wrong in &cards() {
            let mut good = card.clone();
            for name in ["prices.CHILD.LOVESEAT", "surcharges[0].minutesOver"] {
                good[name] = json!("");
            }
            found.push(refused(&browser, form, &good, wrong).await);
        }
        browser.go("/staff/prices").await;
        browser.press(buttons[2]).await;
        browser.find("dialog[open] form").await;
        for wrong in &types() {
            found.push(refused(&browser, "dialog[open] form.form", &of_type, wrong).await);
        }
        sentences.push(found);
    }
    for (english, german) in sentences[0].iter().zip(&sentences[1]) {
        assert_ne!(english, german);
    }
    assert!(
        sentences[0]
            .iter()
            .all(|text| !text.contains("null") && !text.contains("false") && !text.contains('{')),
        "{sentences:#?}"
    );
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_server_is_at_the_row_of_the_price_or_in_a_sentence() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    cinema.create_prices().await;
    let member = json!({"code": "MEMBER", "name": {"en": "Member"}, "channels": ["WEB"], "position": 9, "active": true});
    let member = cinema.create_ticket_type(member).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/prices/new").await;
    for (name, text) in
        [("name", "Members"), ("prices.MEMBER.STANDARD", "9"), ("tax.tickets", "7"), ("tax.fees", "7")]
    {
        browser.fill(&format!("[name='{name}']"), text).await;
    }
    let path = format!("/v1/ticket-types/{}", id(&member));
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    browser.press("Create price card").await;
    browser.sees("This ticket type does not exist any more.").await;
    assert_eq!(browser.focus().await, "Member, Seat");

    browser.go("/staff/prices").await;
    browser.click("[aria-label='Delete Child']").await;
    browser.press("Delete").await;
    browser.sees("It is on a price card, or another type accompanies it.").await;
    browser.click("[aria-label='Switch off Child']").await;
    browser.sees("Child is off.").await;
    assert_eq!(read(&cinema, "/v1/ticket-types").await["items"][1]["active"], false);

    // The auditorium has wheelchair spaces, and the default type no price for them.
    let card = first_card(&cinema).await;
    change(&cinema, "/v1/price-cards", &card, |card| {
        drop(card["prices"]["ADULT"].as_object_mut().unwrap().remove("WHEELCHAIR"))
    })
    .await;
    cinema.schedule(&["SW"], 48 * 3600).await;
    browser.go("/staff/showtimes").await;
    browser.press("New showtime").await;
    let halls = read(&cinema, "/v1/auditoriums").await;
    let last = halls["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hall| hall["rows"][0]["seats"].as_array().unwrap().len() == 2);
    set(&browser, "dialog [name=auditoriumId]", &id(last.unwrap())).await;
    set(&browser, "dialog [name=date]", &next(TUESDAY)).await;
    browser.press("New showtime").await;
    browser
        .sees("The card has no price of the first ticket type for this kind of seat: Wheelchair space.")
        .await;
    browser.close().await;
    cinema.close().await;
}

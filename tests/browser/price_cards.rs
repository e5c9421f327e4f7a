//! Ticket types and price cards: staff make them by keyboard and see which card applies. `price_errors`: what is wrong in them.
//! `planning_by_card`: showtimes and orders with them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::axe::{axe, violations};
use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, DOWN, ENTER, PHONE, RIGHT, Screen, TAB, day_of, slot};
use crate::staff::{log_in_owner, set};

pub const TUESDAY: u8 = 2;

/// The next date with this number of the weekday (Monday is 1) that is not today or tomorrow.
pub fn next(weekday: u8) -> String {
    let days = (2..9).map(|days| time::OffsetDateTime::now_utc() + time::Duration::days(days));
    let found = days.map(|at| at.date()).find(|date| date.weekday().number_from_monday() == weekday);
    found.unwrap().to_string()
}

pub async fn read(cinema: &TestCinema, path: &str) -> Value {
    cinema.call(Method::GET, path, Some(&cinema.owner()), None).await.expect(200)
}

pub async fn first_card(cinema: &TestCinema) -> Value {
    read(cinema, "/v1/price-cards").await["items"][0].clone()
}

/// Replaces the fields of a row over REST, as another person would meanwhile.
pub async fn change(cinema: &TestCinema, path: &str, row: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut fields = row.clone();
    for name in ["id", "createdAt", "updatedAt"] {
        fields.as_object_mut().unwrap().remove(name);
    }
    change(&mut fields);
    let path = format!("{path}/{}", id(row));
    cinema.call(Method::PUT, &path, Some(&cinema.owner()), Some(fields)).await.expect(200)
}

/// Creates a ticket type in the dialog, with the keyboard only.
async fn type_by_keyboard(browser: &Browser, name: &str, german: &str, proof: &str) {
    browser.tab_to("New ticket type").await;
    browser.keys(&[ENTER]).await;
    browser.find("dialog[open] [name='name.en']").await;
    browser.tab_to("Name (English)").await;
    browser.keys(&[name]).await;
    browser.tab_to("Name (Deutsch)").await;
    browser.keys(&[german]).await;
    browser.tab_to("Proof at the door, such as a student card (English)").await;
    browser.keys(&[proof, ENTER]).await;
    browser.until("!document.querySelector('dialog[open]')").await;
    browser.sees(&format!("Saved: {name}")).await;
    browser.until("document.activeElement?.matches('h1')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_make_types_and_a_card_by_keyboard_and_a_visitor_sees_its_price() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/prices").await;
    browser.sees("First make the ticket types.").await;
    browser.find("main h1").await;
    for (name, german, proof) in [
        ("Adult", "Erwachsene", ""),
        ("Child (under 12)", "Kinder", ""),
        ("Student", "Studierende", "student card"),
        ("Senior", "Ältere", ""),
    ] {
        type_by_keyboard(&browser, name, german, proof).await;
    }
    browser.tab_to("Move Senior up").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Senior is number 3 now.").await;
    browser.until("document.activeElement?.ariaLabel === 'Move Senior up'").await;
    let types = read(&cinema, "/v1/ticket-types").await;
    let field =
        |name: &str| types["items"].as_array().unwrap().iter().map(|of| of[name].clone()).collect::<Value>();
    assert_eq!(field("code"), json!(["ADULT", "CHILD_UNDER_12", "SENIOR", "STUDENT"]));
    assert_eq!(types["items"][3]["proof"], json!({"en": "student card"}));

    browser.tab_to("New price card").await;
    browser.keys(&[ENTER]).await;
    browser.find("main [name='tax.tickets']").await;
    browser.tab_to("Name").await;
    browser.keys(&["Cheap Tuesday"]).await;
    browser.tab_to("Adult, Seat").await;
    browser.keys(&["8.50", DOWN]).await;
    assert_eq!(browser.focus().await, "Child (under 12), Seat");
    browser.keys(&["6", RIGHT]).await;
    assert_eq!(browser.focus().await, "Child (under 12), Love seat");
    browser.keys(&["9.00", DOWN, TAB]).await;
    assert_eq!(browser.focus().await, "Senior, Wheelchair space");
    browser.tab_to("Add fee").await;
    browser.keys(&[ENTER]).await;
    assert_eq!(browser.focus().await, "Name (English)");
    browser.keys(&["Booking fee"]).await;
    browser.tab_to("Amount (EUR)").await;
    browser.keys(&["0.50"]).await;
    browser.tab_to("On tickets (%)").await;
    browser.keys(&["7", TAB, "19"]).await;
    for day in ["Mon", "Wed", "Thu", "Fri", "Sat", "Sun"] {
        browser.tab_to(day).await;
        browser.keys(&[" "]).await;
    }
    set(&browser, "[name=until]", "18:00").await;
    browser.tab_to("Create price card").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Tuesday before 18:00").await;
    let card = first_card(&cinema).await;
    assert_eq!(
        card["prices"],
        json!({"ADULT": {"STANDARD": 850}, "CHILD_UNDER_12": {"STANDARD": 600, "LOVESEAT": 900}})
    );
    assert_eq!((&card["weekdays"], &card["until"]), (&json!(["TUESDAY"]), &json!("18:00")));
    assert_eq!(card["tax"], json!({"tickets": 7000, "fees": 19000, "included": true}));
    assert_eq!((&card["fees"][0]["code"], &card["fees"][0]["amount"]), (&json!("BOOKING_FEE"), &json!(50)));

    browser.press("Show the card").await;
    browser.sees("Tue 17:30 → Cheap Tuesday").await;
    set(&browser, "[name=time]", "18:00").await;
    browser.press("Show the card").await;
    browser.sees("Tue 18:00 → no card applies").await;

    let showtime = schedule_on_tuesday(&browser, &cinema).await;
    browser.go(&format!("/showtimes/{showtime}")).await;
    browser.sees("€9.00").await;
    browser.close().await;
    cinema.close().await;
}

/// Plans a showtime in the dialog by the card that applies on Tuesdays at 17:30, after one at a time without a card was refused.
async fn schedule_on_tuesday(browser: &Browser, cinema: &TestCinema) -> String {
    let day = next(TUESDAY);
    browser.go(&format!("/staff/showtimes?date={day}")).await;
    browser.press("New showtime").await;
    browser.sees("By price card (automatic)").await;
    set(browser, "dialog [name=time]", "20:00").await;
    browser.sees("No price card applies: Tue 20:00.").await;
    browser.press("New showtime").await;
    browser.sees("No price card applies at that time.").await;
    let place = "document.querySelector('dialog [data-field=priceCardId] .wrong') && document.activeElement.name === 'priceCardId'";
    browser.until(place).await;
    set(browser, "dialog [name=time]", "17:30").await;
    browser.sees("Cheap Tuesday applies.").await;
    browser.press("New showtime").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    let made = read(cinema, &format!("/v1/showtimes?date={day}")).await["items"][0].clone();
    assert_eq!(made["priceCard"]["name"], "Cheap Tuesday");
    let showtime = id(&made);
    cinema.until_on_sale(&showtime).await;
    showtime
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_of_a_spreadsheet_are_pasted_over_the_prices() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let card = cinema.create_prices().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/prices/{}", id(&card))).await;
    let first = "[name='prices.ADULT.STANDARD']";
    browser.find(first).await;
    let paste = |text: &str| {
        format!(
            "const cell = document.querySelector(\"{first}\"); cell.focus(); cell.select(); \
             const data = new DataTransfer(); data.setData('text', {}); \
             cell.dispatchEvent(new ClipboardEvent('paste', {{clipboardData: data, bubbles: true, cancelable: true}}))",
            json!(text)
        )
    };
    browser.script(&paste("13,00 €\t€ 16.50\n9.00\t\n")).await;
    browser.press("Save").await;
    browser.sees("Saved: Every day").await;
    let prices = first_card(&cinema).await["prices"].clone();
    assert_eq!((&prices["ADULT"]["STANDARD"], &prices["ADULT"]["LOVESEAT"]), (&json!(1300), &json!(1650)));
    assert_eq!((&prices["CHILD"]["STANDARD"], &prices["CHILD"]["LOVESEAT"]), (&json!(900), &Value::Null));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_week_shows_the_card_that_the_server_chooses() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let always = cinema.create_prices().await;
    let limits = [
        json!({"name": "Tuesday", "weekdays": ["TUESDAY"], "until": "17:30"}),
        json!({"name": "Night", "weekdays": ["FRIDAY", "SATURDAY"], "from": "22:00", "until": "04:00"}),
        json!({"name": "Evening", "from": "17:00", "until": "23:15"}),
    ];
    for (position, limit) in limits.into_iter().enumerate() {
        let mut card = crate::cinema::prices::card_fields();
        card.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        card["position"] = json!(position);
        cinema.create_price_card(card).await;
    }
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/prices").await;
    browser.find("[aria-label='The week'] tbody tr").await;
    let cells = "return [...document.querySelectorAll('[aria-label=\"The week\"] tbody tr')] \
                 .map((row) => [...row.cells].map((cell) => cell.innerText.trim()))";
    let rows = browser.script(cells).await;
    let rows = rows.as_array().unwrap();
    assert!(rows.len() >= 5, "{rows:#?}");
    let days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    let mut seen = std::collections::BTreeSet::new();
    for row in rows {
        let (from, until) = row[0].as_str().unwrap().split_once(" – ").unwrap();
        let last = last_minute(until);
        for (at, day) in days.iter().enumerate() {
            for time in [from, &last] {
                let chosen = read(&cinema, &format!("/v1/price-cards/match?weekday={day}&time={time}")).await;
                assert_eq!(row[at + 1], chosen["card"]["name"], "{day} {time}");
                seen.insert(row[at + 1].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    // A card that applies always, above the others.
    change(&cinema, "/v1/price-cards", &always, |card| card["position"] = json!(0)).await;
    browser.reload().await;
    browser.sees("Never used: a card above it always applies.").await;
    browser.close().await;
    cinema.close().await;
}

/// The minute before a time such as 17:30.
fn last_minute(time: &str) -> String {
    let (hours, minutes) = time.split_once(':').unwrap();
    let before = hours.parse::<u32>().unwrap() * 60 + minutes.parse::<u32>().unwrap() - 1;
    format!("{:02}:{:02}", before / 60, before % 60)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_on_the_pages_of_prices_and_none_is_wider_than_a_phone() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let card = cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSS"], 24 * 3600).await;
    let day = day_of(&read(&cinema, &format!("/v1/showtimes/{}", cinema.showtime)).await);
    let schedule = format!("/staff/showtimes?date={day}");
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let axe = axe();
    let mut found = Vec::new();
    // The address, a button that opens a dialog, and what is there then.
    let editor = format!("/staff/prices/{}", id(&card));
    let pages: [(&str, &str, &str); 7] = [
        ("/staff/prices", "", "[aria-label='The week']"),
        ("/staff/prices", "New ticket type", "dialog [name=code]"),
        ("/staff/prices/new", "Add fee", "[name='fees[0].amount']"),
        (&editor, "Add surcharge", "[name='surcharges[1].amount']"),
        (&schedule, "New showtime", "dialog [name=surcharges]"),
        (&schedule, "Plan several days", "dialog [name=surcharges]"),
        (&schedule, "", ".timeline-block"),
    ];
    for (page, button, wanted) in pages {
        browser.go(page).await;
        browser.find("main h1").await;
        if !button.is_empty() {
            browser.press(button).await;
        }
        browser.find(wanted).await;
        if wanted == ".timeline-block" {
            browser.script("document.querySelector('.timeline-block').click()").await;
            browser.find("dialog[open] details").await;
            browser
                .script("for (const fold of document.querySelectorAll('dialog details')) fold.open = true")
                .await;
        }
        browser.script(&axe).await;
        for screen in [DESKTOP, Screen { dark: true, ..DESKTOP }, Screen { dark: false, ..PHONE }, PHONE] {
            browser.set_screen(screen).await;
            for violation in violations(&browser).await {
                found.push(format!("{page} {button} {screen:?}: {violation}"));
            }
            let wide = browser.script("return [document.documentElement, ...document.querySelectorAll('dialog[open]')].map((one) => one.scrollWidth - one.clientWidth)").await;
            if wide.as_array().unwrap().iter().any(|more| more != 0) {
                found.push(format!("{page} {button} {screen:?} is {wide} too wide"));
            }
        }
        browser.set_screen(DESKTOP).await;
    }
    assert!(found.is_empty(), "{found:#?}");
    browser.close().await;
    cinema.close().await;
}

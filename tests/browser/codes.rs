//! What staff type and scan: an order's code in the search and at the door, and tickets by hand scanners on any keyboard layout.

use serde_json::json;

use crate::cinema::{Person, TestCinema};
use crate::door::{network, tickets};
use crate::driver::{Browser, DESKTOP, ENTER, PHONE, slot};
use crate::log_in_new;
use crate::staff::log_in_owner;

async fn code_of(cinema: &TestCinema, who: &Person, order: &str) -> String {
    cinema.reservation(who, order).await["code"].as_str().unwrap().to_owned()
}

/// The same code as people type it.
fn ways_to_type(code: &str) -> [String; 3] {
    let (first, second) = code.split_at(4);
    [format!("{first}-{second}"), code.to_lowercase(), format!(" {} {} ", first.to_lowercase(), second)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_find_an_order_by_its_code_and_read_who_ordered_and_what_happened() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let guest = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&guest, "adalovelace").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let code = code_of(&cinema, &ada, &order).await;
    // What the customer reads is what staff find.
    guest.go(&format!("/reservations/{order}")).await;
    guest.sees(&format!("{}-{}", &code[..4], &code[4..])).await;
    guest.close().await;

    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/orders").await;
    browser.sees("adalovelace@example.org").await;
    let row = "[...document.querySelectorAll('tbody tr')].some((row) => \
               row.innerText.includes('adalovelace\\n') && row.innerText.includes('adalovelace@example.org'))";
    browser.until(row).await;
    for typed in ways_to_type(&code) {
        browser.go("/staff/orders").await;
        browser.fill("[name=who]", &typed).await;
        browser.keys(&[ENTER]).await;
        browser.until(&format!("location.pathname === '/staff/orders/{order}'")).await;
    }
    browser.sees("Ordered, seats held").await;
    browser.sees("Money arrived · confirmed").await;
    browser.until("!document.querySelector('.story').innerText.includes('→')").await;
    let raw = "return document.querySelector('main').innerText.match(/payment-succeeded|begin-payment|awaiting-payment/)";
    assert_eq!(browser.script(raw).await, json!(null));

    browser.go("/staff/orders?who=K7M2-QX4D").await;
    browser.sees("No customer and no order is called K7M2-QX4D").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_code_at_the_door_lists_the_seats_of_the_order() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSS"], 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3"]).await;
    let cancelled = cinema.buy(&ada, &["A5"]).await;
    cinema.cancel(&ada, &cancelled).await.expect(200);
    let signed = tickets(&cinema, &ada, &order).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    let code = code_of(&cinema, &ada, &order).await;
    for typed in ways_to_type(&code) {
        browser.fill("#door-code", &typed).await;
        browser.press("Check").await;
        browser.until("document.querySelectorAll('.door-seats [data-state=open]').length === 3").await;
        browser.press("Done").await;
        browser.sees("Ready for the next ticket").await;
    }
    browser.fill("#door-code", &code).await;
    browser.press("Check").await;
    browser.sees("Row A, seat 2").await;
    browser.click(".door-seats li:nth-child(2) button").await;
    browser
        .until("document.querySelector('.door-seats li:nth-child(2)').innerText.includes('In since')")
        .await;
    browser.press("Let all 2 in").await;
    browser.until("document.querySelectorAll('.door-seats [data-state=in]').length === 3").await;
    browser.sees("3 tickets let in on this device").await;
    browser.click(".door-seats li:nth-child(3) button").await;
    browser.sees("2 tickets let in on this device").await;

    // The ticket of a seat that was let in by the code, and of the one that was taken back.
    // A scanner types wherever the focus is.
    browser.press("Done").await;
    for (ticket, word) in [(&signed[1], "Already in since"), (&signed[2], "Come in")] {
        browser.keys(&[ticket, ENTER]).await;
        browser.sees(word).await;
        browser.script("document.activeElement.blur()").await;
    }
    browser.fill("#door-code", &code_of(&cinema, &ada, &cancelled).await).await;
    browser.press("Check").await;
    browser
        .until("document.querySelector('.door-seats [data-state=refused]').innerText.includes('Cancelled')")
        .await;
    browser.fill("#door-code", "k7m2 qx4d").await;
    browser.press("Check").await;
    browser.sees("No such order").await;
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", network(true)).await;
    browser.fill("#door-code", &code).await;
    browser.press("Check").await;
    browser.sees("Without a connection scan the ticket itself").await;
    browser.close().await;
    cinema.close().await;
}

/// What a computer with this layout reads where a scanner presses the keys of a US keyboard.
fn typed_on(layout: &str, token: &str) -> String {
    let (us, here) = match layout {
        "German" => ("yzYZ-_", "zyZYß?"),
        "Swiss" => ("yzYZ-_", "zyZY'?"),
        "Italian" => ("-_", "'?"),
        "French" => ("aqwzmAQWZM1234567890-_.", "qazw,QAZW?&é\"'(-è_çà)°:"),
        "Belgian" => ("aqwzmAQWZM1234567890-_.", "qazw,QAZW?&é\"'(§è!çà)°:"),
        _ => ("", ""),
    };
    let key = |letter: char| us.chars().position(|one| one == letter).and_then(|at| here.chars().nth(at));
    token.chars().map(|letter| key(letter).unwrap_or(letter)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_scanner_is_understood_on_each_layout_of_the_keyboard() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSSSS"], 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2", "A3", "A4", "A5", "A6"]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    let layouts = ["British", "German", "Swiss", "Italian", "French", "Belgian"];
    for (at, (layout, token)) in layouts.iter().zip(&signed).enumerate() {
        browser.fill("#door-code", &format!("{}{ENTER}", typed_on(layout, token))).await;
        let number = at + 1;
        let seen = format!(
            "document.querySelector('.door-answer').dataset.kind === 'good' && \
             document.querySelector('.door-seat b')?.textContent === '{number}'"
        );
        browser.until(&seen).await;
    }
    // A forgery is one on each layout.
    let forged = format!("{}AAAA", &signed[0][..signed[0].len() - 4]);
    browser.fill("#door-code", &format!("{}{ENTER}", typed_on("German", &forged))).await;
    browser.sees("Not genuine").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_door_ends_by_itself_and_each_kind_has_its_sound() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSS"], 3600).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let cancelled = cinema.buy(&ada, &["A5"]).await;
    let dead = tickets(&cinema, &ada, &cancelled).await.remove(0);
    cinema.cancel(&ada, &cancelled).await.expect(200);
    let signed = tickets(&cinema, &ada, &order).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    browser
        .script(
            "window.tones = []; const start = OscillatorNode.prototype.start; \
             OscillatorNode.prototype.start = function (at) { tones.push(this.frequency.value); start.call(this, at); }",
        )
        .await;
    browser.devtools("Network.enable", json!({})).await;
    let mut sounds = Vec::new();
    let shown = [
        ("good", &signed[0]),
        ("again", &signed[0]),
        ("warn", &dead),
        ("bad", &ada.token),
        ("unsure", &signed[1]),
    ];
    for (kind, ticket) in shown {
        if kind == "unsure" {
            browser.devtools("Network.emulateNetworkConditions", network(true)).await;
        }
        browser.fill("#door-code", ticket).await;
        browser.press("Check").await;
        browser.until(&format!("document.querySelector('.door-answer').dataset.kind === '{kind}'")).await;
        sounds.push(browser.script("return JSON.stringify(tones.splice(0))").await);
    }
    sounds.sort_by_key(ToString::to_string);
    sounds.dedup();
    assert_eq!(sounds.len(), 5, "{sounds:?}");
    // The bar shrinks, then the door is ready again; the last admission can still be taken back.
    browser.until("Number(document.querySelector('.door-bar').style.getPropertyValue('--left')) < 0.6").await;
    browser.until("document.querySelector('.door-answer').dataset.kind === 'wait'").await;
    browser.press("That was a mistake").await;
    browser.sees("A2 is not let in.").await;
    browser.close().await;
    cinema.close().await;
}

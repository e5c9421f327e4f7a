//! Who is coming: ticket types with their limits, what an order costs with fees and tax before it is held, and the proof of a type on
//! the ticket and at the door.

use reqwest::Method;
use serde_json::{Value, json};

use crate::axe::{axe, violations};
use crate::cinema::{Person, TestCinema, id};
use crate::door::{network, tickets};
use crate::driver::{Browser, DESKTOP, ENTER, PHONE, RIGHT, Screen, slot};
use crate::staff::log_in_owner;
use crate::{choose, log_in_new, speak};

const GOOD: &str = "4242 4242 4242 4242";
/// The number of tickets of each type, as the button says it.
const SUMMARY: &str = "document.querySelector('.who-toggle span:last-child').textContent";
/// The sum, and what is said of its fees.
const SUM: &str = "[...document.querySelectorAll('.basket-words strong, .basket-fees')].map((one) => one.textContent).filter(Boolean).join(' · ')";

/// Sells the cinema's showtime, which begins in so many seconds, by ticket types: adult 12.00, child 8.00 (at most two, not on a
/// wheelchair space), student 9.00 (student card), disabled 7.00 with a free companion; fees of 0.50 a ticket and 1.00 an order.
/// Seat C1 is a wheelchair space. Returns the card.
async fn sell_by_types(cinema: &mut TestCinema, seconds: i64) -> String {
    let types = json!([
        {"code": "ADULT", "name": {"en": "Adult"}, "reportedAs": "FULL"},
        {"code": "CHILD", "name": {"en": "Child", "de": "Kind"}, "reportedAs": "REDUCED", "mostPerOrder": 2},
        {"code": "STUDENT", "name": {"en": "Student"}, "reportedAs": "REDUCED", "proof": {"en": "student card"}},
        {"code": "DISABLED", "name": {"en": "Disabled"}, "reportedAs": "REDUCED"},
        {"code": "COMPANION", "name": {"en": "Companion"}, "reportedAs": "FREE", "accompanies": "DISABLED"},
    ]);
    for (position, fields) in types.as_array().unwrap().iter().enumerate() {
        let mut fields = fields.clone();
        fields["position"] = json!(position);
        fields["channels"] = json!(["WEB"]);
        fields["active"] = json!(true);
        cinema.create_ticket_type(fields).await;
    }
    let card = create_card(cinema, "Every day", 800, true).await;
    let row = |label: &str, first: &str| {
        let seats = (1..=8)
            .map(|number| json!({"number": number, "kind": if number == 1 { first } else { "STANDARD" }}));
        json!({"label": label, "seats": seats.collect::<Vec<_>>()})
    };
    let rows = json!([row("A", "STANDARD"), row("B", "STANDARD"), row("C", "WHEELCHAIR")]);
    cinema.showtime = cinema.schedule_layout(rows, seconds).await;
    sell_by(cinema, &card).await;
    card
}

/// Creates a card of the types, with a price for children, and with or without students; returns its id.
async fn create_card(cinema: &TestCinema, name: &str, child: i64, has_students: bool) -> String {
    let mut prices = json!({
        "ADULT": {"STANDARD": 1200, "WHEELCHAIR": 1200}, "CHILD": {"STANDARD": child},
        "STUDENT": {"STANDARD": 900, "WHEELCHAIR": 900}, "DISABLED": {"STANDARD": 700, "WHEELCHAIR": 700},
        "COMPANION": {"STANDARD": 0},
    });
    if !has_students {
        prices.as_object_mut().unwrap().remove("STUDENT");
    }
    let fee = |code: &str, name: &str, amount: i64, per: &str| json!({"code": code, "name": {"en": name}, "amount": amount, "per": per, "channels": ["WEB"], "refundable": false});
    let card = json!({
        "name": name, "currency": "EUR", "prices": prices, "tax": {"tickets": 7000, "fees": 19000, "included": true},
        "fees": [fee("BOOKING", "Booking fee", 50, "TICKET"), fee("SERVICE", "Service fee", 100, "ORDER")],
    });
    id(&cinema.create_price_card(card).await)
}

/// Gives the showtime the tariff of a card, and waits until it is sold by it.
async fn sell_by(cinema: &TestCinema, card: &str) {
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let body = json!({"priceCardId": card});
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(body)).await.expect(200);
    cinema.until_on_sale(&cinema.showtime).await;
}

/// Buys a ticket for each seat with its type.
async fn buy(cinema: &TestCinema, who: &Person, tickets: &[[&str; 2]]) -> String {
    let tickets: Vec<Value> = tickets.iter().map(|[seat, of]| json!({"seat": seat, "type": of})).collect();
    let body = json!({"showtimeId": cinema.showtime, "tickets": tickets});
    let order = cinema.call(Method::POST, "/v1/reservations", Some(who), Some(body)).await.expect(201);
    cinema.pay(who, &id(&order), "pm_card_visa").await.expect(201);
    cinema.until_confirmed(who, &id(&order)).await;
    id(&order)
}

async fn open(browser: &Browser, cinema: &TestCinema) {
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.find("[data-seat][data-state]").await;
}

/// One more ticket of a type.
async fn more(browser: &Browser, name: &str) {
    if browser.script("return document.querySelector('.who').dataset.open").await == "false" {
        browser.click(".who-toggle").await;
    }
    browser.click(&format!("[aria-label='{name}: one more']")).await;
}

async fn is(browser: &Browser, script: &str, text: &str) {
    browser.until(&format!("({script}) === {}", json!(text))).await;
}

/// What the order's page lists, `2 × Adult €24.00` each.
async fn listed(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('.order .pairs dt')] \
        .map((one) => `${one.innerText} ${one.nextElementSibling.innerText.replaceAll('\\n', ' ')}`)";
    let listed = browser.script(script).await;
    listed.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn has(listed: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(listed.iter().any(|one| one.contains(line)), "{line} is not in {listed:#?}");
    }
}

/// The type of each seat of an order.
async fn types_of(cinema: &TestCinema, order: &str) -> Vec<String> {
    let order = cinema.reservation(&cinema.owner(), order).await;
    let lines = order["lines"].as_array().unwrap().iter();
    lines
        .map(|line| format!("{} {}", line["seat"].as_str().unwrap(), line["type"].as_str().unwrap()))
        .collect()
}

async fn order_on_page(browser: &Browser) -> String {
    browser.address().await.trim_start_matches("/reservations/").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_buys_by_keyboard_and_reads_what_each_ticket_costs() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "lin").await;
    let showtime = cinema.call(Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None).await;
    browser.go(&format!("/movies/{}", showtime.body["movieId"].as_str().unwrap())).await;
    browser.sees("from €12.50 plus €1.00 per order").await;
    open(&browser, &cinema).await;
    browser.sees("plus €1.00 per order").await;
    browser.tab_to("Row B, seat 5").await;
    browser.keys(&[RIGHT, " ", RIGHT, " ", RIGHT, " "]).await;
    is(&browser, SUM, "€38.50 · fees included · €1.00 of it per order").await;
    browser.tab_to("Who is coming?").await;
    browser.keys(&[ENTER]).await;
    browser.tab_to("Child: one more").await;
    browser.keys(&[" "]).await;
    is(&browser, SUMMARY, "2 × Adult and 1 × Child").await;
    assert_eq!(browser.focus().await, "Child: one more", "the button keeps the focus");
    let spoken = "return document.querySelector('.seats > .unseen').textContent";
    assert_eq!(browser.script(spoken).await, "2 × Adult and 1 × Child. 3 seats, €34.50 in all.");
    is(&browser, SUM, "€34.50 · fees included · €1.00 of it per order").await;
    browser.tab_to("Hold these seats").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Your seats are held").await;
    let order = order_on_page(&browser).await;
    let wanted = [
        "2 × Adult €24.00",
        "1 × Child €8.00",
        "3 × Booking fee €1.50",
        "Service fee €1.00",
        "Total €34.50 includes 7% VAT €2.10 includes 19% VAT €0.40",
    ];
    has(&listed(&browser).await, &wanted);
    assert_eq!(types_of(&cinema, &order).await, ["B6 ADULT", "B7 ADULT", "B8 CHILD"]);
    browser.tab_to("Pay €34.50").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Card number").await;
    browser.tab_to("Card number").await;
    browser.keys(&[GOOD, ENTER]).await;
    browser.sees("See you at the cinema").await;
    has(&listed(&browser).await, &wanted);
    assert_eq!(cinema.captured(&order).await, 3_450);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_the_types_stay_while_seats_change_and_over_a_reload_and_a_login() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    open(&browser, &cinema).await;
    choose(&browser, "A1").await;
    choose(&browser, "A2").await;
    is(&browser, SUMMARY, "2 × Adult").await;
    // Adults need no further click: the buttons are behind one.
    assert_eq!(browser.script("return document.querySelector('.step').checkVisibility()").await, false);
    browser.click(".who-toggle").await;
    let small = "return [...document.querySelectorAll('.who-toggle, .step')].map((one) => one.getBoundingClientRect()) \
                 .filter(({width, height}) => width < 44 || height < 44).length";
    assert_eq!(browser.script(small).await, 0, "too small for a finger");
    more(&browser, "Child").await;
    is(&browser, SUMMARY, "1 × Adult and 1 × Child").await;
    is(&browser, SUM, "€22.00 · fees included · €1.00 of it per order").await;
    // Closed, the hall is not covered. The child stays when another seat is chosen.
    browser.click(".who-toggle").await;
    browser.click("[data-seat='A2']").await;
    is(&browser, SUMMARY, "1 × Child").await;
    browser.click("[data-seat='A3']").await;
    is(&browser, SUMMARY, "1 × Adult and 1 × Child").await;
    browser.click("[data-seat='A2']").await;
    is(&browser, SUMMARY, "2 × Adult and 1 × Child").await;
    browser.reload().await;
    is(&browser, SUMMARY, "2 × Adult and 1 × Child").await;
    assert_eq!(browser.script("return document.documentElement.scrollWidth").await, 390, "it moves sideways");
    browser.press("Choose for me").await;
    is(&browser, SUMMARY, "1 × Adult and 1 × Child").await;
    browser.press("Hold these seats").await;
    browser.press("I have an account").await;
    browser.press("New here? Open an account").await;
    browser.fill("[name=name]", "Grace").await;
    browser.fill("[name=email]", "grace@example.org").await;
    browser.fill("[name=password]", "correct horse").await;
    browser.press("Open account").await;
    browser.sees("Your seats are held").await;
    has(&listed(&browser).await, &["1 × Adult €12.00", "1 × Child €8.00", "Total €22.00"]);
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_price_or_a_type_that_ended_before_the_hold_is_shown_and_decided_again() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let usual = sell_by_types(&mut cinema, 24 * 3600).await;
    let dearer = create_card(&cinema, "Dearer for children", 900, false).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "eve").await;
    open(&browser, &cinema).await;
    browser.click("[data-seat='A1']").await;
    browser.click("[data-seat='A2']").await;
    more(&browser, "Child").await;
    is(&browser, SUM, "€22.00 · fees included · €1.00 of it per order").await;
    sell_by(&cinema, &dearer).await;
    browser.press("Hold these seats").await;
    browser.sees("The price has changed: it is €23.00 now.").await;
    browser.sees("Nothing is held yet, and your seats are still chosen.").await;
    is(&browser, SUM, "€23.00 · fees included · €1.00 of it per order").await;
    is(&browser, SUMMARY, "1 × Adult and 1 × Child").await;
    assert_eq!([cinema.seat("A1").await, cinema.seat("A2").await], ["FREE", "FREE"]);
    browser.press("Hold these seats").await;
    browser.sees("Pay €23.00").await;
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;

    sell_by(&cinema, &usual).await;
    open(&browser, &cinema).await;
    browser.click("[data-seat='A1']").await;
    browser.click("[data-seat='A2']").await;
    more(&browser, "Student").await;
    sell_by(&cinema, &dearer).await;
    browser.press("Hold these seats").await;
    browser.sees("“Student” is not sold for this showing any more.").await;
    is(&browser, SUMMARY, "2 × Adult").await;
    assert_eq!(cinema.seat("A1").await, "FREE");
    browser.press("Hold these seats").await;
    browser.sees("Pay €26.00").await;
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_that_does_nothing_more_says_why() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "pia").await;
    open(&browser, &cinema).await;
    for seat in ["A1", "A2", "A3"] {
        browser.click(&format!("[data-seat='{seat}']")).await;
    }
    let why =
        async |sentence: &str| is(&browser, "document.querySelector('.who-why').textContent", sentence).await;
    more(&browser, "Child").await;
    more(&browser, "Child").await;
    more(&browser, "Child").await;
    why("“Child”: at most 2 tickets per order.").await;
    // Also for who cannot see it.
    is(
        &browser,
        "document.querySelector('.seats > .unseen').textContent",
        "“Child”: at most 2 tickets per order.",
    )
    .await;
    more(&browser, "Companion").await;
    why("Each ticket “Companion” needs a ticket “Disabled”.").await;
    more(&browser, "Student").await;
    is(&browser, SUMMARY, "2 × Child and 1 × Student").await;
    why("").await;
    more(&browser, "Student").await;
    why("Every seat has its ticket. For one more person choose another seat first.").await;
    browser.click("[aria-label='Child: one less']").await;
    browser.click("[aria-label='Child: one less']").await;
    browser.click("[aria-label='Child: one less']").await;
    why("There is no ticket “Child” to take away.").await;
    more(&browser, "Disabled").await;
    more(&browser, "Companion").await;
    is(&browser, SUMMARY, "1 × Student, 1 × Disabled and 1 × Companion").await;
    browser.click("[aria-label='Disabled: one less']").await;
    why("Each ticket “Companion” needs a ticket “Disabled”.").await;
    is(&browser, SUMMARY, "1 × Student, 1 × Disabled and 1 × Companion").await;
    browser.press("Clear all").await;

    // A child gets no wheelchair space.
    browser.click("[data-seat='C1']").await;
    is(&browser, SUMMARY, "1 × Adult").await;
    more(&browser, "Child").await;
    why("“Child” is not sold for the seats that you have chosen.").await;
    browser.click("[data-seat='A8']").await;
    more(&browser, "Child").await;
    browser.press("Hold these seats").await;
    browser.sees("Your seats are held").await;
    let order = order_on_page(&browser).await;
    assert_eq!(types_of(&cinema, &order).await, ["A8 CHILD", "C1 ADULT"]);
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_of_a_type_is_on_the_order_the_ticket_and_the_paper() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = buy(&cinema, &ada, &[["A1", "ADULT"], ["A2", "STUDENT"]]).await;
    browser.go("/tickets").await;
    browser.sees("1 × Adult and 1 × Student").await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("See you at the cinema").await;
    has(&listed(&browser).await, &["1 × Adult €12.00", "1 × Student €9.00 Please show: student card"]);
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    browser.find(".print-sheet").await;
    let (_, paper) = browser.print().await;
    assert!(paper.contains("Student · Please show: student card"), "{paper}");

    // The ticket that is shown, shared, and shown without a connection.
    browser.devtools("Network.enable", json!({})).await;
    browser.devtools("Network.emulateNetworkConditions", network(true)).await;
    browser.script("const draw = CanvasRenderingContext2D.prototype.fillText; window.drawn = []; \
        CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { drawn.push(text); draw.call(this, text, ...rest); }; \
        navigator.canShare = () => true; navigator.share = async () => { window.shared = true; }").await;
    browser.press("Show tickets").await;
    let passes = "[...document.querySelectorAll('.pass figcaption')].map((one) => one.innerText.split('\\n').slice(0, 2).join(' ')).join(', ')";
    is(&browser, passes, "A1 Adult, A2 Student · Please show: student card").await;
    for (width, height) in [(667, 375), (320, 568), (390, 844)] {
        browser.set_screen(Screen { width, height, dark: true }).await;
        let outside = "return [...document.querySelectorAll('dialog .pass:first-child figcaption *')].filter((one) => { \
            const box = one.getBoundingClientRect(); return box.right > innerWidth + 1 || box.bottom > innerHeight + 1; }).length";
        assert_eq!(browser.script(outside).await, 0, "{width}×{height}: cut off");
    }
    browser.devtools("Network.emulateNetworkConditions", network(false)).await;
    browser.click("[aria-label='Next ticket']").await;
    browser.until("document.querySelector('[aria-label=\"Next ticket\"]').disabled").await;
    browser.press("Share this ticket").await;
    browser.until("window.shared").await;
    // The second text has two lines.
    let drawn = browser.script("return drawn.slice(0, 3).join(' ')").await;
    assert_eq!(drawn, "A2 Student · Please show: student card");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_says_the_type_and_what_to_ask_for_also_offline() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let plain = cinema.schedule(&["SSSS"], 3600).await;
    sell_by_types(&mut cinema, 3600).await;
    let ada = cinema.register().await;
    let order = buy(&cinema, &ada, &[["A1", "ADULT"], ["A2", "STUDENT"], ["A3", "STUDENT"]]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    let code = cinema.reservation(&ada, &order).await["code"].as_str().unwrap().to_owned();
    let typed = std::mem::replace(&mut cinema.showtime, plain);
    let plain = cinema.buy(&ada, &["A1"]).await;
    let plain = tickets(&cinema, &ada, &plain).await.remove(0);
    cinema.showtime = typed;

    let browser = Browser::open(&cinema.url(), PHONE).await;
    log_in_owner(&browser).await;
    browser.go("/door").await;
    browser.sees("Ready for the next ticket").await;
    let check = async |text: &str, answer: &str| {
        browser.fill("#door-code", text).await;
        browser.press("Check").await;
        browser
            .until(&format!("document.querySelector('.door-answer').innerText.includes({})", json!(answer)))
            .await;
    };
    let said = "document.querySelector('.door-type')?.textContent ?? ''";
    check(&signed[0], "Come in").await;
    is(&browser, said, "Adult").await;
    check(&signed[1], "Come in").await;
    is(&browser, said, "Student · Ask for: student card").await;
    check(&plain, "Come in").await;
    is(&browser, said, "").await;
    check(&code, "Row A, seat 3").await;
    let seats =
        "[...document.querySelectorAll('.door-seats .door-type')].map((one) => one.textContent).join(', ')";
    is(&browser, seats, "Adult, Student · Ask for: student card, Student · Ask for: student card").await;
    browser.press("Done").await;
    browser.cut(true).await;
    check(&signed[2], "Genuine, not checked online").await;
    is(&browser, said, "Student · Ask for: student card").await;
    browser.cut(false).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_keeps_the_types_and_lists_them_before_it_is_done() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let zoe = log_in_new(&browser, "zoe").await;
    let order = buy(&cinema, &zoe, &[["A1", "CHILD"], ["A2", "ADULT"]]).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.press("Exchange seats").await;
    browser.sees("You have A1 and A2 for €22.00").await;
    browser.sees("1 × Child and 1 × Adult").await;
    // The wheelchair space is the first seat, but not for the child.
    browser.click("[data-seat='C1']").await;
    browser.click("[data-seat='C2']").await;
    browser.sees("1 × Child and 1 × Adult · the same price as before").await;
    browser.press("Exchange").await;
    browser.sees("Instead of A1 and A2 you get C1 and C2.").await;
    let listed = "[...document.querySelectorAll('dialog .pairs > *')].map((one) => one.innerText).join(' ')";
    is(&browser, listed, "1 × Child €8.50 1 × Adult €12.50 Fees per order €1.00 Total €22.00").await;
    browser.press("Exchange now").await;
    browser.sees("See you at the cinema").await;
    let mut types = types_of(&cinema, &order).await;
    types.sort();
    assert_eq!(types, ["C1 ADULT", "C2 CHILD"]);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_prices_have_no_types_and_a_change_of_them_is_said_at_once() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "ida").await;
    open(&browser, &cinema).await;
    browser.find(".live[data-state=live]").await;
    browser.click("[data-seat='A1']").await;
    is(&browser, SUM, "€12.00").await;
    assert_eq!(browser.script("return document.querySelector('.who').hidden").await, true);
    let legend = browser.script("return document.querySelector('.legend').innerText").await;
    assert!(!legend.as_str().unwrap().contains("per order"), "{legend}");
    let prices = json!({"prices": {"STANDARD": {"amount": 1300, "currency": "EUR"}}});
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(prices)).await.expect(200);
    browser.sees("The price has changed: it is €13.00 now.").await;
    is(&browser, SUM, "€13.00").await;
    browser.press("Hold these seats").await;
    browser.sees("Pay €13.00").await;
    let listed = listed(&browser).await;
    assert!(listed.contains(&"Total €13.00".to_owned()) && !listed.concat().contains('×'), "{listed:?}");
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_have_names_in_the_readers_language_and_axe_finds_nothing() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    sell_by_types(&mut cinema, 24 * 3600).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&browser, "ada").await;
    let sold = buy(&cinema, &ada, &[["B1", "ADULT"], ["B2", "STUDENT"]]).await;
    speak(&browser, "de").await;
    let mut wrong: Vec<Value> = Vec::new();
    let axe = axe();
    let mut look = async |what: &str| {
        browser.script(&axe).await;
        for screen in [DESKTOP, Screen { dark: true, ..DESKTOP }, Screen { dark: false, ..PHONE }, PHONE] {
            browser.set_screen(screen).await;
            let found = violations(&browser).await;
            wrong.extend(found.iter().map(|one| json!(format!("{what} {screen:?}: {one}"))));
        }
        browser.set_screen(DESKTOP).await;
    };
    open(&browser, &cinema).await;
    browser.click("[data-seat='A1']").await;
    browser.click("[data-seat='A2']").await;
    browser.sees("Wer kommt?").await;
    browser.click(".who-toggle").await;
    browser.click("[aria-label='Kind: eins mehr']").await;
    is(&browser, SUMMARY, "1 × Adult und 1 × Kind").await;
    browser.click("[aria-label='Companion: eins mehr']").await;
    browser.sees("Zu jedem Ticket „Companion“ gehört ein Ticket „Disabled“.").await;
    look("types and a sentence").await;
    browser.click(".who-toggle").await;
    look("types closed").await;
    browser.press("Weiter zur Kasse").await;
    browser.sees("Ihre Plätze sind für Sie freigehalten").await;
    look("an order with types").await;
    let held = order_on_page(&browser).await;
    browser.go(&format!("/reservations/{sold}")).await;
    browser.press("Tickets zeigen").await;
    browser.find(".pass strong").await;
    look("a ticket with a type").await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    browser.close().await;
    cinema.cancel(&ada, &held).await.expect(200);
    cinema.close().await;
}

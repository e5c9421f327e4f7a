//! Money on the page: the same amounts as in mails and at the provider, and amounts that staff type.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::staff::log_in_owner;
use crate::{log_in_new, speak};

/// Schedules a showtime with a price, in its own auditorium.
async fn sell_in(cinema: &TestCinema, code: &str, amount: i64) -> String {
    let showtime = cinema.schedule(&["SSSS"], 24 * 3600).await;
    let price = json!({"amount": amount, "currency": code});
    let path = format!("/v1/showtimes/{showtime}");
    let prices = json!({"prices": {"STANDARD": price}});
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(prices)).await.expect(200);
    let priced = async || {
        let map = cinema.call(Method::GET, &format!("{path}/seats"), None, None).await;
        map.body["seats"][0]["price"] == price
    };
    cinema.until(&format!("seats for {price}"), priced).await;
    showtime
}

/// Waits for the mail about a reservation; returns its text.
async fn mail(cinema: &TestCinema, reservation: &str) -> String {
    let owner = cinema.owner();
    let path = format!("/v1/notifications?reservationId={reservation}");
    let folder = cinema.folder.path().join("mail");
    let find = async || {
        let log = cinema.call(Method::GET, &path, Some(&owner), None).await.expect(200);
        let row = log["items"].as_array()?.first().map(id)?;
        let file = std::fs::read_dir(&folder).ok()?.flatten().find(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with(&row) && name.ends_with(".eml")
        })?;
        let raw = std::fs::read(file.path()).ok()?;
        Some(mail_parser::MessageParser::default().parse(&raw)?.body_text(0)?.into_owned())
    };
    cinema.until("the mail", async || find().await.is_some()).await;
    find().await.unwrap()
}

/// The digits of an amount, without separators and currency.
fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_and_mail_show_the_same_amount_in_every_currency() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&browser, "ada").await;
    // Mails about held seats go only to confirmed addresses.
    let proven = "update auth.users set verified_at = now()";
    sqlx::raw_sql(proven).execute(&cinema.database).await.unwrap();
    // Minor units, and how they are shown. Chromium uses other numbers of digits for HUF, RSD and IQD.
    let cases = [
        ("HUF", 250_000, "2,500.00"),
        ("RSD", 60_000, "600.00"),
        ("JPY", 1_900, "1,900"),
        ("KWD", 3_500, "3.500"),
        ("IQD", 10_000_000, "10,000.000"),
        ("ISK", 3_500, "3,500"),
    ];
    for (code, amount, sum) in cases {
        let showtime = sell_in(&cinema, code, amount).await;
        browser.go(&format!("/showtimes/{showtime}")).await;
        browser.find(".legend li").await;
        let legend = browser.script("return document.querySelector('.legend').innerText").await;
        let legend = legend.as_str().unwrap();
        assert!(legend.contains(sum), "{code}: {legend}");
        let body = json!({"showtimeId": showtime, "seats": ["A1"]});
        let order = cinema.call(Method::POST, "/v1/reservations", Some(&ada), Some(body)).await.expect(201);
        let text = mail(&cinema, &id(&order)).await;
        let total = text.lines().find(|line| line.contains("Total")).unwrap_or_else(|| panic!("{text}"));
        assert!(total.ends_with(sum), "{code}: {total}");
        browser.go(&format!("/reservations/{}", id(&order))).await;
        browser.until("document.querySelector('main .button.main')").await;
        let pay = browser.script("return document.querySelector('main .button.main').innerText").await;
        assert_eq!(digits(pay.as_str().unwrap()), digits(sum), "{code}: {pay}");
    }
    browser.close().await;
    cinema.close().await;
}

/// Opens the prices of tomorrow's showtime on the staff page.
async fn open_prices(browser: &Browser, showtime: &Value) {
    let (starts, zone) = (&showtime["startsAt"], &showtime["timeZone"]);
    let day = format!(
        "return new Intl.DateTimeFormat('en-CA', {{dateStyle: 'short', timeZone: {zone}}}).format(new Date({starts}))"
    );
    let day = browser.script(&day).await;
    browser.go(&format!("/staff/showtimes?date={}", day.as_str().unwrap())).await;
    let hall = &showtime["auditoriumName"];
    let block = format!(
        "[...document.querySelectorAll('.timeline-block')] \
         .find((one) => one.closest('.timeline-row').parentElement.innerText.includes({hall}))"
    );
    browser.until(&block).await;
    browser.script(&format!("{block}.click()")).await;
    browser.find("dialog[open] [name=price-STANDARD]").await;
    browser
        .script("document.querySelector('dialog[open] [name=price-STANDARD]').closest('details').open = true")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_price_is_read_by_currency_and_language_or_refused_with_an_explanation() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    // The language, a price in minor units and as the field shows it; what is typed; the result, or the error message.
    let cases: [(&str, &str, i64, &str, &str, Result<i64, &str>); 19] = [
        ("en", "EUR", 1_200, "12.00", "13.50", Ok(1_350)),
        ("en", "EUR", 1_200, "12.00", "13,50", Ok(1_350)),
        ("en", "EUR", 1_200, "12.00", "1,250.00", Ok(125_000)),
        ("en", "EUR", 1_200, "12.00", "0", Ok(0)),
        ("en", "EUR", 1_200, "12.00", "0.40", Err("0, or from €0.50 to €2,000.00")),
        ("en", "EUR", 1_200, "12.00", "twelve", Err("Write the amount with digits, such as 1250.00")),
        ("en", "JPY", 2_000, "2000", "1800", Ok(1_800)),
        ("en", "JPY", 2_000, "2000", "2,200", Ok(2_200)),
        ("en", "JPY", 2_000, "2000", "18.50", Err("JPY has no decimals")),
        ("en", "KWD", 3_500, "3.500", "4.250", Ok(4_250)),
        ("en", "KWD", 3_500, "3.500", "4,250", Err("can be read in two ways. Write 4250.000 or 4.250")),
        ("en", "KWD", 3_500, "3.500", "4.255", Err("goes in steps of")),
        (
            "en",
            "HUF",
            200_000,
            "2000.00",
            "2,500",
            Err("“2,500” can be read in two ways. Write 2500.00 or 2.50"),
        ),
        ("en", "HUF", 200_000, "2000.00", "2500", Ok(250_000)),
        ("de", "EUR", 1_200, "12,00", "13,50", Ok(1_350)),
        ("de", "EUR", 1_200, "12,00", "1.250,00", Ok(125_000)),
        (
            "de",
            "HUF",
            200_000,
            "2000,00",
            "2.500",
            Err("„2.500“ kann zweierlei heißen. Schreiben Sie 2500,00 oder 2,50"),
        ),
        ("de", "HUF", 200_000, "2000,00", "2 500,5", Ok(250_050)),
        ("de", "KWD", 3_500, "3,500", "4,250", Ok(4_250)),
    ];
    let mut spoken = "";
    for (language, code, before, shown, typed, outcome) in cases {
        let showtime = sell_in(&cinema, code, before).await;
        let path = format!("/v1/showtimes/{showtime}");
        let described = cinema.call(Method::GET, &path, None, None).await.expect(200);
        if spoken != language {
            speak(&browser, language).await;
            spoken = language;
        }
        open_prices(&browser, &described).await;
        let field = "document.querySelector('dialog[open] [name=price-STANDARD]')";
        assert_eq!(browser.script(&format!("return {field}.value")).await, shown, "{language} {code}");
        browser.fill("dialog[open] [name=price-STANDARD]", typed).await;
        browser.script(&format!("{field}.form.requestSubmit()")).await;
        let after = match outcome {
            Ok(amount) => {
                browser.until("!document.querySelector('dialog[open]')").await;
                amount
            }
            Err(words) => {
                browser.sees(words).await;
                before
            }
        };
        let now = cinema.call(Method::GET, &path, None, None).await.expect(200);
        let price = json!({"amount": after, "currency": code});
        assert_eq!(now["prices"]["STANDARD"], price, "[{language}] {code}: typed {typed}");
    }
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_refund_a_part_in_the_currency_of_the_order() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    cinema.showtime = sell_in(&cinema, "ISK", 3_500).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.press("Pay back").await;
    browser.sees("At most ISK\u{a0}3,500 is left").await;
    browser.fill("dialog [name=reason]", "a broken seat").await;
    browser.fill("dialog [name=amount]", "10.50").await;
    browser.press("Pay back").await;
    browser.sees("ISK has no decimals").await;
    browser.fill("dialog [name=amount]", "1,000").await;
    browser.press("Pay back").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    // The provider counts in hundredths.
    cinema.until("1000 krónur are back", async || cinema.captured(&order).await == 250_000).await;
    browser.close().await;
    cinema.close().await;
}

/// The first request for a refund takes effect, and its answer is lost.
const LOSE_AN_ANSWER: &str = "const real = window.fetch; window.lost = 0; window.fetch = async (...all) => { \
    const answer = await real(...all); \
    if (String(all[0]).endsWith('/refund') && !window.lost++) throw new TypeError('the connection was lost'); \
    return answer; }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_whose_answer_was_lost_is_sent_again_and_done_once() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/orders/{order}")).await;
    browser.press("Pay back").await;
    browser.fill("dialog [name=reason]", "a broken seat").await;
    browser.fill("dialog [name=amount]", "5").await;
    browser.script(LOSE_AN_ANSWER).await;
    browser.press("Pay back").await;
    browser.until("!document.querySelector('dialog[open]')").await;
    assert_eq!(browser.script("return window.lost").await, 2, "it was not sent again");
    cinema.until("5 are back", async || cinema.captured(&order).await == 700).await;
    let parts = "select count(*) from payment.refunds";
    assert_eq!(cinema.count(parts).await, 1);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_showtime_is_in_the_currency_of_the_setting_unless_another_is_chosen() {
    let _slot = slot().await;
    let cinema = TestCinema::open_with(Plan::default().with("CURRENCY", "CHF")).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let day = (time::OffsetDateTime::now_utc() + time::Duration::days(5)).date().to_string();
    let on_sale = async |currency: &str, amount: i64| {
        let path = format!("/v1/showtimes?date={day}");
        let price = json!({"amount": amount, "currency": currency});
        let seen = async || {
            let list = cinema.call(Method::GET, &path, None, None).await.expect(200);
            list["items"].as_array().unwrap().iter().any(|one| one["prices"]["STANDARD"] == price)
        };
        cinema.until(&format!("a showtime for {price}"), seen).await;
    };
    browser.go(&format!("/staff/showtimes?date={day}")).await;
    browser.press("New showtime").await;
    browser.sees("Seat (CHF)").await;
    let first =
        browser.script("return document.querySelector('dialog [name=currency]').options[0].text").await;
    assert_eq!(first, "CHF – Swiss Franc");
    browser.fill("dialog [name=price-STANDARD]", "19.50").await;
    browser.press("New showtime").await;
    on_sale("CHF", 1_950).await;

    // The bulk form offers the same; another currency changes the suggested prices.
    browser.go(&format!("/staff/showtimes?date={day}")).await;
    browser.press("Plan several days").await;
    browser.sees("Seat (CHF)").await;
    browser
        .script(
            "const choice = document.querySelector('dialog [name=currency]'); choice.value = 'JPY'; \
             choice.dispatchEvent(new Event('change', {bubbles: true}))",
        )
        .await;
    browser.sees("Seat (JPY)").await;
    // The suggested price has no decimals.
    browser.until("document.querySelector('dialog [name=price-STANDARD]').value === '1200'").await;
    browser.fill("dialog [name=price-STANDARD]", "1800").await;
    browser.script("document.querySelector('dialog [name=price-STANDARD]').form.requestSubmit()").await;
    on_sale("JPY", 1_800).await;
    browser.close().await;
    cinema.close().await;
}

//! Forms and addresses that are wrong: sentences in the reader's language, at the field, and the focus on the first wrong field.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{TestCinema, id};
use crate::driver::{Browser, DESKTOP, slot};
use crate::staff::log_in_owner;
use crate::{log_in_new, speak};

/// The English of the contract and of parsers, which no reader may see.
const CONTRACT: &str = "/must (have|be|not|lie|name)|invalid type|uuid|expected|missing field|unknown field|parsing|\
                        is not the account|is there twice/i";
/// Removes what the page would check itself, so that the server refuses the values.
const UNCHECKED: &str = "for (const control of form.elements) { \
    for (const rule of ['required', 'minlength', 'maxlength', 'min', 'max']) control.removeAttribute(rule); \
    if (['email', 'number', 'date', 'time', 'datetime-local'].includes(control.type)) control.type = 'text'; }";

/// One attempt: the page, the buttons that open the form, the form, and what is typed.
struct Attempt {
    page: String,
    opened_by: &'static str,
    form: &'static str,
    values: Value,
}

fn attempt(page: &str, form: &'static str, values: Value) -> Attempt {
    Attempt { page: page.to_owned(), opened_by: "", form, values }
}

/// The same for a form in a dialog; `opened_by` is the place of a button.
fn dialog(page: &str, opened_by: &'static str, values: Value) -> Attempt {
    Attempt { page: page.to_owned(), opened_by, form: "dialog[open] form.form", values }
}

fn visitors_attempts() -> Vec<Attempt> {
    let form = "main form.form";
    vec![
        attempt("/login", form, json!({})),
        attempt("/login", form, json!({"email": "ada@example.org", "password": "wrong"})),
        attempt("/register", form, json!({})),
        attempt("/register", form, json!({"name": "Ada", "email": "bad@@", "password": "short"})),
        attempt(
            "/register",
            form,
            json!({"name": "Ada", "email": "new@example.org", "password": "password1"}),
        ),
        attempt(
            "/register",
            form,
            json!({"name": "Ada", "email": "taken@example.org", "password": "taken@example.org"}),
        ),
        attempt(
            "/register",
            form,
            json!({"name": "Ada", "email": "taken@example.org", "password": "correct horse"}),
        ),
        attempt("/forgot", form, json!({})),
        attempt("/reset?token=nonsense", form, json!({"password": "short"})),
        attempt("/reset?token=nonsense", form, json!({"password": "correct horse"})),
        attempt("/verify?token=nonsense", form, json!({})),
    ]
}

async fn staffs_attempts(cinema: &TestCinema) -> Vec<Attempt> {
    let ada = cinema.register().await;
    let order = format!("/staff/orders/{}", cinema.buy(&ada, &["A1"]).await);
    let halls = cinema.call(Method::GET, "/v1/auditoriums", None, None).await.expect(200);
    let hall = format!("/staff/halls/{}", id(&halls["items"][0]));
    let (main, account) = ("main form.form", "main section.card:nth-of-type(2) form.form");
    let add = ".staff-head .button.main";
    let many = ".staff-head .button.main + .button";
    vec![
        attempt("/account", "main section.card form.form", json!({"name": ""})),
        attempt("/account", account, json!({})),
        attempt("/account", account, json!({"oldPassword": "wrong", "newPassword": "correct horse"})),
        attempt(
            "/staff/site",
            main,
            json!({"name": "", "links.imprint": "x", "refundPolicy.percent": "200"}),
        ),
        attempt("/staff/movies/new", main, json!({"durationMinutes": "0", "releaseDate": ""})),
        attempt("/staff/halls/new", main, json!({})),
        attempt(&hall, main, json!({"timeZone": "Moon"})),
        dialog("/staff/genres", add, json!({})),
        dialog(SCHEDULE, add, json!({"date": "2020-01-01"})),
        dialog(SCHEDULE, add, json!({"date": "", "time": ""})),
        dialog(SCHEDULE, add, json!({"price-STANDARD": "abc"})),
        dialog(SCHEDULE, many, json!({"times": "25:00"})),
        dialog(SCHEDULE, many, json!({"from": "2030-01-02", "to": "2030-01-01"})),
        dialog(SCHEDULE, many, json!({"from": "2030-01-01", "to": "2035-01-01"})),
        dialog(&order, ".staff-head button", json!({"email": "bad@@"})),
        dialog(&order, ".staff-head button:last-of-type", json!({"amount": "9999"})),
        dialog("/staff/mails", ".staff-head button", json!({"from": "", "to": ""})),
        dialog(
            "/staff/mails",
            ".staff-head button",
            json!({"from": "2030-01-02T10:00", "to": "2030-01-01T10:00"}),
        ),
    ]
}

const SCHEDULE: &str = "/staff/showtimes";

/// Submits the values and returns what is shown, or panics where a text of the contract is among it.
async fn refused(browser: &Browser, attempt: &Attempt, is_checked: bool) -> String {
    let Attempt { page, opened_by, form, values } = attempt;
    browser.go("/").await;
    browser.go(page).await;
    if !opened_by.is_empty() {
        browser.click(opened_by).await;
    }
    browser.find(form).await;
    let unchecked = if is_checked { "" } else { UNCHECKED };
    let script = format!(
        "const form = document.querySelector({}); {unchecked} \
         for (const [name, value] of Object.entries({values})) form.elements[name].value = value; form.requestSubmit()",
        json!(form)
    );
    browser.script(&script).await;
    let shown =
        format!("[...document.querySelectorAll({})]", json!(format!("{form} .wrong, {form} .message.bad")));
    browser.until(&format!("{shown}.length && !document.querySelector('form [aria-busy]')")).await;
    let seen =
        browser.script(&format!("return document.body.innerText.match({CONTRACT})?.[0] ?? null")).await;
    assert_eq!(seen, Value::Null, "{page} {values}, checked by the page: {is_checked}");
    let title = browser.script("return document.title").await;
    let title = title.as_str().unwrap();
    assert!(title.starts_with("Error: ") || title.starts_with("Fehler: "), "{page}: {title}");
    browser
        .script(&format!("return {shown}.map((one) => one.innerText).join(' | ')"))
        .await
        .as_str()
        .unwrap()
        .to_owned()
}

/// Makes every attempt in both languages, with and without the page's own checks.
async fn refuse_all(browser: &Browser, attempts: &[Attempt]) {
    let mut english = BTreeMap::new();
    for language in ["en", "de"] {
        speak(browser, language).await;
        for (at, attempt) in attempts.iter().enumerate() {
            for is_checked in [true, false] {
                let shown = refused(browser, attempt, is_checked).await;
                match english.remove(&(at, is_checked)) {
                    Some(before) => assert_ne!(shown, before, "{} {}", attempt.page, attempt.values),
                    None => drop(english.insert((at, is_checked), shown)),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_reads_what_is_wrong_in_their_language() {
    let _slot = slot().await;
    let cinema =
        TestCinema::open_with(crate::cinema::Plan::default().with("RATE_LIMIT_DISABLED", "true")).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let taken = json!({"name": "Eve", "email": "taken@example.org", "password": "correct horse"});
    cinema.call(Method::POST, "/v1/auth/register", None, Some(taken)).await.expect(201);
    browser.go("/").await;
    refuse_all(&browser, &visitors_attempts()).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_read_what_is_wrong_in_their_language() {
    let _slot = slot().await;
    let cinema =
        TestCinema::open_with(crate::cinema::Plan::default().with("RATE_LIMIT_DISABLED", "true")).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let attempts = staffs_attempts(&cinema).await;
    log_in_owner(&browser).await;
    refuse_all(&browser, &attempts).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_is_checked_before_it_is_sent_and_the_first_wrong_field_has_the_focus() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let count = "window.sent = []; const real = window.fetch; \
                 window.fetch = (...given) => { if (given[1]?.method === 'POST') sent.push(given[0]); return real(...given); }";
    browser.go("/register").await;
    browser.find("[name=name]").await;
    browser.script(count).await;
    browser.press("Open account").await;
    browser.sees("Please enter a name.").await;
    assert_eq!(browser.focus().await, "Name");
    browser.until("document.title === 'Error: Open an account · Marquee'").await;
    browser.fill("[name=name]", "Ada").await;
    browser.fill("[name=email]", "bad@@").await;
    browser.press("Open account").await;
    browser.sees("That is not an e-mail address.").await;
    assert_eq!(browser.focus().await, "E-mail");
    assert_eq!(browser.script("return sent").await, json!([]));
    browser.fill("[name=email]", "ada@example.org").await;
    browser.fill("[name=password]", "password1").await;
    browser.press("Open account").await;
    browser.sees("Too many people use this password.").await;
    assert_eq!(browser.script("return sent").await, json!(["/v1/auth/cookie/register"]));
    browser.fill("[name=password]", "correct horse").await;
    browser.press("Open account").await;
    browser.find("#fascia a[href='/account']").await;
    browser.until("!document.title.startsWith('Error')").await;

    log_in_owner(&browser).await;
    browser.go(SCHEDULE).await;
    browser.press("New showtime").await;
    crate::staff::set(&browser, "dialog [name=date]", "2020-01-01").await;
    browser.script("document.querySelector('dialog form.form').requestSubmit()").await;
    browser.sees("That is in the past.").await;
    assert_eq!(browser.focus().await, "Date");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_a_wrong_id_leads_nowhere_in_words() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "ada").await;
    log_in_owner(&browser).await;
    let words = [("en", "There is nothing at this address"), ("de", "Unter dieser Adresse ist nichts")];
    for (language, text) in words {
        speak(&browser, language).await;
        for page in [
            "/movies/xx",
            "/showtimes/xx",
            "/reservations/xx",
            "/staff/orders/xx",
            "/staff/halls/xx",
            "/staff/letters/xx",
        ] {
            browser.go(page).await;
            browser.sees(text).await;
            let seen = browser
                .script(&format!("return document.body.innerText.match({CONTRACT})?.[0] ?? null"))
                .await;
            assert_eq!(seen, Value::Null, "{page}");
        }
    }
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_is_there_in_every_language() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    let keys = "const done = arguments[arguments.length - 1]; \
        const folder = new URL('.', document.querySelector('script[type=module]').src); \
        const forms = ['zero', 'one', 'two', 'few', 'many', 'other']; \
        const keys = (texts, path) => typeof texts === 'string' || Object.keys(texts).every((key) => forms.includes(key)) \
          ? [path] : Object.entries(texts).flatMap(([key, text]) => keys(text, `${path}.${key}`)); \
        const read = async (part, name) => keys((await import(`${folder}text/${part}${name}.js`)).default, part); \
        const parts = ['', 'staff-', 'wrong-']; \
        const all = (name) => Promise.all(parts.map((part) => read(part, name))).then((found) => found.flat().sort()); \
        const half = ({default: genres}) => Object.keys(genres).filter((key) => !genres[key].en || !genres[key].de); \
        Promise.all([all('en'), all('de'), import(`${folder}text/genres.js`)]).then(([en, de, genres]) => done({count: en.length, \
          missing: [...en.filter((key) => !de.includes(key)), ...half(genres)], more: de.filter((key) => !en.includes(key))}), \
          (e) => done(String(e)))";
    let found = browser.script_later(keys).await;
    assert!(found["count"].as_u64().is_some_and(|count| count > 400), "{found}");
    assert_eq!((&found["missing"], &found["more"]), (&json!([]), &json!([])));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_typed_address_travels_between_the_forms_and_a_password_can_be_shown() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/login?to=/showtimes/{}", cinema.showtime)).await;
    browser.fill("[name=email]", "ada@example.org").await;
    browser.press("New here? Open an account").await;
    browser.until("document.querySelector('[name=name]')").await;
    let kept = "document.querySelector('[name=email]').value === 'ada@example.org'";
    browser.until(kept).await;
    browser.sees("Your choice waits here while you open an account.").await;
    browser.press("You have an account? Log in").await;
    browser.until(&format!("!document.querySelector('[name=name]') && {kept}")).await;
    browser.press("Forgot your password?").await;
    browser.until(&format!("!document.querySelector('[name=password]') && {kept}")).await;

    browser.go("/login").await;
    browser.fill("[name=password]", "open sesame").await;
    browser.press("Show").await;
    browser.until("document.querySelector('[name=password]').type === 'text'").await;
    browser.press("Hide").await;
    browser.until("document.querySelector('[name=password]').type === 'password'").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_shown_once_above_everything_and_ends_with_its_page() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    for seat in 1..=10 {
        browser.click(&format!("[data-seat='A{seat}']")).await;
    }
    for seat in ["B1", "B2"] {
        browser.click(&format!("[data-seat='{seat}']")).await;
    }
    browser.until("document.querySelectorAll('.notice').length === 1").await;
    let place = "const top = (css) => document.querySelector(css).getBoundingClientRect(); \
                 return top('.notice').bottom <= top('.basket').top";
    assert_eq!(browser.script(place).await, true);
    browser.click("#fascia a[href='/']").await;
    browser.until("location.pathname === '/' && !document.querySelector('.notice')").await;

    log_in_owner(&browser).await;
    browser.go("/staff/genres").await;
    browser.press("New genre").await;
    browser.find("dialog[open]").await;
    let show = "const done = arguments[arguments.length - 1]; \
        const folder = new URL('.', document.querySelector('script[type=module]').src); \
        import(`${folder}parts/notice.js`).then(({notice}) => { notice('Above the dialog'); \
          const {x, y, width, height} = document.querySelector('.notice').getBoundingClientRect(); \
          done(document.elementFromPoint(x + width / 2, y + height / 2).textContent); })";
    assert_eq!(browser.script_later(show).await, "Above the dialog");
    browser.script("document.querySelector('dialog').close()").await;
    browser.sees("Above the dialog").await;
    browser.close().await;
    cinema.close().await;
}

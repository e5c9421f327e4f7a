//! What staff do: create a movie and sell its first ticket, edit layouts, replay dead letters, change roles, disable accounts.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{OWNER, TestCinema, id};
use crate::driver::{Browser, DESKTOP, DOWN, PHONE, WAIT_MAX, slot};
use crate::{log_in_new, pay};

const GOOD: &str = "4242 4242 4242 4242";

/// Logs in as the SUPER_ADMIN in this browser.
pub async fn log_in_owner(browser: &Browser) {
    browser.go("/login").await;
    browser.fill("[name=email]", OWNER.0).await;
    browser.fill("[name=password]", OWNER.1).await;
    browser.click("main [type=submit]").await;
    browser.find("#fascia a[href='/staff']").await;
}

/// Sets a field that cannot be filled by keys in every locale: dates, times, selects.
pub async fn set(browser: &Browser, css: &str, value: &str) {
    browser.find(css).await;
    let (css, value) = (json!(css), json!(value));
    browser
        .script(&format!(
            "const field = document.querySelector({css}); field.value = {value}; \
             field.dispatchEvent(new Event('change', {{bubbles: true}}))"
        ))
        .await;
}

/// Chooses the option with this text.
async fn choose(browser: &Browser, css: &str, text: &str) {
    browser.find(css).await;
    let found = format!(
        "[...document.querySelector({}).options].find((one) => one.text === {})",
        json!(css),
        json!(text)
    );
    browser.until(&found).await;
    let value = browser.script(&format!("return {found}.value")).await;
    set(browser, css, value.as_str().unwrap()).await;
}

/// The first item of a list, as staff see it.
pub async fn first(cinema: &TestCinema, path: &str) -> Value {
    cinema.call(Method::GET, path, Some(&cinema.owner()), None).await.expect(200)["items"][0].clone()
}

/// Waits until a message is parked, and returns it.
pub async fn parked(cinema: &TestCinema) -> Value {
    let began = Instant::now();
    loop {
        let letter = first(cinema, "/v1/admin/dead-letters").await;
        if letter.is_object() {
            return letter;
        }
        assert!(began.elapsed() < WAIT_MAX, "no dead letter");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_create_a_film_a_hall_and_a_showtime_and_sell_the_first_ticket() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;

    browser.go("/staff/movies/new").await;
    browser.fill("[name=durationMinutes]", "0").await;
    browser.press("Create film").await;
    browser.sees("Please enter a number from 1 to 1000.").await;
    browser.fill("[name=title]", "Paper Moons").await;
    browser.fill("[name=durationMinutes]", "95").await;
    browser.press("Create film").await;
    browser.sees("Another poster").await;
    let picture = Path::new(&std::env::temp_dir()).join(format!("poster-{}.png", uuid::Uuid::now_v7()));
    image::RgbImage::from_fn(400, 600, |x, y| image::Rgb([x as u8, y as u8, 90])).save(&picture).unwrap();
    browser.attach("#file-poster", &picture).await;
    browser.sees("It is on the film's page now.").await;
    std::fs::remove_file(&picture).unwrap();

    browser.go("/staff/halls/new").await;
    browser.fill("[name=name]", "Blue Room").await;
    set(&browser, "[name=newRows]", "3").await;
    set(&browser, "[name=newPlaces]", "5").await;
    browser.press("Draw this").await;
    browser.until("document.querySelectorAll('.layout-grid .seat').length === 15").await;
    // An aisle by mouse, a love seat by keyboard.
    browser.click(".brush:has([value=GAP])").await;
    browser.click("[data-row='1'][data-column='3']").await;
    browser.keys(&[DOWN, "2"]).await;
    browser.sees("14 seats. Seat 13 · Love seat 1").await;
    browser.press("Create auditorium").await;
    browser.sees("Saved: Blue Room").await;

    let tomorrow = (time::OffsetDateTime::now_utc() + time::Duration::DAY).date().to_string();
    browser.go("/staff/showtimes").await;
    browser.press("New showtime").await;
    choose(&browser, "dialog [name=movieId]", "Paper Moons").await;
    choose(&browser, "dialog [name=auditoriumId]", "Blue Room").await;
    set(&browser, "dialog [name=date]", &tomorrow).await;
    set(&browser, "dialog [name=time]", "20:15").await;
    browser.fill("dialog [name=price-STANDARD]", "9,50").await;
    browser.press("New showtime").await;
    browser.sees("Paper Moons is on sale").await;

    let showtimes =
        cinema.call(Method::GET, &format!("/v1/showtimes?date={tomorrow}"), None, None).await.expect(200);
    let showtime =
        showtimes["items"].as_array().unwrap().iter().find(|one| one["movieTitle"] == "Paper Moons");
    let showtime = id(showtime.unwrap());
    let guest = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&guest, "guest").await;
    guest.go(&format!("/showtimes/{showtime}")).await;
    guest.find("[data-seat='C3'][data-kind='LOVESEAT']").await;
    assert_eq!(guest.script("return document.querySelector(\"[data-seat='B3']\")").await, Value::Null);
    guest.click("[data-seat='B4']").await;
    guest.press("Hold these seats").await;
    guest.press("Pay €9.50").await;
    pay(&guest, GOOD).await;
    guest.sees("See you at the cinema").await;

    browser.go(&format!("/staff/showtimes?date={tomorrow}")).await;
    browser.sees("1 of 14").await;
    browser.go("/staff/sales").await;
    browser.sees("€9.50").await;
    guest.close().await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layout_editor_cannot_lose_a_sold_seat() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go(&format!("/staff/halls/{}", id(&first(&cinema, "/v1/auditoriums").await))).await;
    browser.click(".brush:has([value=GAP])").await;
    browser.click("[data-row='0'][data-column='1']").await;
    browser.click("[data-row='4'][data-column='10']").await;
    browser.press("Save").await;
    browser.sees("Nothing was saved.").await;
    let lost = "[...document.querySelectorAll('[data-lost=true]')].map((one) => one.getAttribute('aria-label')).join()";
    browser.until(&format!("{lost} === 'Row A, seat 1, Aisle, held or sold'")).await;
    browser.press("Put this seat back").await;
    browser.press("Save").await;
    browser.sees("Saved: ").await;
    assert_eq!(cinema.seat("A1").await, "SOLD");
    let map = format!("/v1/showtimes/{}/seats", cinema.showtime);
    cinema
        .until("E10 is gone", async || {
            let map = cinema.call(Method::GET, &map, None, None).await.expect(200);
            !map["seats"].as_array().unwrap().iter().any(|seat| seat["id"] == "E10")
        })
        .await;
    browser.close().await;
    cinema.close().await;
}

/// Makes the database refuse the rows that follow from this payment, until the trigger is dropped.
const BREAK: &str = "create function reservation.broken() returns trigger language plpgsql as $$
     begin raise exception 'the disk of confirmations is full' using errcode = 'check_violation'; end $$;
     create trigger broken before update on reservation.reservations
     for each row when (new.status = 'CONFIRMED') execute function reservation.broken()";
const MEND: &str = "drop trigger broken on reservation.reservations";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_replayed_from_its_page_when_its_cause_is_repaired() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    sqlx::raw_sql(BREAK).execute(&cinema.database).await.unwrap();
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    parked(&cinema).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/letters").await;
    browser.sees("disk of confirmations").await;
    browser.click("tbody a").await;
    browser.sees(&reservation).await;
    browser.press("Have it handled again").await;
    browser.sees("could not be handled this time either").await;
    sqlx::raw_sql(MEND).execute(&cinema.database).await.unwrap();
    browser.press("Have it handled again").await;
    browser.sees("payment.success is handled now.").await;
    browser.sees("No dead letters. All is well.").await;
    cinema.until_confirmed(&ada, &reservation).await;
    // The page of the order shows its steps.
    browser.go(&format!("/staff/orders/{reservation}")).await;
    browser.sees("Money arrived · confirmed").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_show_live_events_and_can_be_paused() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/operations").await;
    browser.sees("Each event as it happens").await;
    // The earlier events are shown, and new ones appear above them.
    browser.sees("user.registered").await;
    let sold = cinema.buy(&ada, &["C1"]).await;
    browser.sees("reservation.confirmed").await;
    browser.press("Pause").await;
    let held = cinema.reserve(&ada, &["D2"]).await;
    browser.sees("Continue, 1 new").await;
    assert_eq!(
        browser.script("return document.querySelector('.events').innerText.includes('D2')").await,
        false
    );
    browser.press("Continue, 1 new").await;
    browser.until("document.querySelector('.events li').innerText.includes('D2')").await;
    set(&browser, "#events-noun", "payment").await;
    browser.until("[...document.querySelectorAll('.events b')].every((one) => one.innerText.startsWith('payment.'))").await;
    browser.fill("#events-word", &sold).await;
    browser.click(".events summary").await;
    browser.until("document.querySelector('.event-inside pre')").await;
    browser.click(".event-inside a").await;
    browser.sees("Money arrived · confirmed").await;
    cinema.cancel(&ada, &held).await.expect(200);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_role_counts_at_once_and_staff_do_not_see_what_is_for_super_admins() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (owner, staff) =
        (Browser::open(&cinema.url(), DESKTOP).await, Browser::open(&cinema.url(), PHONE).await);
    log_in_new(&staff, "mia").await;
    staff.go("/staff").await;
    staff.sees("This page is for staff").await;
    log_in_owner(&owner).await;
    owner.go("/staff/people").await;
    set(&owner, "select[aria-label='Role of mia']", "ADMIN").await;
    owner.sees("Make mia Staff?").await;
    owner.press("Change role").await;
    owner.sees("mia is now Staff.").await;
    staff.go("/staff/people").await;
    staff.sees("Roles are the owner's to give.").await;
    staff.sees("mia@example.org").await;
    assert_eq!(staff.script("return document.querySelectorAll('.staff td select').length").await, 0);
    staff.close().await;
    owner.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_account_is_logged_out_at_once_and_the_login_explains_why() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (owner, guest) =
        (Browser::open(&cinema.url(), DESKTOP).await, Browser::open(&cinema.url(), PHONE).await);
    log_in_new(&guest, "eve").await;
    log_in_owner(&owner).await;
    owner.go("/staff/people").await;
    owner.click("[aria-label='Disable the account of eve']").await;
    owner.sees("Disable the account of eve?").await;
    owner.press("Disable").await;
    owner.sees("The account of eve is disabled.").await;
    guest.go("/login").await;
    guest.fill("[name=email]", "eve@example.org").await;
    guest.fill("[name=password]", "correct horse").await;
    guest.click("main [type=submit]").await;
    guest.sees("This account is disabled.").await;
    owner.click("[aria-label='Enable the account of eve']").await;
    owner.sees("The account of eve is enabled again.").await;
    guest.click("main [type=submit]").await;
    guest.find("#fascia a[href='/account']").await;
    guest.close().await;
    owner.close().await;
    cinema.close().await;
}

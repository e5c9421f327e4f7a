//! Languages, links in mails, banners, logins.

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, slot};
use crate::staff::set;
use crate::{hold, log_in_new};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_in_the_readers_language_also_for_an_unknown_address() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/nothing").await;
    browser.sees("Page not found").await;
    set(&browser, "#language", "de").await;
    browser.sees("Seite nicht gefunden").await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.sees("Wählen Sie Ihre Plätze").await;
    browser.click("[data-seat='A1']").await;
    // Money in German notation, with a no-break space.
    browser.sees("12,00\u{a0}€").await;
    assert_eq!(browser.script("return document.documentElement.lang").await, "de");
    // Without a connection another language cannot be loaded, and the page stays as it is.
    browser.forget_files().await;
    browser.cut(true).await;
    set(&browser, "#language", "en").await;
    browser.sees("Keine Verbindung.").await;
    assert_eq!(browser.script("return document.getElementById('language').value").await, "de");
    browser.sees("Wählen Sie Ihre Plätze").await;
    browser.cut(false).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_payments_are_tests_every_page_says_that_no_money_is_charged() {
    let _slot = slot().await;
    let mut cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    browser.find("#fascia nav").await;
    assert_eq!(browser.script("return document.querySelectorAll('.sandbox').length").await, 0);
    browser.close().await;
    cinema.stop_hosts().await;
    cinema.set("SANDBOX", "true");
    cinema.start_hosts().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    for path in ["/", &format!("/showtimes/{}", cinema.showtime), "/staff", "/door"] {
        browser.go(path).await;
        browser.sees("Test payments: no money is charged.").await;
    }
    set(&browser, "#language", "de").await;
    browser.sees("Testzahlungen: Es wird kein Geld abgebucht.").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_from_the_mail_sets_a_new_password() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "una").await;
    browser.go("/forgot").await;
    browser.fill("[name=email]", "una@example.org").await;
    browser.press("Send the link").await;
    browser.sees("Look into your mail").await;
    let link = reset_link(&cinema).await;
    assert!(link.starts_with(&cinema.url()), "{link}");
    browser.go(&link).await;
    browser.fill("[name=password]", "battery staple").await;
    browser.press("Save and log in").await;
    browser.sees("Your password is changed.").await;
    browser.find("#fascia a[href='/account']").await;
    hold(&browser, &cinema, &["A1"]).await;
    browser.press("Give the seats back").await;
    browser.sees("free for others again").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_page_says_that_the_address_is_not_confirmed_until_the_link_is_used() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "vera").await;
    browser.go("/account").await;
    browser.sees("Your e-mail address is not confirmed").await;
    let link = mail_link(&cinema, "/verify?token=").await;
    browser.go(&link).await;
    browser.press("Confirm the address").await;
    browser.sees("Your address is confirmed.").await;
    browser.go("/account").await;
    browser.sees("vera@example.org").await;
    browser.until("!document.body.innerText.includes('not confirmed')").await;
    browser.close().await;
    cinema.close().await;
}

async fn reset_link(cinema: &TestCinema) -> String {
    mail_link(cinema, "/reset?token=").await
}

/// The link to this page in the latest mail.
pub async fn mail_link(cinema: &TestCinema, page: &str) -> String {
    let folder = cinema.folder.path().join("mail");
    let found = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| std::fs::read(file.path()).ok()).find_map(|mail| {
            let mail = mail_parser::MessageParser::default().parse(&mail)?.body_text(0)?.into_owned();
            let link =
                mail.split_whitespace().find(|word| word.starts_with("http") && word.contains(page))?;
            Some(link.to_owned())
        })
    };
    cinema.until("a mail with a link", async || found().is_some()).await;
    found().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_during_a_token_refresh_keep_the_login() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_new(&browser, "joy").await;
    // Each page is left while it requests its access token, each time at another moment.
    for milliseconds in [1, 10, 20, 30, 40, 60, 80, 120] {
        browser.script(&format!("setTimeout(() => location.reload(), {milliseconds})")).await;
        browser.until("!performance.getEntriesByName('left').length").await;
        browser.script("performance.mark('left')").await;
    }
    browser.go("/account").await;
    browser.find("#fascia a[href='/account']").await;
    browser.sees("joy@example.org").await;
    browser.close().await;
    cinema.close().await;
}

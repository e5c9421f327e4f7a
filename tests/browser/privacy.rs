//! The user's own data on the account page: saved as a file, and the account deleted; and staff who erase an account with a reason.

use marquee::local::Folder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::axe::{axe, violations};
use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, ENTER, PHONE, slot};
use crate::staff::{log_in_owner, set};
use crate::{log_in_new, speak};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_saved_as_a_file_and_then_deleted() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let zoe = log_in_new(&browser, "zoe").await;
    let order = cinema.buy(&zoe, &["C5"]).await;
    browser.go("/account").await;
    browser.sees("Download my data").await;
    let folder = Folder::temporary().unwrap();
    let allowed = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.devtools("Browser.setDownloadBehavior", allowed).await;
    browser.press("Download my data").await;
    let path = folder.path().join("marquee-data.json");
    cinema.until("the file is saved", async || path.exists()).await;
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap_or_default()).ok();
    cinema.until("the file is whole", async || read().is_some()).await;
    let data = read().unwrap();
    assert_eq!(data["account"]["email"], "zoe@example.org");
    assert_eq!(data["orders"][0]["reservation"]["id"], json!(order));

    // What is lost is read before the password is asked.
    browser.click("details.deletion summary").await;
    browser.sees("Nobody can undo this").await;
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.press("Delete my account for good").await;
    browser.sees("Please enter your password").await;
    browser.fill("details [name=password]", "not my password").await;
    browser.press("Delete my account for good").await;
    browser.sees("That is not your current password.").await;
    assert_eq!(cinema.get("/v1/me", &zoe).await.expect(200)["name"], "zoe");

    browser.fill("details [name=password]", "correct horse").await;
    browser.press("Delete my account for good").await;
    browser.sees("Your account is deleted.").await;
    browser.until("location.pathname === '/'").await;
    browser.find("#fascia a[href='/login']").await;
    let login = json!({"email": "zoe@example.org", "password": "correct horse"});
    assert_eq!(cinema.call(Method::POST, "/v1/auth/login", None, Some(login)).await.status, 401);
    cinema.until_sql("select count(*) from reservation.reservations where email <> ''", 0).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unpaid_order_keeps_the_account_which_is_said_in_german_too() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let zoe = log_in_new(&browser, "zoe").await;
    let held = cinema.reserve(&zoe, &["C5"]).await;
    speak(&browser, "de").await;
    browser.go("/account").await;
    browser.tab_to("Mein Konto löschen").await;
    browser.keys(&[ENTER]).await;
    browser.tab_to("Ihr Passwort").await;
    browser.keys(&["correct horse", ENTER]).await;
    browser.sees("Eine Bestellung ist noch nicht bezahlt").await;
    cinema.get("/v1/me", &zoe).await.expect(200);
    set(&browser, "#language", "en").await;
    browser.sees("Delete my account").await;
    cinema.cancel(&zoe, &held).await.expect(200);
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_erase_an_account_with_a_reason() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    cinema.register().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff/people?email=p0").await;
    browser.sees("p0@example.org").await;
    browser.click("button[aria-label='Erase the account of Ada']").await;
    browser.sees("The audit keeps the reason").await;
    browser.fill("dialog [name=reason]", "asked by letter").await;
    browser.click("dialog [type=submit]").await;
    browser.sees("The account is erased.").await;
    browser.until("!document.body.innerText.includes('p0@example.org')").await;
    let audit = cinema.get("/v1/admin/audit?kind=USER_ERASED", &cinema.owner()).await.expect(200);
    assert_eq!(audit["items"][0]["details"]["reason"], "asked by letter");
    browser.close().await;
    cinema.close().await;
}

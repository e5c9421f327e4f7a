//! Staff make a report: choose it by keyboard, read it in their language, save it as CSV and print it.

use serde_json::json;

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, ENTER, slot};
use crate::speak;
use crate::staff::{log_in_owner, set};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_read_print_and_save_a_report_of_tickets_and_of_sales() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    let gone = cinema.buy(&ada, &["A3"]).await;
    cinema.cancel(&ada, &gone).await.expect(200);
    cinema.until_status(&ada, &gone, "REFUNDED").await;
    let day = |ahead: i64| (time::OffsetDateTime::now_utc() + time::Duration::days(ahead)).date().to_string();
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    browser.go("/staff").await;
    browser.tab_to("Reports").await;
    browser.keys(&[ENTER]).await;
    browser.sees("Tickets by film week").await;
    browser.go(&format!("/staff/reports?from={}&to={}", day(-1), day(3))).await;
    let cells = "[...document.querySelectorAll('.report tbody tr')].map((row) => row.innerText).join('|')";
    browser.until(&format!("/The Long Night.*2.*0.*0.*2.*€24\\.00/s.test({cells})")).await;

    // The file is what the browser would save.
    browser
        .script(
            "const made = URL.createObjectURL; \
             URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return made(blob); }; \
             window.print = () => { window.printed = true; };",
        )
        .await;
    browser.tab_to("Save as CSV").await;
    browser.keys(&[ENTER]).await;
    browser.until("window.saved?.startsWith('week,day,movieId,movieTitle')").await;
    browser.until("/The Long Night.*,2,0,0,2,3,1,EUR,24.00,0.00,12.00,24.00/.test(window.saved)").await;
    browser.press("Print").await;
    browser.until("window.printed").await;
    browser.devtools("Emulation.setEmulatedMedia", json!({"media": "print"})).await;
    browser
        .until("['.staff-places', '.filters', '#fascia'].every((css) => !document.querySelector(css).checkVisibility())")
        .await;
    browser.until("document.querySelector('.report table').checkVisibility()").await;
    browser.devtools("Emulation.setEmulatedMedia", json!({"media": ""})).await;

    set(&browser, "[name=kind]", "sales").await;
    browser.until("location.search.includes('kind=sales')").await;
    browser.until(&format!("/online.*3.*1.*€36\\.00.*€12\\.00.*€24\\.00/s.test({cells})")).await;
    speak(&browser, "de").await;
    browser.go("/staff/reports?kind=sales").await;
    browser.sees("Verkäufe nach Tag").await;
    browser.go("/staff/reports?from=2024-01-01&to=2026-01-01").await;
    browser.sees("Ein Bericht darf höchstens 53 Wochen haben.").await;
    browser.close().await;
    cinema.close().await;
}

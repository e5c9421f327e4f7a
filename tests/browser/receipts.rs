//! Receipts on an order's page: saved as a PDF, and made out to a buyer, with errors in the reader's language.

use marquee::local::Folder;
use serde_json::{Value, json};

use crate::cinema::TestCinema;
use crate::driver::{Browser, PHONE, slot};
use crate::log_in_new;
use crate::scanning::read_pdf;
use crate::staff::set;

/// Presses a button that saves the receipt of this number, and returns the text of the file.
async fn saved(browser: &Browser, cinema: &TestCinema, button: &str, number: &Value) -> String {
    let folder = Folder::temporary().unwrap();
    let allowed = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.devtools("Browser.setDownloadBehavior", allowed).await;
    browser.press(button).await;
    let path = folder.path().join(format!("{}.pdf", number.as_str().unwrap()));
    cinema.until("the PDF is saved", async || path.exists()).await;
    read_pdf(&std::fs::read(path).unwrap()).1
}

/// The number of an order's first or last receipt.
async fn number(browser: &Browser, place: i64) -> Value {
    browser.find("[data-receipt]").await;
    browser
        .script(&format!(
            "return [...document.querySelectorAll('[data-receipt]')].at({place}).dataset.receipt"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_saved_and_becomes_an_invoice() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    browser.go(&format!("/reservations/{order}")).await;
    let first = number(&browser, 0).await;
    let receipt = saved(&browser, &cinema, "Receipt (PDF)", &first).await;
    for part in ["Receipt R-", "C5, C6", "€24.00", "Marquee"] {
        assert!(receipt.contains(part), "{part}: {receipt}");
    }

    // Errors are sentences in the reader's language, at their fields.
    set(&browser, "#language", "de").await;
    browser.sees("Ich brauche eine Rechnung mit meiner Anschrift").await;
    browser.click("details.invoice summary").await;
    browser.press("Rechnung ausstellen").await;
    browser.sees("Bitte die Anschrift eingeben.").await;
    browser.fill("details [name=name]", "Käse & Brot GmbH").await;
    browser.fill("details [name=address]", "Abteilung 7\nLindenallee 5\n50667 Köln").await;
    browser.fill("details [name=taxId]", "ÄÖÜ").await;
    browser.press("Rechnung ausstellen").await;
    browser.sees("Bitte nur Buchstaben ohne Akzente").await;
    browser.fill("details [name=taxId]", "DE123456789").await;
    browser.press("Rechnung ausstellen").await;
    browser.sees("Ausgestellt für Käse & Brot GmbH.").await;
    let invoice = saved(&browser, &cinema, "Rechnung (PDF)", &first).await;
    for part in ["Invoice R-", "Käse & Brot GmbH", "50667 Köln", "DE123456789"] {
        assert!(invoice.contains(part), "in the language of the order, {part}: {invoice}");
    }

    // A cancelled order has a credit note, too.
    cinema.cancel(&ada, &order).await.expect(200);
    browser.sees("Gutschrift (PDF)").await;
    let last = number(&browser, -1).await;
    let note = saved(&browser, &cinema, "Gutschrift (PDF)", &last).await;
    assert!(note.contains("Credit note C-") && note.contains("Käse & Brot GmbH"), "{note}");
    assert_eq!(browser.script("return document.querySelectorAll('details.invoice').length").await, json!(0));
    browser.close().await;
    cinema.close().await;
}

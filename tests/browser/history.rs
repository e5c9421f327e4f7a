//! An order's history as staff read it: in words, in each language, and never by the names of the programs.

use serde_json::json;

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, slot};
use crate::speak;
use crate::staff::log_in_owner;

/// Words that look like names of the programs: `awaiting-payment`, `USER_REQUEST`.
const NAMES: &str = "return [...document.querySelectorAll('.story b, .balance li, .order-parts .badge')] \
    .flatMap((one) => one.innerText.match(/[a-z]+(?:[-_][a-z]+)+|[A-Z]+_[A-Z_]+/g) ?? [])";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_an_order_is_in_words_in_each_language() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let held = cinema.reserve(&ada, &["A1"]).await;
    let declined = cinema.reserve(&ada, &["B1"]).await;
    cinema.pay(&ada, &declined, "pm_card_chargeDeclined").await.expect(402);
    cinema.pay(&ada, &declined, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &declined).await;
    let cancelled = cinema.buy(&ada, &["C5", "C6"]).await;
    cinema.cancel(&ada, &cancelled).await.expect(200);
    cinema.until_status(&ada, &cancelled, "REFUNDED").await;

    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&browser).await;
    let in_words = [
        (
            "en",
            [
                "Ordered, seats held · waits for payment",
                "Cancelled by the moviegoer · being paid back",
                "Paid back · The moviegoer cancelled",
            ],
        ),
        (
            "de",
            [
                "Bestellt, Plätze gehalten · wartet auf Zahlung",
                "Vom Gast storniert · wird erstattet",
                "Erstattet · Der Gast hat storniert",
            ],
        ),
    ];
    for (language, [made, given_up, refund]) in in_words {
        speak(&browser, language).await;
        for (order, words) in
            [(&held, vec![made]), (&declined, vec![made]), (&cancelled, vec![made, given_up, refund])]
        {
            browser.go(&format!("/staff/orders/{order}")).await;
            for words in words {
                browser.sees(words).await;
            }
            assert_eq!(browser.script(NAMES).await, json!([]), "{language}: {order}");
        }
    }
    browser.close().await;
    cinema.close().await;
}

//! What links open: a mail's link its order without a login, *PDF* a file, and an unknown address a page that search engines do
//! not keep.

use marquee::local::Folder;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::cinema::TestCinema;
use crate::door::tickets;
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::log_in_new;
use crate::quality::mail_link;
use crate::scanning::read_pdf;

const SHOWN: &str = "document.querySelectorAll('dialog .pass svg').length === 2";

/// Presses *PDF* and returns the file that the browser has saved.
async fn saved(browser: &Browser, cinema: &TestCinema, code: &str) -> Vec<u8> {
    let folder = Folder::temporary().unwrap();
    let allowed = json!({"behavior": "allow", "downloadPath": folder.path()});
    browser.devtools("Browser.setDownloadBehavior", allowed).await;
    browser.press("PDF").await;
    let path = folder.path().join(format!("tickets-{}-{}.pdf", &code[..4], &code[4..]));
    cinema.until("the PDF is saved", async || path.exists()).await;
    std::fs::read(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mails_link_opens_its_order_without_a_login_and_no_other() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let (order, other) = (cinema.buy(&ada, &["C5", "C6"]).await, cinema.buy(&ada, &["D1"]).await);
    let signed = tickets(&cinema, &ada, &order).await;
    let link = mail_link(&cinema, &format!("/reservations/{order}#token=")).await;

    let browser = Browser::open(&cinema.url(), PHONE).await;
    browser.go(&link).await;
    browser.sees("See you at the cinema").await;
    browser.sees("The Long Night").await;
    // The address can be shown to others.
    assert_eq!(
        browser.script("return location.pathname + location.hash").await,
        format!("/reservations/{order}")
    );
    browser.find("#fascia a[href='/login']").await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    assert_eq!(browser.codes_on_screen().await, signed[..1]);
    let code = cinema.reservation(&ada, &order).await["code"].as_str().unwrap().to_owned();
    let (pages, _) = read_pdf(&saved(&browser, &cinema, &code).await);
    assert_eq!(pages.concat(), signed);

    // Another order of the same person, also with the token of this one.
    for address in [format!("/reservations/{other}"), link.replace(&order, &other)] {
        browser.go(&address).await;
        browser.find("main [name=password]").await;
        let seen = browser.script("return document.querySelector('main').innerText").await;
        assert!(!seen.as_str().unwrap().contains("The Long Night"), "{address}: {seen}");
    }
    browser.go(&format!("/reservations/{order}")).await;
    browser.sees("See you at the cinema").await;
    // Another tab has no token.
    browser.open_tab(PHONE).await;
    browser.go(&format!("/reservations/{order}")).await;
    browser.find("main [name=password]").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_saved_as_a_pdf_that_other_programs_read() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let ada = log_in_new(&browser, "ada").await;
    let order = cinema.buy(&ada, &["C5", "C6"]).await;
    let signed = tickets(&cinema, &ada, &order).await;
    let code = cinema.reservation(&ada, &order).await["code"].as_str().unwrap().to_owned();
    browser.go(&format!("/reservations/{order}")).await;
    browser.until("document.documentElement.dataset.kept === 'true'").await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    let (pages, text) = read_pdf(&saved(&browser, &cinema, &code).await);
    let each: Vec<Vec<String>> = signed.into_iter().map(|token| vec![token]).collect();
    assert_eq!(pages, each, "a page for each ticket, with its code");
    for word in ["The Long Night", "C5", "C6", &format!("{}-{}", &code[..4], &code[4..])] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // Without a connection the stored tickets are shown, and no file is offered.
    browser.press("Close").await;
    browser.until("!document.querySelector('dialog')").await;
    browser.cut(true).await;
    browser.press("Show tickets").await;
    browser.until(SHOWN).await;
    let buttons =
        "return [...document.querySelectorAll('.tickets-controls button')].map((button) => button.innerText)";
    let buttons: Value = browser.script(buttons).await;
    let buttons = buttons.as_array().unwrap();
    assert!(buttons.contains(&json!("Print all")) && !buttons.contains(&json!("PDF")), "{buttons:?}");
    browser.cut(false).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_engines_keep_no_address_at_which_nothing_is() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let nobody = format!("/movies/{}", uuid::Uuid::now_v7());
    for (address, is_known) in [("/", true), ("/tickets", true), ("/nothing", false), ("/movies/xx", false)] {
        let request = cinema.http.get(format!("{}{address}", cinema.url())).header(ACCEPT, "text/html");
        let answer = request.send().await.unwrap();
        let robots = answer.headers().get("x-robots-tag").map(|value| value.to_str().unwrap());
        assert_eq!((answer.status() == 200, robots.is_none()), (is_known, is_known), "{address}: {robots:?}");
        assert!(is_known || robots == Some("noindex"), "{address}: {robots:?}");
    }
    // Whether a film exists is known to the page only.
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    for address in ["/nothing", &nobody] {
        browser.go(address).await;
        browser.until("document.querySelector('meta[name=robots]')?.content === 'noindex'").await;
    }
    browser.click("main a[href='/']").await;
    browser.sees("The Long Night").await;
    browser.until("!document.querySelector('meta[name=robots]')").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_calendar_entry_escapes_texts_and_folds_lines_at_75_octets() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    browser.go("/").await;
    let script = r#"const done = arguments[arguments.length - 1];
        const folder = new URL('.', document.querySelector('script[type=module]').src);
        const title = 'Käse, Brot; \\ Wein\r\nund 夜の船 🎬 '.repeat(4);
        import(`${folder}parts/ics.js`).then(async ({ics}) => {
          const file = await ics({id: 'a', title, place: 'Saal 1, Hof;\n50667 Köln', startsAt: '2036-05-01T18:15:00Z',
            endsAt: '2036-05-01T20:15:00Z', about: 'A1', url: location.href, sequence: 1}).text();
          const lines = file.split('\r\n');
          const octets = (text) => new TextEncoder().encode(text).length;
          const whole = file.replaceAll('\r\n ', '');
          done({most: Math.max(...lines.map(octets)), bare: lines.some((line) => /[\r\n]/.test(line)), count: lines.length,
            summary: whole.includes('\r\nSUMMARY:' + 'Käse\\, Brot\\; \\\\ Wein\\nund 夜の船 🎬 '.repeat(4) + '\r\n'),
            place: whole.includes('\r\nLOCATION:Saal 1\\, Hof\\;\\n50667 Köln\r\n')});
        }, (e) => done(String(e)));"#;
    let found = browser.script_later(script).await;
    assert!(found["count"].as_u64().is_some_and(|count| count > 20), "{found}");
    assert_eq!(
        (&found["most"], &found["bare"], &found["summary"], &found["place"]),
        (&json!(75), &json!(false), &json!(true), &json!(true)),
        "{found}"
    );
    browser.close().await;
    cinema.close().await;
}

//! The cinema's own name and look: staff save them, and guests see them on every page.

use serde_json::{Value, json};

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, PHONE, slot};
use crate::hold;
use crate::staff::{log_in_owner, set};

const NAME: &str = "Lichtspiele Köln";

/// Every text of a page, its title and its names for screen readers included.
async fn seen(browser: &Browser) -> String {
    let script = "return [document.title, document.body.innerText, \
        ...[...document.querySelectorAll('[aria-label], [alt], [title]')].flatMap((one) => \
          ['aria-label', 'alt', 'title'].map((name) => one.getAttribute(name) ?? ''))].join('\\n')";
    browser.script(script).await.as_str().unwrap().to_owned()
}

async fn style(browser: &Browser, css: &str, property: &str) -> Value {
    browser
        .script(&format!("return getComputedStyle(document.querySelector({})).{property}", json!(css)))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_rename_the_cinema_and_guests_see_it_everywhere() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let staff = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&staff).await;
    staff.go("/staff/site").await;
    staff.fill("[name=name]", NAME).await;
    // The preview shows what is typed.
    staff
        .until(&format!(
            "document.querySelector('.site-preview').innerText.toUpperCase().includes({})",
            json!(NAME.to_uppercase())
        ))
        .await;
    staff.fill("[name='legal.address']", "Lindenallee 5, 50667 Köln").await;
    staff.fill("[name='links.imprint']", "https://kino.example/impressum").await;
    staff.click("[name=hasColours]").await;
    for (field, colour) in
        [("header", "#777777"), ("onHeader", "#ffffff"), ("button", "#ffffff"), ("onButton", "#102030")]
    {
        set(&staff, &format!("[name='theme.colours.{field}']"), colour).await;
    }
    staff.press("Save").await;
    staff.sees("This text cannot be read well on its ground.").await;
    set(&staff, "[name='theme.colours.header']", "#102030").await;
    staff.press("Save").await;
    staff.sees(&format!("Saved: {NAME}")).await;
    staff.until(&format!("document.title.endsWith({})", json!(format!("· {NAME}")))).await;
    staff
        .until("getComputedStyle(document.querySelector('.fascia')).backgroundColor === 'rgb(16, 32, 48)'")
        .await;
    // The audit names the fields and the author.
    cinema.until_sql("select count(*) from auth.audit where kind = 'SITE_CHANGED'", 1).await;
    staff.reload().await;
    staff
        .until(
            "[...document.querySelectorAll('section.stack')].some((one) => one.querySelector('h2')?.textContent === 'Latest changes' && \
             one.querySelector('table').textContent.includes('Name of the cinema'))",
        )
        .await;
    // Somebody else's change is not overwritten.
    staff.go("/staff/site").await;
    staff.find("[name=name]").await;
    let site = cinema.call(reqwest::Method::GET, "/v1/site", None, None).await.expect(200);
    let mut body = site.clone();
    for name in ["id", "createdAt", "updatedAt"] {
        body.as_object_mut().unwrap().remove(name);
    }
    body["mailSender"] = json!("Kasse");
    let path = format!("/v1/sites/{}", crate::cinema::id(&site));
    cinema.call(reqwest::Method::PUT, &path, Some(&cinema.owner()), Some(body)).await.expect(200);
    staff.press("Save").await;
    staff.sees("Somebody has changed this meanwhile. Nothing was saved.").await;
    staff.close().await;

    for screen in [DESKTOP, PHONE] {
        let guest = Browser::open(&cinema.url(), screen).await;
        guest.go("/").await;
        guest.sees("Lindenallee 5, 50667 Köln").await;
        assert_eq!(style(&guest, ".fascia", "backgroundColor").await, "rgb(16, 32, 48)");
        assert_eq!(
            guest.script("return document.querySelector('.foot a[href^=https]').href").await,
            "https://kino.example/impressum"
        );
        let pages = ["/", "/login", "/register", "/forgot", "/tickets", "/nothing"];
        for path in pages.map(str::to_owned).into_iter().chain([format!("/showtimes/{}", cinema.showtime)]) {
            guest.go(&path).await;
            guest.until("document.querySelector('main h1')").await;
            let seen = seen(&guest).await;
            assert!(!seen.to_uppercase().contains("MARQUEE"), "{path}: {seen}");
            assert!(seen.to_uppercase().contains(&NAME.to_uppercase()), "{path}: {seen}");
        }
        guest.close().await;
    }
    let guest = Browser::open(&cinema.url(), DESKTOP).await;
    crate::log_in_new(&guest, "ada").await;
    hold(&guest, &cinema, &["A1"]).await;
    let seen = seen(&guest).await;
    assert!(!seen.to_uppercase().contains("MARQUEE") && seen.contains(NAME), "{seen}");
    guest.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_give_a_showtime_its_own_rules() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let staff = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&staff).await;
    let day = crate::schedule::day(&staff, &cinema, 0).await;
    staff.go(&format!("/staff/showtimes?date={day}")).await;
    staff.click(".timeline-block").await;
    let fold = "dialog details.fold:has([name='overrides.refundPolicy.percent'])";
    staff.click(&format!("{fold} summary")).await;
    staff.fill("[name='overrides.refundPolicy.percent']", "20").await;
    staff.click(&format!("{fold} [type=submit]")).await;
    staff.sees("Please fill this in.").await;
    staff.fill("[name='overrides.refundPolicy.untilMinutes']", "60").await;
    staff.click(&format!("{fold} [type=submit]")).await;
    staff.sees("The showtime has these rules now.").await;
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let showtime = cinema.call(reqwest::Method::GET, &path, None, None).await.expect(200);
    assert_eq!(showtime["overrides"], json!({"refundPolicy": {"untilMinutes": 60, "percent": 20}}));
    staff.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_offered_only_in_the_languages_of_the_cinema() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let site = cinema.call(reqwest::Method::GET, "/v1/site", None, None).await.expect(200);
    let mut body = site.clone();
    for name in ["id", "createdAt", "updatedAt"] {
        body.as_object_mut().unwrap().remove(name);
    }
    body["languages"] = json!(["de"]);
    let path = format!("/v1/sites/{}", crate::cinema::id(&site));
    cinema.call(reqwest::Method::PUT, &path, Some(&cinema.owner()), Some(body)).await.expect(200);
    let guest = Browser::open(&cinema.url(), DESKTOP).await;
    guest.go("/").await;
    crate::speak(&guest, "en").await;
    guest.go("/").await;
    guest.sees("Programm").await;
    assert_eq!(guest.script("return document.documentElement.lang").await, "de");
    assert_eq!(guest.script("return document.getElementById('language').options.length").await, 1);
    guest.close().await;
    cinema.close().await;
}

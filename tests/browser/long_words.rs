//! A title with a word of 60 letters, as German has them, on every page that shows titles: nothing is as wide as the word, nothing is
//! cut without a mark, and cards do not lie on each other.

use serde_json::json;

use crate::cinema::TestCinema;
use crate::driver::{Browser, DESKTOP, PHONE, Screen, day_of, slot};
use crate::staff::log_in_owner;
use crate::{log_in_new, speak};

const LONG: &str = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlung";

/// What is wrong on the page: it moves sideways, or a text with the long word is outside of its box. A box that scrolls and a text that
/// ends in dots show themselves that something is hidden.
const WRONG: &str = "(() => { \
  const wrong = []; \
  const root = document.documentElement; \
  if (root.scrollWidth > innerWidth) wrong.push(`the page is ${root.scrollWidth} wide`); \
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
  const isMarked = (style) => style.textOverflow === 'ellipsis' || style.webkitLineClamp !== 'none' || ['auto', 'scroll'].includes(style.overflowX); \
  for (let node = texts.nextNode(); node; node = texts.nextNode()) { \
    if (!node.textContent.includes('Donaudampf')) continue; \
    const range = document.createRange(); range.selectNodeContents(node); \
    const text = (node.parentElement instanceof SVGElement ? node.parentElement : range).getBoundingClientRect(); \
    if (text.width === 0 || !node.parentElement.checkVisibility() || node.parentElement.closest('.unseen, option')) continue; \
    for (let box = node.parentElement; box; box = box.parentElement) { \
      const style = getComputedStyle(box); \
      if (isMarked(style)) break; \
      const rect = box.getBoundingClientRect(); \
      const name = `${node.parentElement.tagName}.${node.parentElement.className} in ${box.tagName}.${box.className}`; \
      if (style.overflowX !== 'visible' && (text.right > rect.right + 1 || text.left < rect.left - 1)) wrong.push(`cut: ${name}`); \
      if (style.overflowY !== 'visible' && !['auto', 'scroll'].includes(style.overflowY) && text.bottom > rect.bottom + 1) wrong.push(`cut below: ${name}`); \
      if (['LI', 'MAIN', 'DIALOG', 'ARTICLE', 'FIGURE'].includes(box.tagName) && text.right > rect.right + 1) wrong.push(`wider: ${name}`); \
    } \
  } \
  return wrong; })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_of_sixty_letters_breaks_no_page() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let rename = |table: &str, column: &str| {
        let text = format!("update {table} set {column} = '{LONG} ' || substr(id::text, 25)");
        let database = cinema.database.clone();
        async move { sqlx::query(sqlx::AssertSqlSafe(text)).execute(&database).await.unwrap() }
    };
    rename("movie.movies", "title").await;
    rename("movie.auditoriums", "name").await;
    sqlx::query("update reservation.showtimes set movie_title = $1")
        .bind(LONG)
        .execute(&cinema.database)
        .await
        .unwrap();
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let person = log_in_new(&browser, "ida").await;
    let sold = cinema.buy(&person, &["A1", "A2"]).await;
    let held = cinema.reserve(&person, &["B1"]).await;
    let showtime = cinema
        .call(reqwest::Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None)
        .await
        .expect(200);
    let (movie, hall) = (showtime["movieId"].as_str().unwrap(), showtime["auditoriumId"].as_str().unwrap());
    let day = day_of(&showtime);
    let open = [
        format!("/?date={day}"),
        "/?name=donau".to_owned(),
        format!("/movies/{movie}"),
        format!("/showtimes/{}", cinema.showtime),
        format!("/showtimes/{}?exchange={sold}", cinema.showtime),
        format!("/reservations/{held}"),
        format!("/reservations/{sold}"),
        "/tickets".to_owned(),
    ];
    let mut wrong = look(&browser, &open, Some("Show tickets")).await;
    browser.close().await;
    let staff = Browser::open(&cinema.url(), DESKTOP).await;
    log_in_owner(&staff).await;
    let closed = [
        format!("/staff?date={day}"),
        "/staff/movies".to_owned(),
        format!("/staff/movies/{movie}"),
        "/staff/halls".to_owned(),
        format!("/staff/halls/{hall}"),
        "/staff/sales?by=movie".to_owned(),
        "/staff/sales?by=showtime".to_owned(),
        "/staff/reports?by=showtime".to_owned(),
        "/staff/orders".to_owned(),
        format!("/staff/orders/{sold}"),
        "/staff/mails".to_owned(),
        "/staff/holds".to_owned(),
        "/door".to_owned(),
    ];
    wrong.extend(look(&staff, &closed, None).await);
    assert!(wrong.is_empty(), "{wrong:#?}");
    staff.close().await;
    cinema.cancel(&person, &held).await.expect(200);
    cinema.close().await;
}

/// What is wrong on these pages, on a phone and on a desktop, and in the dialog that a button of the page opens.
async fn look(browser: &Browser, pages: &[String], button: Option<&str>) -> Vec<String> {
    speak(browser, "en").await;
    let mut wrong = Vec::new();
    for page in pages {
        for screen in [PHONE, DESKTOP] {
            browser.set_screen(screen).await;
            browser.go(page).await;
            browser.until("document.querySelector('main h1')?.textContent && !document.querySelector('[aria-busy=true]')").await;
            wrong.extend(wrong_in(browser, page, screen).await);
            let has_button = json!(button.unwrap_or("-"));
            let found = browser
                .script(&format!("return [...document.querySelectorAll('main button')].some((one) => one.innerText === {has_button})"))
                .await;
            if found == true {
                browser.press(button.unwrap()).await;
                browser.find("dialog[open]").await;
                wrong.extend(wrong_in(browser, &format!("{page}, dialog"), screen).await);
            }
        }
    }
    wrong
}

async fn wrong_in(browser: &Browser, page: &str, screen: Screen) -> Vec<String> {
    let found = browser.script(&format!("return {WRONG}")).await;
    let lines = found.as_array().unwrap().iter();
    lines.map(|line| format!("{page} at {}: {}", screen.width, line.as_str().unwrap())).collect()
}

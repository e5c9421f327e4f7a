//! A phone and other small screens: the hall that fits and is magnified, times before the poster, a basket of one line, low
//! screens, and high contrast.

use serde_json::{Value, json};

use crate::axe::{axe, violations};
use crate::cinema::{Plan, TestCinema, id};
use crate::driver::{Browser, DESKTOP, PHONE, Screen, slot};

/// The side of a target that a finger hits, in px.
const FINGER: f64 = 44.0;
/// A laptop's screen of 1440×900 at 400 %.
const ZOOMED: Screen = Screen { width: 360, height: 225, dark: false };

/// The demo cinema, and a showtime of its hall of 308 seats.
pub async fn grand_hall() -> (TestCinema, Value) {
    let cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let list = cinema.call(reqwest::Method::GET, "/v1/showtimes?pageSize=100", None, None).await.expect(200);
    let found = list["items"].as_array().unwrap().iter().filter(|one| one["auditoriumName"] == "Grand Hall");
    let showtime = found.skip(2).map(Value::clone).next().unwrap();
    (cinema, showtime)
}

/// What so many ordinary seats of a showtime cost, as the page shows it.
fn price_of(showtime: &Value, seats: i64) -> String {
    let amount = seats * showtime["prices"]["STANDARD"]["amount"].as_i64().unwrap();
    format!("€{}.{:02}", amount / 100, amount % 100)
}

async fn box_of(browser: &Browser, css: &str) -> [f64; 4] {
    let found = browser
        .script(&format!(
            "const box = document.querySelector({}).getBoundingClientRect(); return [box.left, box.top, box.right, box.bottom]",
            json!(css)
        ))
        .await;
    [0, 1, 2, 3].map(|at| found[at].as_f64().unwrap())
}

async fn is_zoom(browser: &Browser, state: &str) {
    browser.until(&format!("document.querySelector('.hall').dataset.zoom === '{state}'")).await;
}

/// Touches two points and moves them to two others.
async fn pinch(browser: &Browser, from: [[f64; 2]; 2], to: [[f64; 2]; 2]) {
    let points = |points: [[f64; 2]; 2]| points.map(|[x, y]| json!({"x": x, "y": y}));
    let touch = async |kind: &str, points: Value| {
        browser.devtools("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": points})).await;
    };
    touch("touchStart", json!(points(from))).await;
    touch("touchMove", json!(points(to))).await;
    touch("touchEnd", json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_hall_fits_and_a_tap_magnifies_the_tapped_place() {
    let _slot = slot().await;
    let (cinema, showtime) = grand_hall().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    browser.go(&format!("/showtimes/{}", id(&showtime))).await;
    browser.find(".live[data-state=live]").await;
    is_zoom(&browser, "out").await;
    let outside = "[...document.querySelectorAll('.hall [data-seat], .hall-label')].filter((one) => { \
                   const box = one.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth; }).length";
    assert_eq!(browser.script(&format!("return {outside}")).await, 0, "seats outside of the screen");
    // The legend is not below the basket, which has one line.
    let (legend, basket) = (box_of(&browser, ".legend").await, box_of(&browser, ".basket").await);
    assert!(legend[3] <= basket[1], "the legend {legend:?} is covered by the basket {basket:?}");
    assert!(basket[3] - basket[1] < 72.0, "{basket:?}");
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());

    browser.click("[data-seat='G12']").await;
    is_zoom(&browser, "in").await;
    let seat = box_of(&browser, "[data-seat='G12']").await;
    assert!(seat[2] - seat[0] >= FINGER && seat[3] - seat[1] >= FINGER, "{seat:?}");
    assert_eq!(
        browser.script("return document.querySelectorAll('.hall [data-state=chosen]').length").await,
        0
    );
    let (hall, basket) = (box_of(&browser, ".hall").await, box_of(&browser, ".basket").await);
    assert!(
        hall[0] <= seat[0] && seat[2] <= hall[2] && hall[1] <= seat[1] && seat[3] <= basket[1],
        "{seat:?}"
    );
    // The fade and the labels show where one is, and that there is more.
    browser.until("document.querySelector('.hall').dataset.more.includes('right')").await;
    let label = box_of(&browser, ".hall-row:nth-child(7) .hall-label").await;
    assert!(label[0] >= 0.0 && label[2] < seat[0], "the row's letter is not beside its seats: {label:?}");
    assert_eq!(
        browser.script("return document.documentElement.scrollWidth").await,
        390,
        "the page moves sideways"
    );
    browser.script(&axe()).await;
    assert_eq!(violations(&browser).await, Vec::<String>::new());
    browser.click("[data-seat='G12']").await;
    browser.click("[data-seat='G13']").await;
    browser.sees(&price_of(&showtime, 2)).await;

    browser.press("Whole hall").await;
    is_zoom(&browser, "out").await;
    let hall = box_of(&browser, ".hall-grid").await;
    let (x, y) = ((hall[0] + hall[2]) / 2.0, (hall[1] + hall[3]) / 2.0);
    pinch(&browser, [[x - 30.0, y], [x + 30.0, y]], [[x - 110.0, y], [x + 110.0, y]]).await;
    is_zoom(&browser, "in").await;
    pinch(&browser, [[x - 120.0, y], [x + 120.0, y]], [[x - 20.0, y], [x + 20.0, y]]).await;
    is_zoom(&browser, "out").await;
    // On a desktop the hall is as before: nothing to magnify.
    browser.set_screen(DESKTOP).await;
    is_zoom(&browser, "none").await;
    browser.click("[data-seat='G14']").await;
    browser.sees(&price_of(&showtime, 3)).await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_chooses_seats_also_while_the_whole_hall_is_shown() {
    let _slot = slot().await;
    let (cinema, showtime) = grand_hall().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    browser.go(&format!("/showtimes/{}", id(&showtime))).await;
    is_zoom(&browser, "out").await;
    browser.tab_to("Row H, seat").await;
    browser.keys(&[" "]).await;
    browser.sees(&price_of(&showtime, 1)).await;
    // The kind of an ordinary seat is not announced beside the word.
    let focus = browser.focus().await;
    assert!(
        focus.starts_with("Row H, seat ")
            && focus.ends_with(&format!(", your choice, {}", price_of(&showtime, 1))),
        "{focus}"
    );
    assert_eq!(focus.matches("eat").count(), 1, "{focus}");
    is_zoom(&browser, "out").await;
    // A screen reader clicks without a pointer.
    browser.script("document.querySelector(\"[data-seat='G12']\").click()").await;
    browser.find("[data-seat='G12'][data-state=chosen]").await;
    is_zoom(&browser, "out").await;
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_film_has_its_times_before_its_poster() {
    let _slot = slot().await;
    let (cinema, showtime) = grand_hall().await;
    let browser = Browser::open(&cinema.url(), PHONE).await;
    browser.go(&format!("/movies/{}", showtime["movieId"].as_str().unwrap())).await;
    browser.find("a.time").await;
    let (first, poster) = (box_of(&browser, "a.time").await, box_of(&browser, ".movie .poster").await);
    assert!(first[3] < 844.0 && first[3] <= poster[1], "the first time {first:?}, the poster {poster:?}");
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_400_percent_nothing_covers_what_is_to_be_pressed() {
    let _slot = slot().await;
    let (cinema, showtime) = grand_hall().await;
    let browser = Browser::open(&cinema.url(), ZOOMED).await;
    browser.go(&format!("/showtimes/{}", id(&showtime))).await;
    // `press` fails where another element is in front.
    browser.press("Choose for me").await;
    browser.until("document.querySelectorAll('.hall [data-state=chosen]').length === 2").await;
    let fixed = "[...document.querySelectorAll('body *')].filter((one) => ['sticky', 'fixed'].includes(getComputedStyle(one).position) \
                 && one.offsetWidth > 300).map((one) => one.className)";
    assert_eq!(browser.script(&format!("return {fixed}")).await, json!([]));
    browser.close().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_forced_colours_free_chosen_held_and_sold_seats_look_different() {
    let _slot = slot().await;
    let cinema = TestCinema::open().await;
    let (buyer, other) = (cinema.register().await, cinema.register().await);
    cinema.buy(&buyer, &["A1"]).await;
    let held = cinema.reserve(&other, &["A2"]).await;
    let browser = Browser::open(&cinema.url(), DESKTOP).await;
    let features = json!({"features": [{"name": "forced-colors", "value": "active"}]});
    browser.devtools("Emulation.setEmulatedMedia", features).await;
    browser.go(&format!("/showtimes/{}", cinema.showtime)).await;
    browser.click("[data-seat='C5']").await;
    browser.until("matchMedia('(forced-colors: active)').matches").await;
    let looks = browser
        .script(
            "return ['A1', 'A2', 'A3', 'C5'].map((id) => { const seat = document.querySelector(`[data-seat=${id}]`); \
               const style = getComputedStyle(seat); \
               return [style.backgroundColor, style.backgroundImage, style.borderTopColor, style.borderTopWidth, \
                 getComputedStyle(seat, '::after').content].join(' '); })",
        )
        .await;
    let looks: std::collections::BTreeSet<String> =
        looks.as_array().unwrap().iter().map(|look| look.as_str().unwrap().to_owned()).collect();
    assert_eq!(looks.len(), 4, "sold, held, free and chosen: {looks:#?}");
    browser.close().await;
    cinema.cancel(&other, &held).await.expect(200);
    cinema.close().await;
}

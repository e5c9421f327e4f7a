//! What a page loads first, as links in its shell: its module with all of its imports, its texts in the reader's language, and the
//! requests that it makes first.
//! On a slow line the page is so drawn two round trips earlier.
//!
//! A preloaded answer is used only if the page makes exactly the same request, so the addresses here are those that the modules
//! build; a browser test compares them. The page works without them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::OnceLock;

use bus::contract::Locale;
use bus::contract::movie::{TODAY, is_date};
use poem::Request;
use uuid::Uuid;

use super::{PLACE, read};

/// An address that a person may open, bookmark or get by mail.
#[derive(Debug)]
pub struct Page {
    pub path: &'static str,
    /// As in `web/app.js`.
    pub module: &'static str,
    /// Parts of `web/text/` besides what every page needs, as in `web/app.js`.
    pub texts: &'static [&'static str],
    /// `{id}` is the id in the path. `{day}` is the day in the query, or today; a search does not make such a request. One that
    /// ends with `{dated}` is made only where the query has a day.
    requests: &'static [&'static str],
}

const CURRENCIES: &str = "/v1/currencies";

const fn page(path: &'static str, module: &'static str, requests: &'static [&'static str]) -> Page {
    Page { path, module, texts: &[], requests }
}

const fn with_texts(texts: &'static [&'static str], page: Page) -> Page {
    Page { texts, ..page }
}

/// Every address of the page; `web/app.js` decides which module is shown.
pub const PAGES: &[Page] = &[
    page(
        "/",
        "pages/programme.js",
        &[
            "/v1/movies?pageSize=100&date={day}&sort=nextShowtime&page=1",
            "/v1/showtimes?pageSize=100&date={day}&page=1",
            "/v1/showtimes?pageSize=1{dated}",
            "/v1/genres?pageSize=100&page=1",
            CURRENCIES,
        ],
    ),
    page(
        "/movies/:id",
        "pages/movie.js",
        &["/v1/movies/{id}", "/v1/showtimes?pageSize=100&movieId={id}&page=1", CURRENCIES],
    ),
    page(
        "/showtimes/:id",
        "pages/seats.js",
        &["/v1/showtimes/{id}", "/v1/showtimes/{id}/seats", "/v1/showtimes/{id}/tariff", CURRENCIES],
    ),
    page("/reservations/:id", "pages/reservation.js", &[CURRENCIES]),
    page("/tickets", "pages/tickets.js", &[CURRENCIES]),
    with_texts(&["wrong"], page("/account", "pages/account.js", &[])),
    with_texts(&["wrong"], page("/login", "pages/login.js", &[])),
    with_texts(&["wrong"], page("/register", "pages/register.js", &[])),
    with_texts(&["wrong"], page("/forgot", "pages/forgot.js", &[])),
    with_texts(&["wrong"], page("/reset", "pages/reset.js", &[])),
    with_texts(&["wrong"], page("/verify", "pages/verify.js", &[])),
    with_texts(&["staff", "wrong"], page("/staff", "pages/staff.js", &[CURRENCIES])),
    with_texts(&["staff", "wrong"], page("/staff/*page", "pages/staff.js", &[CURRENCIES])),
    with_texts(&["staff"], page("/door", "pages/door.js", &[])),
];

/// The links for a request of this page, without the modules that every page needs and `index.html` names itself.
pub fn preloads(page: &Page, request: &Request, language: Locale) -> String {
    let mut links = String::new();
    for wanted in page.requests {
        if let Some(path) = filled(wanted, request) {
            let path = path.replace('&', "&amp;");
            writeln!(links, "<link rel=\"preload\" href=\"{path}\" as=\"fetch\" crossorigin>")
                .expect("a string takes every text");
        }
    }
    let texts = page.texts.iter().map(|part| text_file(part, language));
    for module in modules(page).into_iter().chain(texts) {
        writeln!(links, "<link rel=\"modulepreload\" href=\"{PLACE}/{module}\">")
            .expect("a string takes every text");
    }
    links
}

/// The file with the texts of a part of the page in a language, as `web/lib/text.js` imports it. "" is what every page needs.
pub fn text_file(part: &str, language: Locale) -> String {
    let language = language.as_str();
    if part.is_empty() { format!("text/{language}.js") } else { format!("text/{part}-{language}.js") }
}

/// The request's path with its placeholders filled, or `None` where the page does not make it.
fn filled(wanted: &str, request: &Request) -> Option<String> {
    let mut path = wanted.to_owned();
    if wanted.contains("{id}") {
        let id: Uuid = request.raw_path_param("id")?.parse().ok()?;
        path = path.replace("{id}", &id.to_string());
    }
    let query = request.uri().query().unwrap_or_default();
    let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
    let day = pairs().find(|(key, _)| *key == "date").map(|(_, day)| day).filter(|day| is_date(day));
    if wanted.contains("{day}") {
        if pairs().any(|(key, _)| ["name", "genre"].contains(&key)) {
            return None;
        }
        path = path.replace("{day}", day.unwrap_or(TODAY));
    }
    if let Some(dated) = wanted.strip_suffix("{dated}") {
        day?;
        path = dated.to_owned();
    }
    Some(path)
}

/// The page's module and its imports, but for those of `app.js`.
fn modules(page: &Page) -> Vec<String> {
    static SHARED: OnceLock<BTreeSet<String>> = OnceLock::new();
    // In debug builds the files may change while the gateway runs.
    let shared = || with_imports("app.js");
    let shared = if cfg!(debug_assertions) { shared() } else { SHARED.get_or_init(shared).clone() };
    with_imports(page.module).difference(&shared).cloned().collect()
}

/// A module and everything that is loaded with it, as names of files.
pub fn with_imports(module: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![module.to_owned()];
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(imports(&name));
        }
    }
    found
}

/// What a module imports when it is loaded, as names of files.
pub fn imports(name: &str) -> Vec<String> {
    let bytes = read(name).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "));
    lines.filter_map(|line| line.split('"').nth(1)).map(|path| beside(name, path)).collect()
}

/// The file at a path relative to another file.
pub fn beside(name: &str, path: &str) -> String {
    let mut place: Vec<&str> = name.split('/').collect();
    place.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                place.pop();
            }
            part => place.push(part),
        }
    }
    place.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each address with its module, as `app.js` maps them.
    #[test]
    fn every_page_preloads_the_module_that_shows_it() {
        let bytes = read("app.js").expect("app.js");
        let app = String::from_utf8_lossy(&bytes);
        for page in PAGES {
            let path = if page.path.starts_with("/staff") { "/staff/*" } else { page.path };
            let line = app.lines().find(|line| line.contains(&format!("[\"{path}\"")));
            let line = line.unwrap_or_else(|| panic!("app.js has no {path}"));
            assert!(line.contains(&format!("import(\"./{}\")", page.module)), "{line}: {page:?}");
            for part in ["wrong", "staff"] {
                assert_eq!(
                    page.texts.contains(&part),
                    line.contains(&format!("{part}Texts")),
                    "{line}: {page:?}"
                );
            }
        }
    }

    #[test]
    fn requests_are_preloaded_for_the_day_of_the_address_and_not_for_a_search() {
        let links = |path: &str, query: &str| {
            let page = PAGES.iter().find(|page| page.path == path).unwrap();
            let request = Request::builder().uri(format!("{path}{query}").parse().unwrap()).finish();
            preloads(page, &request, Locale::De)
        };
        assert!(links("/", "").contains("/v1/showtimes?pageSize=100&amp;date=today&amp;page=1\""));
        assert!(links("/", "?date=2026-12-02").contains("date=2026-12-02&amp;page=1\""));
        assert!(links("/", "?date=%22%3E%3Cscript").contains("date=today&amp;"));
        assert!(!links("/", "?genre=1").contains("/v1/movies"));
        assert!(!links("/", "").contains("pageSize=1\""));
        assert!(links("/", "?date=2026-12-02").contains("/v1/showtimes?pageSize=1\""));
        assert!(links("/", "").contains("{assets}/parts/times.js\""));
        assert!(!links("/", "").contains("{assets}/lib/api.js\""));
        let login = links("/login", "");
        assert!(login.contains("{assets}/text/wrong-de.js\"") && !login.contains("wrong-en"), "{login}");
    }
}

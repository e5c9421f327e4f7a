//! The language of the shell: the one that the reader chose on the page, which a cookie names, else the browser's.
//!
//! Only those of the site count; where the reader wants none of them, it is the site's first.
//!
//! The shell says it in `<html lang>`, and the page loads the texts of that language only. So the shell of an address differs with
//! the two headers, as its `Vary` says.

use bus::contract::Locale;
use poem::Request;
use poem::http::{HeaderValue, header};

/// Set by `web/lib/text.js` when the reader chooses a language.
const COOKIE: &str = "marquee.language";
/// The headers that the language depends on.
pub const VARY: HeaderValue = HeaderValue::from_static("Accept-Language, Cookie");

/// `offered` are the languages of the site, the default first.
pub fn language(request: &Request, offered: &[Locale]) -> Locale {
    let headers = request.headers();
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let is_offered = |locale: &Locale| offered.contains(locale);
    let chosen = pairs.filter(|(name, _)| *name == COOKIE).find_map(|(_, tag)| Locale::of_tag(tag));
    let preferred = || Locale::accepted(headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?);
    let default = || offered.first().copied().unwrap_or_default();
    chosen.filter(is_offered).or_else(|| preferred().filter(is_offered)).unwrap_or_else(default)
}

/// What the shell shows before a script runs, or without scripts: a placeholder in `index.html` and its text.
pub fn texts(language: Locale) -> [(&'static str, &'static str); 4] {
    match language {
        Locale::En => [
            ("{language}", "en"),
            ("{skip}", "Skip to content"),
            ("{wait}", "One moment …"),
            (
                "{no-script}",
                "This page needs JavaScript. The whole programme is at <a href=\"/v1/showtimes\">/v1/showtimes</a>, the API at \
                 <a href=\"/docs\">/docs</a>.",
            ),
        ],
        Locale::De => [
            ("{language}", "de"),
            ("{skip}", "Zum Inhalt"),
            ("{wait}", "Einen Moment …"),
            (
                "{no-script}",
                "Diese Seite braucht JavaScript. Das ganze Programm steht unter <a href=\"/v1/showtimes\">/v1/showtimes</a>, die API \
                 unter <a href=\"/docs\">/docs</a>.",
            ),
        ],
    }
}

//! The head of a page's HTML: title, description, canonical address, OpenGraph, and the data of schema.org. So search engines and
//! previews of links need no script.
//!
//! Invariant: every text is escaped here, and the data block cannot end early: it has no `<` (HTML, 13.1.3.1). A data block is
//! not executed, so the content security policy stays without inline scripts.

use std::fmt::Write;

use bus::contract::Locale;
use bus::contract::movie::{Movie, Showtime};
use bus::contract::site::Site;
use serde_json::Value;

use super::Snapshot;
use super::structured;
use super::words::{Head, address, escaped, facts, local, programme, shortened, shown};

/// Showtimes of the programme in its page's data: what search engines read of a page.
const SHOWTIMES_MAX: usize = 50;

/// The head of a page without data.
pub fn plain(site: &Site, locale: Locale) -> String {
    let (_, about) = programme(locale);
    let name = escaped(&site.of.name);
    format!("<title>{name}</title>\n<meta name=\"description\" content=\"{}\">", escaped(about))
}

pub fn of_programme(head: &Head<'_>, snapshot: &Snapshot) -> String {
    let (title, about) = programme(head.locale);
    let next = snapshot.showtimes.iter().take(SHOWTIMES_MAX);
    let events =
        next.map(|showtime| structured::showtime(head, showtime, snapshot.movies.get(&showtime.movie_id)));
    let mut graph = vec![structured::theatre(head, None)];
    graph.extend(events);
    let page = Page { title, about, path: "/", kind: "website", image: None };
    page.written(head, graph)
}

pub fn of_movie(head: &Head<'_>, movie: &Movie, showtimes: &[Showtime]) -> String {
    let about = match movie.synopsis.trim() {
        "" => facts(movie),
        synopsis => shortened(&format!("{} {}", facts(movie), synopsis)),
    };
    let mut graph = vec![structured::movie(head, movie)];
    let events = showtimes.iter().take(SHOWTIMES_MAX);
    graph.extend(events.map(|showtime| structured::showtime(head, showtime, Some(movie))));
    let path = format!("/movies/{}", movie.id);
    let image = movie.poster_url.as_deref();
    Page { title: &movie.title, about: &about, path: &path, kind: "video.movie", image }.written(head, graph)
}

pub fn of_showtime(head: &Head<'_>, showtime: &Showtime, movie: Option<&Movie>) -> String {
    let title = format!("{}, {}", showtime.movie_title, local(showtime, head.locale));
    let facts = [showtime.auditorium_name.clone(), shown(showtime, head.locale)];
    let synopsis = movie.map(|movie| movie.synopsis.clone()).unwrap_or_default();
    let facts = facts.into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(" · ");
    let about = shortened(&format!("{facts}. {synopsis}"));
    let path = format!("/showtimes/{}", showtime.id);
    let image = movie.and_then(|movie| movie.poster_url.as_deref());
    let graph = vec![structured::showtime(head, showtime, movie)];
    Page { title: &title, about: &about, path: &path, kind: "website", image }.written(head, graph)
}

/// What a page says of itself.
struct Page<'a> {
    title: &'a str,
    about: &'a str,
    path: &'a str,
    /// OpenGraph's type.
    kind: &'a str,
    image: Option<&'a str>,
}

impl Page<'_> {
    fn written(&self, head: &Head<'_>, graph: Vec<Value>) -> String {
        let (title, about) = (escaped(self.title), escaped(self.about));
        let url = format!("{}{}", head.base, self.path);
        let (url, name) = (escaped(&url), escaped(head.cinema()));
        let language = match head.locale {
            Locale::En => "en_GB",
            Locale::De => "de_DE",
        };
        let mut html = format!("<title>{title} · {name}</title>\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            writeln!(html, "{text}").expect("a string takes every text");
        };
        line(format_args!("<meta name=\"description\" content=\"{about}\">"));
        line(format_args!("<link rel=\"canonical\" href=\"{url}\">"));
        let properties = [
            ("og:type", self.kind),
            ("og:site_name", &*name),
            ("og:title", &*title),
            ("og:description", &*about),
            ("og:url", &*url),
            ("og:locale", language),
        ];
        for (property, content) in properties {
            line(format_args!("<meta property=\"{property}\" content=\"{content}\">"));
        }
        if let Some(image) = self.image {
            let image = address(head.base, image);
            line(format_args!("<meta property=\"og:image\" content=\"{}\">", escaped(&image)));
        }
        let data = structured::block(graph);
        line(format_args!("<script type=\"application/ld+json\">{data}</script>"));
        html.trim_end().to_owned()
    }
}

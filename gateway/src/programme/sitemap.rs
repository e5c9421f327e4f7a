//! `/robots.txt` and `/sitemap.xml` (sitemaps.org 0.9): the programme, every movie that plays, and every showtime on sale.

use std::fmt::Write;

use bus::contract::Timestamp;
use bus::contract::movie::ShowtimeStatus;

use super::Snapshot;
use super::words::{escaped, iso};

/// The protocol's most addresses of one file.
const ADDRESSES_MAX: usize = 50_000;

/// Search engines read the programme, and nothing that is somebody's own.
pub fn robots(base: &str) -> String {
    let own = [
        "/account",
        "/door",
        "/login",
        "/register",
        "/reservations/",
        "/reset",
        "/staff",
        "/tickets",
        "/verify",
    ];
    let mut text = "User-agent: *\n".to_owned();
    for path in own {
        writeln!(text, "Disallow: {path}").expect("a string takes every text");
    }
    writeln!(text, "\nSitemap: {base}/sitemap.xml").expect("a string takes every text");
    text
}

pub fn sitemap(base: &str, snapshot: &Snapshot) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                   <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n"
        .to_owned();
    let movies = snapshot.playing.iter().filter_map(|id| snapshot.movies.get(id));
    let movies = movies.map(|movie| (format!("/movies/{}", movie.id), Some(movie.updated_at)));
    let on_sale = snapshot.showtimes.iter().filter(|showtime| showtime.status == ShowtimeStatus::OnSale);
    let showtimes =
        on_sale.map(|showtime| (format!("/showtimes/{}", showtime.id), Some(showtime.updated_at)));
    let all = std::iter::once(("/".to_owned(), None)).chain(movies).chain(showtimes);
    for (path, changed_at) in all.take(ADDRESSES_MAX) {
        xml.push_str(&entry(base, &path, changed_at));
    }
    xml.push_str("</urlset>\n");
    xml
}

fn entry(base: &str, path: &str, changed_at: Option<Timestamp>) -> String {
    let changed = changed_at.map(|at| format!("<lastmod>{}</lastmod>", iso(at, "UTC"))).unwrap_or_default();
    format!("<url><loc>{}</loc>{changed}</url>\n", escaped(&format!("{base}{path}")))
}

//! The words of pages and feeds that the gateway writes: texts in both languages, local times, addresses, and escaping.

use std::borrow::Cow;

use bus::contract::movie::{AgeRating, FilmVersion, Movie, SeatKind, Showtime, VersionKind};
use bus::contract::site::Site;
use bus::contract::{Locale, Timestamp};
use jiff::tz::TimeZone;

/// The longest description of a page: search engines show no more of it.
const DESCRIPTION_MAX: usize = 300;

/// What the pages of a gateway are made for.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Where the page is, without a slash at its end.
    pub base: &'a str,
    pub site: &'a Site,
    pub locale: Locale,
    pub now: Timestamp,
}

impl Head<'_> {
    /// The cinema's name, for titles and as the place of showtimes.
    pub fn cinema(&self) -> &str {
        &self.site.of.name
    }
}

/// The title and the description of the programme's page.
pub fn programme(locale: Locale) -> (&'static str, &'static str) {
    match locale {
        Locale::En => ("Programme", "What is on, and the best seats."),
        Locale::De => ("Programm", "Was läuft, und die besten Plätze im Haus."),
    }
}

/// `2026-05-01 20:15` by the clock of the auditorium; by UTC where its zone is unknown.
pub fn local(showtime: &Showtime, locale: Locale) -> String {
    let pattern = match locale {
        Locale::En => "%Y-%m-%d %H:%M",
        Locale::De => "%d.%m.%Y, %H:%M",
    };
    written(showtime.starts_at, &showtime.time_zone, pattern)
}

/// `2026-05-01T20:15:00+02:00` (ISO 8601).
pub fn iso(at: Timestamp, zone: &str) -> String {
    written(at, zone, "%Y-%m-%dT%H:%M:%S%:z")
}

/// `20260501T181500Z`, as calendars want it.
pub fn basic_utc(at: Timestamp) -> String {
    written(at, "UTC", "%Y%m%dT%H%M%SZ")
}

fn written(at: Timestamp, zone: &str, pattern: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let at = jiff::Timestamp::from_microsecond(at.unix_micros()).unwrap_or_default();
    at.to_zoned(zone).strftime(pattern).to_string()
}

/// The facts of a movie in one line, for a description: `96 min · FSK 12 · Drama`.
pub fn facts(movie: &Movie) -> String {
    let rating = movie.age_rating.as_ref().map(AgeRating::text).or(Some(movie.rating.clone()));
    let genres = movie.genres.iter().map(|genre| genre.name.clone());
    let facts = [Some(format!("{} min", movie.duration_minutes)), rating.filter(|text| !text.is_empty())];
    facts.into_iter().flatten().chain(genres).collect::<Vec<_>>().join(" · ")
}

/// What a showtime shows: `3D · dubbed (de)`; empty where nothing is known. Languages are tags.
pub fn shown(showtime: &Showtime, locale: Locale) -> String {
    let showing = &showtime.showing;
    let version = showing.film_version.as_ref().map(|version| spoken(version, locale));
    showing.format.clone().into_iter().chain(version).collect::<Vec<_>>().join(" · ")
}

fn spoken(FilmVersion { kind, audio, subtitles }: &FilmVersion, locale: Locale) -> String {
    let subtitles = subtitles.join(", ");
    match (kind, locale) {
        (VersionKind::Ov, Locale::En) => format!("original version ({audio})"),
        (VersionKind::Ov, Locale::De) => format!("Originalfassung ({audio})"),
        (VersionKind::Dubbed, Locale::En) => format!("dubbed ({audio})"),
        (VersionKind::Dubbed, Locale::De) => format!("Synchronfassung ({audio})"),
        (VersionKind::Subtitled, Locale::En) => format!("original version ({audio}), subtitles {subtitles}"),
        (VersionKind::Subtitled, Locale::De) => format!("Originalfassung ({audio}), Untertitel {subtitles}"),
    }
}

/// The name of a kind of seat in an offer.
pub fn seat_kind(kind: SeatKind, locale: Locale) -> &'static str {
    match (kind, locale) {
        (SeatKind::Wheelchair, Locale::En) => "Wheelchair space",
        (SeatKind::Wheelchair, Locale::De) => "Rollstuhlplatz",
        (SeatKind::Companion, Locale::En) => "Companion seat",
        (SeatKind::Companion, Locale::De) => "Begleitplatz",
        (SeatKind::Loveseat, Locale::En) => "Love seat",
        (SeatKind::Loveseat, Locale::De) => "Kuschelsitz",
        (_, Locale::En) => "Seat",
        (_, Locale::De) => "Sitzplatz",
    }
}

/// A text as one line of at most 300 characters, cut after a word.
pub fn shortened(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > DESCRIPTION_MAX {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// An address of the page, or of a file that the API names by its path.
pub fn address(base: &str, path: &str) -> String {
    if path.starts_with('/') { format!("{base}{path}") } else { path.to_owned() }
}

/// A text within HTML or XML, also within an attribute in double quotes. Braces are escaped, too: in the shell they mark placeholders.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '{', '}']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '{' => escaped.push_str("&#123;"),
            '}' => escaped.push_str("&#125;"),
            letter => escaped.push(letter),
        }
    }
    escaped.into()
}

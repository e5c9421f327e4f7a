//! What a showtime shows, in the words of mails and tickets: the format, the version with its languages, and when the film begins
//! after the advertising.

use std::time::Duration;

use bus::contract::Locale;
use bus::contract::movie::{FilmVersion, VersionKind};

use super::format;
use super::model::Showtime;
use super::texts::{self, fill};

/// `3D · Original version (English), subtitles: German`; `None` where neither format nor version is known.
pub fn version(showtime: &Showtime, locale: Locale) -> Option<String> {
    let version = showtime.film_version.as_ref().map(|version| spoken(version, locale));
    let known: Vec<String> = showtime.format.clone().into_iter().chain(version).collect();
    (!known.is_empty()).then(|| known.join(" · "))
}

/// `20:30`, by the auditorium's clock; `None` where the film begins with the show.
pub fn film_begins(showtime: &Showtime) -> Option<String> {
    let minutes = showtime.minutes_before_film;
    let begins = showtime.starts_at.plus(Duration::from_secs(60 * u64::from(minutes)));
    (minutes > 0).then(|| format::time(begins, &showtime.time_zone))
}

fn spoken(version: &FilmVersion, locale: Locale) -> String {
    let texts = texts::of(locale);
    let text = match version.kind {
        VersionKind::Ov => texts.version_original,
        VersionKind::Dubbed => texts.version_dubbed,
        VersionKind::Subtitled => texts.version_subtitled,
    };
    let named: Vec<&str> = version.subtitles.iter().map(|tag| language(tag, locale)).collect();
    fill(text, &[("audio", language(&version.audio, locale)), ("subtitles", &named.join(", "))])
}

/// The languages that films are most often in: tag, English, German.
const LANGUAGES: &[(&str, &str, &str)] = &[
    ("ar", "Arabic", "Arabisch"),
    ("cs", "Czech", "Tschechisch"),
    ("da", "Danish", "Dänisch"),
    ("de", "German", "Deutsch"),
    ("el", "Greek", "Griechisch"),
    ("en", "English", "Englisch"),
    ("es", "Spanish", "Spanisch"),
    ("fa", "Persian", "Persisch"),
    ("fi", "Finnish", "Finnisch"),
    ("fr", "French", "Französisch"),
    ("he", "Hebrew", "Hebräisch"),
    ("hi", "Hindi", "Hindi"),
    ("hu", "Hungarian", "Ungarisch"),
    ("it", "Italian", "Italienisch"),
    ("ja", "Japanese", "Japanisch"),
    ("ko", "Korean", "Koreanisch"),
    ("nl", "Dutch", "Niederländisch"),
    ("no", "Norwegian", "Norwegisch"),
    ("pl", "Polish", "Polnisch"),
    ("pt", "Portuguese", "Portugiesisch"),
    ("ro", "Romanian", "Rumänisch"),
    ("ru", "Russian", "Russisch"),
    ("sv", "Swedish", "Schwedisch"),
    ("tr", "Turkish", "Türkisch"),
    ("uk", "Ukrainian", "Ukrainisch"),
    ("zh", "Chinese", "Chinesisch"),
];

/// The name of a language, without its region; the tag itself where it is not in the table.
fn language(tag: &str, locale: Locale) -> &str {
    let first = tag.split('-').next().unwrap_or(tag);
    let found = LANGUAGES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(first));
    found.map_or(tag, |(_, english, german)| match locale {
        Locale::En => english,
        Locale::De => german,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn showtime() -> Showtime {
        let starts_at = time::macros::datetime!(2026-03-07 19:15 UTC).into();
        Showtime {
            id: uuid::Uuid::nil(),
            version: 1,
            movie_title: String::new(),
            auditorium_name: String::new(),
            time_zone: "Europe/Berlin".into(),
            starts_at,
            ends_at: starts_at,
            cancelled: false,
            film_version: None,
            format: None,
            minutes_before_film: 0,
        }
    }

    #[test]
    fn a_showing_is_written_in_the_language_of_the_mail() {
        let subtitles = vec!["de".to_owned(), "gsw".to_owned()];
        let film_version =
            Some(FilmVersion { kind: VersionKind::Subtitled, audio: "pt-BR".into(), subtitles });
        let shown =
            Showtime { film_version, format: Some("3D".into()), minutes_before_film: 20, ..showtime() };
        let of = |locale| version(&shown, locale).unwrap();
        assert_eq!(of(Locale::En), "3D · Original version (Portuguese), subtitles: German, gsw");
        assert_eq!(of(Locale::De), "3D · Originalfassung (Portugiesisch), Untertitel: Deutsch, gsw");
        assert_eq!(film_begins(&shown).as_deref(), Some("20:35"));
        assert_eq!((version(&showtime(), Locale::En), film_begins(&showtime())), (None, None));
    }
}

//! What plays in the demo cinema, and where: titles, seats, times, prices. All of it is invented.

use bus::contract::movie::{AgeRating, FilmVersion, Movie, Prices, Row, Seat, SeatKind, VersionKind};
use bus::contract::{Currency, Money, TariffCode};
use time::macros::time;
use time::{Date, Time};

use super::prices::THREE_D;
use crate::movie::layout::kinds_sold;

pub const TIME_ZONE: &str = "Europe/Berlin";
/// The programme is out until this many days from today.
pub const DAYS: i32 = 14;
const IN_3D: &str = "Paper Comets";
/// Advertising and trailers before each film.
pub const MINUTES_BEFORE_FILM: u16 = 15;
/// From here on the evening's prices count.
const EVENING: Time = time!(17:00);

/// A movie of the demo cinema.
pub struct Reel {
    pub title: &'static str,
    pub synopsis: &'static str,
    pub minutes: u16,
    /// By the German scheme FSK.
    pub rating: &'static str,
    pub versions: &'static [Spoken],
    pub formats: &'static [&'static str],
    pub genres: &'static [&'static str],
    /// Weeks since its release.
    pub weeks_out: u8,
}

/// A version: its kind, the language that is spoken, and the languages of the subtitles.
pub type Spoken = (VersionKind, &'static str, &'static [&'static str]);

const EN: Spoken = (VersionKind::Ov, "en", &[]);
const EN_DUBBED: Spoken = (VersionKind::Dubbed, "de", &[]);
const EN_SUBTITLED: Spoken = (VersionKind::Subtitled, "en", &["de"]);
const FRENCH_SUBTITLED: Spoken = (VersionKind::Subtitled, "fr", &["de", "en"]);

impl Reel {
    pub fn age_rating(&self) -> AgeRating {
        AgeRating { scheme: "FSK".to_owned(), value: self.rating.to_owned() }
    }

    pub fn versions(&self) -> Vec<FilmVersion> {
        let owned = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
        let version = |(kind, audio, subtitles): &Spoken| FilmVersion {
            kind: *kind,
            audio: (*audio).to_owned(),
            subtitles: owned(subtitles),
        };
        self.versions.iter().map(version).collect()
    }

    pub fn formats(&self) -> Vec<String> {
        self.formats.iter().map(|format| (*format).to_owned()).collect()
    }
}

/// The version and the format of a show: those of the movie in turn, but always 3D where that is paid for.
pub fn shown(movie: &Movie, date: Date, slot: usize) -> (Option<FilmVersion>, Option<String>) {
    let turn = date.to_julian_day().unsigned_abs() as usize + slot;
    let version = movie.versions.get(turn % movie.versions.len().max(1)).cloned();
    let in_3d = movie.formats.iter().find(|format| movie.title == IN_3D && *format == "3D");
    (version, in_3d.or_else(|| movie.formats.get(turn % movie.formats.len().max(1))).cloned())
}

pub const MOVIES: [Reel; 8] = [
    Reel {
        title: "Paper Comets",
        synopsis: "Every August the children of a harbour town fold a thousand paper comets and throw them off the \
                   pier. This year one of them comes back, with an answer written on its wing.",
        minutes: 96,
        rating: "0",
        versions: &[EN_DUBBED],
        formats: &["2D", "3D"],
        genres: &["Animation", "Family", "Adventure"],
        weeks_out: 1,
    },
    Reel {
        title: "The Lighthouse Orchestra",
        synopsis: "Eleven keepers who have never met play together every night over the radio, until one of them \
                   stops in the middle of a bar.",
        minutes: 118,
        rating: "6",
        versions: &[EN, EN_SUBTITLED],
        formats: &["2D"],
        genres: &["Drama", "Mystery"],
        weeks_out: 3,
    },
    Reel {
        title: "Salt and Marigold",
        synopsis: "A botanist and a smuggler share the only boat out of a flooded valley, and neither of them has \
                   told the truth about what is in the crates.",
        minutes: 107,
        rating: "12",
        versions: &[EN_DUBBED, EN_SUBTITLED],
        formats: &["2D"],
        genres: &["Romance", "Adventure"],
        weeks_out: 2,
    },
    Reel {
        title: "The Understudy Astronaut",
        synopsis: "Nora Quist has trained for nine missions and flown none. When the crew of the tenth falls ill \
                   she is alone on the list, and cannot find her other glove.",
        minutes: 101,
        rating: "6",
        versions: &[EN, EN_DUBBED],
        formats: &["2D", "4K"],
        genres: &["Comedy", "Science Fiction"],
        weeks_out: 5,
    },
    Reel {
        title: "Eleven Kites over Marrow Hill",
        synopsis: "A retired inspector counts the kites from his window each morning. On the first day of spring \
                   there are eleven, and only ten families are left on the hill.",
        minutes: 124,
        rating: "16",
        versions: &[EN_SUBTITLED],
        formats: &["2D", "4K"],
        genres: &["Thriller", "Mystery"],
        weeks_out: 0,
    },
    Reel {
        title: "Static in Bloom",
        synopsis: "In a city where every screen has gone dark, a repairwoman hears a broadcast that only plants \
                   seem to receive.",
        minutes: 139,
        rating: "12",
        versions: &[EN, EN_DUBBED],
        formats: &["4K"],
        genres: &["Science Fiction", "Drama"],
        weeks_out: 4,
    },
    Reel {
        title: "Umbrella Season",
        synopsis: "Two rival umbrella makers are snowed in at the annual fair, in July, with one working stove and \
                   a very honest goat.",
        minutes: 92,
        rating: "0",
        versions: &[EN_DUBBED],
        formats: &["2D"],
        genres: &["Comedy", "Romance"],
        weeks_out: 6,
    },
    Reel {
        title: "The Slow Train to Velmora",
        synopsis: "It leaves once a year, takes nine days, and sells one ticket fewer than it has passengers.",
        minutes: 131,
        rating: "12",
        versions: &[FRENCH_SUBTITLED],
        formats: &["2D", "35MM"],
        genres: &["Mystery", "Adventure", "Drama"],
        weeks_out: 8,
    },
];

/// An auditorium of the demo cinema.
pub struct Hall {
    pub name: &'static str,
    rows: u8,
    width: u16,
    /// Columns where nobody sits.
    aisles: &'static [u16],
    /// Rows 1, 2, 3 …, whose numbers run on across the aisles; else rows A, B, C … numbered by the columns.
    rows_are_numbers: bool,
    /// When shows begin, by the clock on the wall: far enough apart for the longest movie.
    pub times: &'static [Time],
}

pub const HALLS: [Hall; 3] = [
    Hall {
        name: "Grand Hall",
        rows: 14,
        width: 24,
        aisles: &[6, 19],
        rows_are_numbers: false,
        times: &[time!(13:30), time!(16:30), time!(19:30), time!(22:30)],
    },
    Hall {
        name: "Studio",
        rows: 8,
        width: 15,
        aisles: &[8],
        rows_are_numbers: true,
        times: &[time!(11:00), time!(14:15), time!(17:15), time!(20:15)],
    },
    Hall {
        name: "Attic",
        rows: 5,
        width: 9,
        aisles: &[3],
        rows_are_numbers: false,
        times: &[time!(12:15), time!(15:15), time!(18:15), time!(21:15)],
    },
];

/// The genres of all movies, each once.
pub fn genres() -> Vec<&'static str> {
    let mut genres: Vec<&str> = MOVIES.iter().flat_map(|reel| reel.genres).copied().collect();
    genres.sort_unstable();
    genres.dedup();
    genres
}

/// The first row, which is reached without steps, begins and ends with a wheelchair place and its companion place; the last
/// row is of love seats for two.
pub fn rows(hall: &Hall) -> Vec<Row> {
    (0..hall.rows).map(|row| Row { label: label(hall, row), seats: seats(hall, row) }).collect()
}

fn label(hall: &Hall, row: u8) -> String {
    if hall.rows_are_numbers { (row + 1).to_string() } else { char::from(b'A' + row).to_string() }
}

fn seats(hall: &Hall, row: u8) -> Vec<Seat> {
    let mut seats: Vec<Seat> = Vec::new();
    let columns = (1..=hall.width).filter(|column| !hall.aisles.contains(column));
    for (number, column) in (1..).zip(columns) {
        let kind = match (row, column.min(hall.width + 1 - column)) {
            (0, 1) => SeatKind::Wheelchair,
            (0, 2) => SeatKind::Companion,
            _ => SeatKind::Standard,
        };
        let number = if hall.rows_are_numbers { number } else { column };
        let mut seat = Seat { column: Some(column), ..Seat::new(number, kind) };
        // The second of two that stand side by side makes a love seat of both.
        let is_last_row = row + 1 == hall.rows;
        let units = seats.iter().filter_map(|seat| seat.unit).max().unwrap_or(0);
        if let Some(left) = seats.last_mut().filter(|left| {
            is_last_row && left.unit.is_none() && left.column.map(|column| column + 1) == seat.column
        }) {
            (left.unit, seat.unit) = (Some(units + 1), Some(units + 1));
            (left.kind, seat.kind) = (SeatKind::Loveseat, SeatKind::Loveseat);
        }
        seats.push(seat);
    }
    seats
}

/// The surcharges of a movie, beside those that apply by its length.
pub fn surcharges(title: &str) -> Vec<TariffCode> {
    TariffCode::parse(THREE_D).filter(|_| title == IN_3D).into_iter().collect()
}

/// Plain prices, where no card has prices: for each kind of seat that is there in euros 9.50, 13.50 and 5.00, and 3.00 more in
/// the evening. The least amount of a currency is worth about half a euro in most, so that its multiples are prices that look
/// right there, too.
pub fn prices(rows: &[Row], begins: Time, currency: Currency) -> Prices {
    let evening = if begins >= EVENING { 6 } else { 0 };
    let price = |kind| {
        let times = match kind {
            SeatKind::Loveseat => 27 + evening,
            SeatKind::Companion => 10,
            _ => 19 + evening,
        };
        (kind, Money { amount: times * currency.least(), currency })
    };
    kinds_sold(rows).into_iter().map(price).collect()
}

/// What plays on a day in a hall's slot: another movie in each hall and slot, others the next day.
pub fn playing<T>(movies: &[T], date: Date, hall: usize, slot: usize) -> Option<&T> {
    let turn = date.to_julian_day().unsigned_abs() as usize + 3 * hall + 2 * slot;
    movies.get(turn % movies.len().max(1))
}

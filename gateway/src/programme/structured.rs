//! Movies and showtimes as data of schema.org (JSON-LD): `Movie`, `ScreeningEvent` with its offers, `MovieTheater`.
//!
//! A price is the full price of a ticket, with its surcharges and fees. Only the fee of a whole order comes on top, which no
//! single ticket has.

use bus::contract::movie::{AgeRating, Availability, Movie, Sale, SeatKind, Showtime, ShowtimeStatus, sale};
use serde_json::{Value, json};

use super::words::{Head, address, iso, seat_kind};

/// The block's JSON. Within a script element nothing may look like its end, nor like a comment's beginning.
pub fn block(graph: Vec<Value>) -> String {
    let json = json!({"@context": "https://schema.org", "@graph": graph}).to_string();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The cinema, or one of its auditoriums.
pub fn theatre(head: &Head<'_>, auditorium: Option<&str>) -> Value {
    let name = head.cinema();
    // Search engines require an address; the name is one that maps find.
    let address = head.site.of.legal.address.as_deref().unwrap_or(name);
    json!({
        "@type": "MovieTheater",
        "name": auditorium.map_or_else(|| name.to_owned(), |auditorium| format!("{name}, {auditorium}")),
        "url": format!("{}/", head.base),
        "address": address,
    })
}

pub fn movie(head: &Head<'_>, movie: &Movie) -> Value {
    let url = format!("{}/movies/{}", head.base, movie.id);
    let rating = movie.age_rating.as_ref().map(AgeRating::text).unwrap_or_else(|| movie.rating.clone());
    let mut value = json!({
        "@type": "Movie",
        "@id": url,
        "url": url,
        "name": movie.title,
        "duration": format!("PT{}M", movie.duration_minutes),
        "datePublished": movie.release_date,
    });
    let genres: Vec<&str> = movie.genres.iter().map(|genre| genre.name.as_str()).collect();
    let image = movie.poster_url.as_deref().map(|path| address(head.base, path));
    put(&mut value, "description", some_text(&movie.synopsis));
    put(&mut value, "contentRating", some_text(&rating));
    put(&mut value, "inLanguage", some_text(&movie.language));
    put(&mut value, "genre", (!genres.is_empty()).then(|| json!(genres)));
    put(&mut value, "image", image.map(Value::from));
    value
}

/// A showtime; `of` is its movie, where that is still shown.
pub fn showtime(head: &Head<'_>, showtime: &Showtime, of: Option<&Movie>) -> Value {
    let url = format!("{}/showtimes/{}", head.base, showtime.id);
    let status = match showtime.status {
        ShowtimeStatus::OnSale => "EventScheduled",
        ShowtimeStatus::Draft | ShowtimeStatus::Cancelled => "EventCancelled",
    };
    let work = of.map_or_else(
        || json!({"@type": "Movie", "name": showtime.movie_title}),
        |movie| self::movie(head, movie),
    );
    let mut value = json!({
        "@type": "ScreeningEvent",
        "@id": url,
        "url": url,
        "name": showtime.movie_title,
        "startDate": iso(showtime.starts_at, &showtime.time_zone),
        "endDate": iso(showtime.ends_at, &showtime.time_zone),
        "eventStatus": format!("https://schema.org/{status}"),
        "eventAttendanceMode": "https://schema.org/OfflineEventAttendanceMode",
        "location": theatre(head, Some(&showtime.auditorium_name)),
        "organizer": {"@type": "Organization", "name": head.cinema(), "url": format!("{}/", head.base)},
        "workPresented": work,
    });
    let version = showtime.showing.film_version.as_ref();
    let subtitles = version.map(|version| version.subtitles.as_slice()).unwrap_or_default();
    let synopsis = of.and_then(|movie| some_text(&movie.synopsis));
    let image = of.and_then(|movie| movie.poster_url.as_deref()).map(|path| address(head.base, path));
    let age = of.and_then(|movie| movie.minimum_age).filter(|age| *age > 0);
    put(&mut value, "description", synopsis);
    put(&mut value, "image", image.map(Value::from));
    put(&mut value, "inLanguage", version.map(|version| version.audio.as_str().into()));
    put(&mut value, "subtitleLanguage", (!subtitles.is_empty()).then(|| json!(subtitles)));
    put(&mut value, "videoFormat", showtime.showing.format.as_deref().map(Value::from));
    put(&mut value, "typicalAgeRange", age.map(|age| format!("{age}-").into()));
    let offers = offers(head, showtime, &url);
    put(&mut value, "offers", (!offers.is_empty()).then(|| offers.into()));
    value
}

/// One offer for each kind of seat that can be bought alone; none where nothing is sold any more.
fn offers(head: &Head<'_>, showtime: &Showtime, url: &str) -> Vec<Value> {
    let on_sale_at = showtime.showing.on_sale_at;
    let cutoffs = showtime.overrides.sales_cutoffs.unwrap_or(head.site.of.sales_cutoffs);
    let availability = match sale(showtime.status, on_sale_at, showtime.starts_at, cutoffs.web(), head.now) {
        Sale::Draft | Sale::Cancelled | Sale::Begun | Sale::Ended => return vec![],
        Sale::NotYet(_) => "PreOrder",
        Sale::Open => match showtime.availability {
            Some(Availability::SoldOut) => "SoldOut",
            Some(Availability::Few) => "LimitedAvailability",
            Some(Availability::Free) | None => "InStock",
        },
    };
    let valid_from = on_sale_at.unwrap_or(showtime.created_at);
    let sold_alone = showtime.prices.iter().filter(|(kind, _)| **kind != SeatKind::Companion);
    sold_alone
        .map(|(kind, price)| {
            json!({
                "@type": "Offer",
                "name": seat_kind(*kind, head.locale),
                "price": price.currency.plain(price.amount),
                "priceCurrency": price.currency.as_str(),
                "availability": format!("https://schema.org/{availability}"),
                "validFrom": iso(valid_from, &showtime.time_zone),
                "validThrough": iso(showtime.starts_at.minus(cutoffs.web()), &showtime.time_zone),
                "url": url,
            })
        })
        .collect()
}

fn some_text(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| text.into())
}

fn put(value: &mut Value, name: &str, of: Option<Value>) {
    if let Some(of) = of {
        value[name] = of;
    }
}

/// The data of a showtime as it is at `now`, for tests of single facts.
#[cfg(test)]
pub fn offers_at(
    showtime: &Showtime,
    site: &bus::contract::site::Site,
    now: bus::contract::Timestamp,
) -> Vec<Value> {
    let head = Head { base: "", site, locale: bus::contract::Locale::En, now };
    offers(&head, showtime, "")
}

//! A purchase in words, for the provider's page: film, time, auditorium and seats, in the order's language.

use bus::contract::movie::Showtime;
use bus::contract::reservation::PaymentBegun;
use bus::contract::{Locale, Timestamp, seat_list};

use super::provider::Purchase;

/// Without `showtime`, which movie did not return in time, the page says neither time nor auditorium.
pub fn of(begun: &PaymentBegun, showtime: Option<&Showtime>) -> Option<Purchase> {
    let film = begun.sale.as_ref()?.movie_title.clone();
    let locale = begun.locale;
    let (exchange, seats) = match locale {
        Locale::En => ("Exchange, the difference", if begun.seats.len() == 1 { "seat" } else { "seats" }),
        Locale::De => ("Umtausch, die Differenz", if begun.seats.len() == 1 { "Platz" } else { "Plätze" }),
    };
    let when = showtime.and_then(|show| when(show.starts_at, &show.time_zone, locale));
    let place = showtime.map(|show| show.auditorium_name.clone());
    let seats = format!("{seats} {}", seat_list(&begun.seats));
    let details: Vec<String> = [when, place, Some(seats)].into_iter().flatten().collect();
    let name = if begun.exchange_of.is_some() { format!("{exchange}: {film}") } else { film };
    Some(Purchase { name, details: details.join(" · "), locale })
}

/// `Friday, 1 May 2026, 20:15` or `01.05.2026, 20:15 Uhr`, by the auditorium's clock.
fn when(at: Timestamp, zone: &str, locale: Locale) -> Option<String> {
    let instant = jiff::Timestamp::from_microsecond(at.unix_micros()).ok()?;
    let format = match locale {
        Locale::En => "%A, %-d %B %Y, %H:%M",
        Locale::De => "%d.%m.%Y, %H:%M Uhr",
    };
    Some(instant.to_zoned(crate::zone::any(zone)?).strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_by_the_auditoriums_clock() {
        let at: Timestamp = serde_json::from_str(r#""2026-05-01T18:15:00Z""#).unwrap();
        assert_eq!(when(at, "Europe/Berlin", Locale::De).unwrap(), "01.05.2026, 20:15 Uhr");
        assert_eq!(when(at, "Europe/Berlin", Locale::En).unwrap(), "Friday, 1 May 2026, 20:15");
        assert_eq!(when(at, "Nowhere", Locale::En), None);
    }
}

//! The texts of mails, tickets and receipts, a set for each language. A text may have places such as `{title}`, which [`fill`] fills.
//!
//! Invariant: every text exists in every language, since a set is one struct; its places are the same in each (a test).

mod de;
mod en;

use bus::contract::Locale;

/// The set of a language.
pub fn of(locale: Locale) -> &'static Texts {
    match locale {
        Locale::En => &en::TEXTS,
        Locale::De => &de::TEXTS,
    }
}

/// A text with its places filled.
pub fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(places.iter().find(|(place, _)| *place == name).map_or("", |(_, value)| value));
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// Declares the texts once: the struct, and the list by which the test compares languages.
macro_rules! texts {
    ($($name:ident),* $(,)?) => {
        pub struct Texts {
            $(pub $name: &'static str,)*
            /// Monday first.
            pub weekdays: [&'static str; 7],
            pub months: [&'static str; 12],
        }

        #[cfg(test)]
        impl Texts {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

texts! {
    // An order's facts.
    film, when, film_begins, version, version_original, version_dubbed, version_subtitled, hall, seats, total, credit,
    waived, due, free, refund, refunded, order, sent_by, imprint, terms, privacy,
    // Buttons.
    pay_now, get_tickets, show_tickets, try_again, see_order, see_programme, log_in,
    // A hold.
    held_subject, held_heading, held_until_paid, held_until_taken,
    expired_heading, expired_unpaid, expired_free,
    failed_heading, failed,
    // Tickets.
    confirmed_subject, confirmed_heading, confirmed_paid, confirmed_free, codes_enclosed,
    exchanged_subject, exchanged_heading, exchanged, replaced,
    returned_subject, returned_heading, returned,
    reminder_subject, reminder_soon, reminder_later, reminder,
    // Cancellations and refunds.
    cancelled_heading, cancelled, refund_follows,
    showing_heading, showing_paid, showing_free,
    given_back, giving_back,
    refund_subject, refund_heading, refund_asked, refunded_subject, refunded_heading, refund_done,
    // Accounts.
    reset_heading, reset_asked, reset_valid, reset_button,
    changed_heading, changed, changed_advice, changed_button,
    verify_subject, verify_heading, verify_asked, verify_stranger, verify_button, verify_reset,
    minutes, days,
    // Days and times.
    tonight, today, tomorrow, on_day, date, date_time,
    // Tickets and calendars.
    ticket_title, ticket_seat, ticket_price, ticket_address, ticket_foot, calendar_seats, calendar_alarm,
    // Receipts.
    receipt, invoice, credit_note, corrects, issued_to, tax_id, tax_of, signature,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn the_texts_of_each_language_have_the_same_places() {
        for ((name, english), (_, german)) in of(Locale::En).all().into_iter().zip(of(Locale::De).all()) {
            assert_eq!(places(english), places(german), "{name}");
            assert!(!german.trim().is_empty() && !english.trim().is_empty(), "{name}");
        }
    }

    #[test]
    fn places_are_filled_once_and_never_from_a_value() {
        let filled = fill("{a} and {b}, {none}", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(filled, "{b} and 2, ");
        assert_eq!(fill("100 {", &[]), "100 {");
    }
}

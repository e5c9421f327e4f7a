//! The ticket types and price cards of the demo cinema. All of it is invented.
//!
//! Amounts are multiples of a currency's least amount, which is worth about half a euro in most.

use std::collections::BTreeMap;

use bus::contract::locale::Names;
use bus::contract::movie::{PriceCardFields, SeatKind, Surcharge, TicketTypeFields, Weekday};
use bus::contract::tariff::{Channel, Fee, FeePer, KindPrices, ReportedAs, TaxRules};
use bus::contract::{Currency, Locale, TariffCode};

pub const THREE_D: &str = "3D";
/// Movies that are longer cost more.
const OVERLENGTH_MINUTES: u16 = 130;
/// From here on the evening's prices count.
const EVENING: &str = "17:00";

/// A ticket type, and how many least amounts it costs less than an adult's ticket; `None`: nothing at all.
struct Visitor {
    code: &'static str,
    name: [&'static str; 2],
    proof: Option<[&'static str; 2]>,
    reported_as: ReportedAs,
    less: Option<i64>,
}

const VISITORS: [Visitor; 6] = [
    visitor("ADULT", ["Adult", "Erwachsene"], ReportedAs::Full, Some(0)),
    visitor("CHILD", ["Child under 14", "Kind unter 14"], ReportedAs::Reduced, Some(6)),
    Visitor {
        proof: Some(["student card", "Studienausweis"]),
        ..visitor("STUDENT", ["Student", "Studierende"], ReportedAs::Reduced, Some(4))
    },
    visitor("SENIOR", ["Senior from 65", "Senioren ab 65"], ReportedAs::Reduced, Some(4)),
    Visitor {
        proof: Some(["disability card", "Schwerbehindertenausweis"]),
        ..visitor("DISABLED", ["Disabled visitor", "Mit Behinderung"], ReportedAs::Reduced, Some(4))
    },
    Visitor {
        proof: Some(["mark B in the disability card", "Merkzeichen B im Schwerbehindertenausweis"]),
        ..visitor("COMPANION", ["Companion", "Begleitperson"], ReportedAs::Free, None)
    },
];

const fn visitor(
    code: &'static str,
    name: [&'static str; 2],
    reported_as: ReportedAs,
    less: Option<i64>,
) -> Visitor {
    Visitor { code, name, proof: None, reported_as, less }
}

fn code(text: &str) -> TariffCode {
    TariffCode::parse(text).expect("the demo's codes are codes")
}

fn names([en, de]: [&str; 2]) -> Names {
    Names::from([(Locale::En, en), (Locale::De, de)])
}

/// Each after the one that it accompanies.
pub fn ticket_types() -> Vec<TicketTypeFields> {
    let make = |(position, of): (u16, &Visitor)| {
        let is_companion = of.code == "COMPANION";
        TicketTypeFields {
            code: code(of.code),
            name: names(of.name),
            proof: of.proof.map(names).unwrap_or_default(),
            reported_as: of.reported_as,
            seat_kinds: if is_companion { vec![SeatKind::Standard, SeatKind::Companion] } else { vec![] },
            channels: vec![Channel::Web, Channel::BoxOffice, Channel::Api],
            most_per_order: None,
            accompanies: is_companion.then(|| code("DISABLED")),
            position,
            active: true,
        }
    };
    (0..).zip(&VISITORS).map(make).collect()
}

/// With the booking fee, an adult pays in euros 9.50, 13.50 in a love seat and 5.00 on a companion place; 3.00 more in the
/// evening, and 9.00 all day on Tuesdays.
pub fn price_cards(currency: Currency) -> Vec<PriceCardFields> {
    let tuesday = PriceCardFields {
        weekdays: Some(vec![Weekday::Tuesday]),
        ..price_card("Cheap Tuesday", -1, currency)
    };
    let evening =
        PriceCardFields { from: Some(EVENING.to_owned()), position: 1, ..price_card("Evening", 6, currency) };
    let day = PriceCardFields { position: 2, ..price_card("Day", 0, currency) };
    vec![tuesday, evening, day]
}

/// A card whose tickets cost so many least amounts more than those of the day.
fn price_card(name: &str, more: i64, currency: Currency) -> PriceCardFields {
    let of = |times: i64| times * currency.least();
    let prices = VISITORS.iter().map(|visitor| (code(visitor.code), prices(visitor, more, currency)));
    PriceCardFields {
        name: name.to_owned(),
        currency,
        prices: prices.collect(),
        surcharges: vec![
            Surcharge { code: code(THREE_D), name: names(["3D", "3D"]), amount: of(3), minutes_over: None },
            Surcharge {
                code: code("OVERLENGTH"),
                name: names(["Overlength", "Überlänge"]),
                amount: of(2),
                minutes_over: Some(OVERLENGTH_MINUTES),
            },
        ],
        fees: vec![Fee {
            code: code("BOOKING"),
            name: names(["Booking fee", "Buchungsgebühr"]),
            amount: of(1),
            per: FeePer::Ticket,
            channels: vec![Channel::Web, Channel::Api],
            refundable: false,
        }],
        tax: TaxRules { tickets: 7_000, fees: 19_000, included: true },
        weekdays: None,
        from: None,
        until: None,
        position: 0,
    }
}

fn prices(visitor: &Visitor, more: i64, currency: Currency) -> KindPrices {
    let price = |kind: SeatKind| match (kind, visitor.less) {
        (_, None) => 0,
        (SeatKind::Companion, _) => 9,
        (SeatKind::Loveseat, Some(less)) => 26 + more - less,
        (_, Some(less)) => 18 + more - less,
    };
    let kinds = [SeatKind::Standard, SeatKind::Wheelchair, SeatKind::Companion, SeatKind::Loveseat];
    kinds.into_iter().map(|kind| (kind, price(kind) * currency.least())).collect::<BTreeMap<_, _>>()
}

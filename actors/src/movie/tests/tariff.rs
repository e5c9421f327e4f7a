//! Tariffs from cards: which card applies, what of it a showtime freezes, and the demo's own.

use std::collections::BTreeMap;

use bus::contract::movie::SeatKind::{Companion, Loveseat, Standard, Wheelchair};
use bus::contract::movie::{
    CreatePriceCard, CreateTicketType, PriceCard, PriceCardFields, Surcharge, TicketType, TicketTypeFields,
    UpdateShowtime, Weekday,
};
use bus::contract::tariff::{Channel, Fee, FeePer, KindPrices, ReportedAs, TaxRules};
use bus::contract::{Locale, Names, Tariff, TariffCode};
use time::macros::datetime;

use super::*;
use crate::movie::demo::cinema::surcharges;
use crate::movie::demo::prices::{price_cards, ticket_types};
use crate::movie::showtime::changed;

fn code(text: &str) -> TariffCode {
    TariffCode::parse(text).unwrap()
}

fn kinds(prices: &[(SeatKind, i64)]) -> KindPrices {
    prices.iter().copied().collect()
}

fn ticket_type(text: &str) -> TicketType {
    let of = TicketTypeFields {
        code: code(text),
        name: Names::from([(Locale::En, text)]),
        proof: Names::default(),
        reported_as: ReportedAs::Full,
        seat_kinds: vec![],
        channels: vec![Channel::Web, Channel::BoxOffice],
        most_per_order: None,
        accompanies: None,
        position: 0,
        active: true,
    };
    TicketType { id: Uuid::now_v7(), of, version: 1, created_at: now(), updated_at: now() }
}

fn accompanying(text: &str, other: &str) -> TicketType {
    let mut of = ticket_type(text);
    of.of.accompanies = Some(code(other));
    of
}

fn price_card(name: &str, prices: &[(&str, &[(SeatKind, i64)])]) -> PriceCard {
    let of = PriceCardFields {
        name: name.into(),
        currency: Currency::EUR,
        prices: prices.iter().map(|(of, prices)| (code(of), kinds(prices))).collect(),
        surcharges: vec![],
        fees: vec![],
        tax: TaxRules::default(),
        weekdays: None,
        from: None,
        until: None,
        position: 0,
    };
    PriceCard { id: Uuid::now_v7(), of, version: 1, created_at: now(), updated_at: now() }
}

/// A showtime in a hall with these kinds of seat, by the first of these cards that applies.
fn by_cards(
    types: Vec<TicketType>,
    cards: Vec<PriceCard>,
    hall: &[SeatKind],
    change: impl Fn(&mut CreateShowtime),
) -> Result<Scheduled, Rejection> {
    let mut wanted = CreateShowtime { prices: None, ..wanted(&[], in_an_hour()) };
    change(&mut wanted);
    let (movie, auditorium, pricing) = (a_movie(), auditorium(hall), Pricing { types, cards });
    let (movie, auditorium, pricing) = (Some(&movie), Some(&auditorium), &pricing);
    let now = now().min(wanted.starts_at.minus(Duration::from_secs(3_600)));
    schedule(wanted, &Basis { movie, auditorium, pricing, cleaning: CLEANING, now })
}

/// The codes of the types of a tariff by a card with these types.
fn codes(types: Vec<TicketType>, priced: &[&str], hall: &[SeatKind]) -> Result<Vec<String>, Rejection> {
    let prices: Vec<(&str, &[(SeatKind, i64)])> =
        priced.iter().map(|of| (*of, &[(Standard, 1_000), (Wheelchair, 800)][..])).collect();
    let scheduled = by_cards(types, vec![price_card("Day", &prices)], hall, |_| {})?;
    Ok(scheduled.tariff.unwrap().types.into_iter().map(|of| of.code.to_string()).collect())
}

#[test]
fn a_tariff_has_the_active_types_that_the_card_prices_and_the_default_type_first() {
    let box_office = || {
        let mut of = ticket_type("GROUP");
        of.of.channels = vec![Channel::BoxOffice];
        of
    };
    let inactive = || {
        let mut of = ticket_type("CHILD");
        of.of.active = false;
        of
    };
    let types =
        || vec![accompanying("HELPER", "ADULT"), box_office(), ticket_type("ADULT"), ticket_type("CHILD")];
    let all = ["ADULT", "CHILD", "GROUP", "HELPER"];
    assert_eq!(codes(types(), &all, &[Standard]).unwrap(), ["ADULT", "HELPER", "GROUP", "CHILD"]);
    assert_eq!(codes(types(), &["ADULT", "GROUP"], &[Standard]).unwrap(), ["ADULT", "GROUP"]);
    let off = vec![inactive(), ticket_type("ADULT")];
    assert_eq!(codes(off, &["ADULT", "CHILD"], &[Standard]).unwrap(), ["ADULT"]);
}

#[test]
fn a_type_without_the_one_that_it_accompanies_is_left_out_with_all_that_accompany_it() {
    let types = || {
        let (first, second) = (accompanying("NURSE", "HELPER"), accompanying("HELPER", "DISABLED"));
        vec![ticket_type("ADULT"), first, second, ticket_type("DISABLED")]
    };
    let all = ["ADULT", "DISABLED", "HELPER", "NURSE"];
    assert_eq!(codes(types(), &all, &[Standard]).unwrap(), ["ADULT", "NURSE", "HELPER", "DISABLED"]);
    assert_eq!(codes(types(), &["ADULT", "HELPER", "NURSE"], &[Standard]).unwrap(), ["ADULT"]);
}

#[test]
fn the_default_type_needs_a_price_for_each_kind_of_seat_and_no_other_type_takes_its_place() {
    let types = || vec![ticket_type("ADULT"), ticket_type("CHILD")];
    assert!(codes(types(), &["ADULT"], &[Standard, Wheelchair, SeatKind::Gap]).is_ok());
    let lacking = codes(types(), &["ADULT", "CHILD"], &[Standard, Loveseat]);
    assert_eq!(lacking, Err(Rejection::PriceMissing(Loveseat)));
    assert_eq!(codes(types(), &["CHILD"], &[Standard]), Err(Rejection::PriceMissing(Standard)));
    assert_eq!(codes(vec![], &["ADULT"], &[Standard]), Err(Rejection::PriceMissing(Standard)));
    let mut only_standard = ticket_type("ADULT");
    only_standard.of.seat_kinds = vec![Standard];
    let lacking = codes(vec![only_standard], &["ADULT"], &[Standard, Wheelchair]);
    assert_eq!(lacking, Err(Rejection::PriceMissing(Wheelchair)));
}

#[test]
fn the_shown_prices_are_of_the_default_type_with_surcharge_and_ticket_fee_for_the_halls_kinds_of_seat() {
    let fee = |per, amount| Fee {
        code: code("BOOKING"),
        name: Names::from([(Locale::En, "Booking fee")]),
        amount,
        per,
        channels: vec![Channel::Web],
        refundable: false,
    };
    let prices = [(Standard, 1_000), (Loveseat, 1_400)];
    let mut card = price_card("Day", &[("ADULT", &prices), ("CHILD", &[(Standard, 600), (Loveseat, 900)])]);
    card.of.surcharges = [("3D", 300, None), ("LONG", 200, Some(95)), ("LONGER", 500, Some(96))]
        .map(|(of, amount, minutes_over)| Surcharge {
            code: code(of),
            name: Names::from([(Locale::En, of)]),
            amount,
            minutes_over,
        })
        .into();
    card.of.fees = vec![fee(FeePer::Ticket, 50), Fee { code: code("ORDER"), ..fee(FeePer::Order, 100) }];
    let mut child = ticket_type("CHILD");
    child.of.seat_kinds = vec![Standard];
    let types = || vec![ticket_type("ADULT"), child.clone()];
    let choose = |surcharges: &[&str]| {
        let surcharges: Vec<TariffCode> = surcharges.iter().map(|of| code(of)).collect();
        by_cards(types(), vec![card.clone()], &[Standard], move |wanted| {
            wanted.surcharges = surcharges.clone();
        })
    };
    // The movie has 96 minutes.
    let plain = choose(&[]).unwrap().showtime;
    let shown = |amount| BTreeMap::from([(Standard, Money { amount, currency: Currency::EUR })]);
    assert_eq!((&plain.prices, &plain.surcharges), (&shown(1_250), &vec![code("LONG")]));
    assert_eq!(plain.price_card.unwrap().name, "Day");
    // It stands beside the prices, which have the fee of a ticket in them.
    assert_eq!(plain.order_fee.map(|fee| fee.amount), Some(100));
    let three_d = choose(&["3D"]).unwrap();
    assert_eq!(three_d.showtime.prices, shown(1_550));
    assert_eq!(three_d.showtime.surcharges, [code("3D"), code("LONG")]);
    let event = three_d.event();
    assert_eq!((&event.prices, &event.tariff), (&three_d.showtime.prices, &three_d.tariff));
    let tariff = three_d.tariff.unwrap();
    assert_eq!(tariff.types[1].prices, kinds(&[(Standard, 600)]), "a child's ticket is not for love seats");
    assert_eq!(tariff.types[0].prices, kinds(&prices), "the hall may get love seats later");
    assert_eq!(choose(&["3D", "IMAX"]).map(drop), Err(Rejection::SurchargeUnknown { index: 1 }));
}

#[test]
fn a_refitted_hall_shows_the_prices_of_its_new_kinds_of_seat() {
    let prices = [(Standard, 1_000), (Loveseat, 1_400)];
    let card = price_card("Day", &[("ADULT", &prices)]);
    let known = by_cards(vec![ticket_type("ADULT")], vec![card], &[Standard], |_| {}).unwrap();
    let hall = auditorium(&[Standard, Loveseat, Companion]);
    let refitted = known.refitted(&hall, now());
    assert_eq!(refitted.tariff, known.tariff);
    assert_eq!(refitted.showtime.prices.keys().copied().collect::<Vec<_>>(), [Standard, Loveseat]);
    let back = refitted.taken_back(known.showtime.starts_at, known.rows.clone(), now());
    assert_eq!((&back.showtime.prices, &back.tariff), (&known.showtime.prices, &known.tariff));
}

#[test]
fn the_card_is_chosen_by_the_halls_clock_and_the_first_that_applies_wins() {
    let mut tuesday = price_card("Cheap Tuesday", &[("ADULT", &[(Standard, 700)])]);
    tuesday.of.weekdays = Some(vec![Weekday::Tuesday]);
    let mut evening = price_card("Evening", &[("ADULT", &[(Standard, 1_300)])]);
    evening.of.from = Some("17:00".into());
    let by = |cards: Vec<PriceCard>, at: time::OffsetDateTime| {
        let made = by_cards(vec![ticket_type("ADULT")], cards, &[Standard], |wanted| {
            wanted.starts_at = at.into();
        });
        made.map(|made| made.showtime.price_card.unwrap().name)
    };
    let cards = || vec![tuesday.clone(), evening.clone()];
    // In Berlin it is one hour later, in winter.
    assert_eq!(by(cards(), datetime!(2030-01-07 23:30 UTC)).unwrap(), "Cheap Tuesday");
    assert_eq!(by(cards(), datetime!(2030-01-08 22:59 UTC)).unwrap(), "Cheap Tuesday");
    assert_eq!(by(cards(), datetime!(2030-01-09 16:00 UTC)).unwrap(), "Evening");
    assert_eq!(by(cards(), datetime!(2030-01-09 15:59:59 UTC)), Err(Rejection::PriceCardMissing));
    let tuesday_evening = datetime!(2030-01-08 18:00 UTC);
    let turned = vec![evening.clone(), tuesday.clone()];
    assert_eq!(by(turned, tuesday_evening).unwrap(), "Evening", "the order of the list decides");
}

#[test]
fn a_named_card_counts_at_any_time_and_plain_prices_need_none() {
    let mut tuesday = price_card("Cheap Tuesday", &[("ADULT", &[(Standard, 700)])]);
    tuesday.of.weekdays = Some(vec![]);
    let id = tuesday.id;
    let with = |change: &dyn Fn(&mut CreateShowtime)| {
        by_cards(vec![ticket_type("ADULT")], vec![tuesday.clone()], &[Standard], change)
    };
    assert_eq!(with(&|_| {}).map(drop), Err(Rejection::PriceCardMissing));
    assert!(with(&|wanted| wanted.price_card_id = Some(id)).unwrap().tariff.is_some());
    let unknown = with(&|wanted| wanted.price_card_id = Some(Uuid::now_v7()));
    assert_eq!(unknown.map(drop), Err(Rejection::UnknownPriceCard));
    let plain = with(&|wanted| wanted.prices = Some(plain_prices(&[Standard]))).unwrap();
    assert_eq!((plain.tariff, plain.showtime.price_card), (None, None));
}

#[test]
fn a_change_makes_the_tariff_anew_and_a_new_start_keeps_it() {
    let types = vec![ticket_type("ADULT")];
    let mut card = price_card("Day", &[("ADULT", &[(Standard, 1_000)])]);
    let known = by_cards(types.clone(), vec![card.clone()], &[Standard], |_| {}).unwrap();
    card.of.prices = BTreeMap::from([(code("ADULT"), kinds(&[(Standard, 1_100)]))]);
    let pricing = Pricing { types, cards: vec![card.clone()] };
    let change = |change: UpdateShowtime| changed(&known, &change, None, &pricing, CLEANING, now()).unwrap();
    let amount = |of: &Scheduled| of.showtime.prices[&Standard].amount;

    let starts_at = known.showtime.starts_at.plus(Duration::from_secs(3_600));
    let moved = change(UpdateShowtime { starts_at: Some(starts_at), ..UpdateShowtime::default() });
    assert_eq!((amount(&moved), &moved.tariff), (1_000, &known.tariff));
    let anew = change(UpdateShowtime { price_card_id: Some(card.id), ..UpdateShowtime::default() });
    assert_eq!((amount(&anew), anew.showtime.version), (1_100, 2));
    let plain =
        change(UpdateShowtime { prices: Some(plain_prices(&[Standard])), ..UpdateShowtime::default() });
    assert_eq!((amount(&plain), &plain.tariff, &plain.showtime.price_card), (1_000, &None, &None));
}

/// A new currency may not make the demo's prices invalid.
#[test]
fn the_demos_types_and_cards_would_pass_as_if_staff_had_typed_them_in_every_currency() {
    let none = Vec::<String>::new();
    for of in ticket_types() {
        assert_eq!(problems(&CreateTicketType(of.clone())), none, "{}", of.code);
    }
    // Where tickets may cost that many least amounts at all: nearly everywhere.
    let sold_in: Vec<Currency> = Currency::all().filter(|of| of.greatest() >= 35 * of.least()).collect();
    assert!(sold_in.len() > 100, "{}", sold_in.len());
    for currency in sold_in {
        for card in price_cards(currency) {
            assert_eq!(problems(&CreatePriceCard(card.clone())), none, "{} {}", card.name, currency.as_str());
        }
    }
}

#[test]
fn every_show_of_the_demo_has_a_tariff_and_an_adult_pays_what_the_plain_prices_say() {
    let (now, id) = (now(), Uuid::now_v7);
    let of = |of| TicketType { id: id(), of, version: 1, created_at: now, updated_at: now };
    let card = |of| PriceCard { id: id(), of, version: 1, created_at: now, updated_at: now };
    let types: Vec<TicketType> = ticket_types().into_iter().map(of).collect();
    let cards: Vec<PriceCard> = price_cards(Currency::EUR).into_iter().map(card).collect();
    let tariff = |hall: &Hall, title: &str, at: time::OffsetDateTime| -> Tariff {
        let reel = MOVIES.iter().find(|reel| reel.title == title).unwrap();
        let movie = movie(wanted_movie(reel, vec![]), &[], now).unwrap();
        let rows = rows(hall);
        let auditorium = Auditorium { rows, ..auditorium(&[Standard]) };
        let pricing = &Pricing { types: types.clone(), cards: cards.clone() };
        let (movie, auditorium) = (Some(&movie), Some(&auditorium));
        let now = Timestamp::from(at).minus(Duration::from_secs(60));
        let basis = Basis { movie, auditorium, pricing, cleaning: CLEANING, now };
        let wanted = wanted(&[], at.into());
        let wanted = CreateShowtime { prices: None, surcharges: surcharges(title), ..wanted };
        schedule(wanted, &basis).unwrap().tariff.unwrap()
    };
    for hall in &HALLS {
        for time in hall.times {
            // A Wednesday in winter: Berlin is one hour ahead of UTC.
            let at = datetime!(2030-01-09 0:00 UTC) + (*time - time::Time::MIDNIGHT) - time::Duration::HOUR;
            let made = tariff(hall, "Umbrella Season", at);
            assert_eq!(made.prices(), prices(&rows(hall), *time, Currency::EUR), "{} {time}", hall.name);
            let codes: Vec<String> = made.types.iter().map(|of| of.code.to_string()).collect();
            assert_eq!(codes, ["ADULT", "CHILD", "STUDENT", "SENIOR", "DISABLED", "COMPANION"]);
        }
    }
    let adult = |title: &str, at| tariff(&HALLS[0], title, at).prices()[&Standard].amount;
    let (wednesday, tuesday) = (datetime!(2030-01-09 19:00 UTC), datetime!(2030-01-08 19:00 UTC));
    assert_eq!((adult("Umbrella Season", wednesday), adult("Umbrella Season", tuesday)), (1_250, 900));
    assert_eq!(adult("Paper Comets", wednesday), 1_400, "in 3D");
    assert_eq!(adult("Static in Bloom", wednesday), 1_350, "139 minutes");
}

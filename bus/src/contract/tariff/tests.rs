//! The quote of a tariff: totals, rounding, tax, limits and refusals.

use super::*;
use crate::contract::{Locale, SeatId};

fn code(text: &str) -> TariffCode {
    TariffCode::parse(text).unwrap()
}

fn ticket_type(name: &str, standard: i64) -> TariffType {
    TariffType {
        code: code(name),
        name: [(Locale::En, name), (Locale::De, "Karte")].into(),
        proof: Names::default(),
        reported_as: ReportedAs::Full,
        channels: vec![Channel::Web, Channel::BoxOffice],
        most_per_order: None,
        accompanies: None,
        prices: [(SeatKind::Standard, standard), (SeatKind::Loveseat, standard + 300)].into(),
    }
}

fn fee(name: &str, amount: i64, per: FeePer) -> Fee {
    Fee {
        code: code(name),
        name: [(Locale::En, "Booking fee")].into(),
        amount,
        per,
        channels: vec![Channel::Web],
        refundable: false,
    }
}

/// Adults 12.00, children 8.00; 3D 2.00; a fee of 0.50 a ticket and 1.00 an order.
fn tariff() -> Tariff {
    Tariff {
        card: None,
        currency: Currency::EUR,
        types: vec![ticket_type("ADULT", 1200), ticket_type("CHILD", 800)],
        surcharges: vec![TariffSurcharge { code: code("3D"), name: Names::default(), amount: 200 }],
        fees: vec![fee("BOOKING", 50, FeePer::Ticket), fee("ORDER", 100, FeePer::Order)],
        tax: TaxRules { tickets: 7_000, fees: 19_000, included: true },
    }
}

fn seats(count: usize) -> Vec<SeatId> {
    (1..=count).map(|number| SeatId::new("A", number as u16)).collect()
}

/// Tickets on standard seats, by types' names.
fn quoted(tariff: &Tariff, types: &[&str]) -> Result<Quote, TicketRefusal> {
    let (seats, codes): (_, Vec<_>) = (seats(types.len()), types.iter().map(|name| code(name)).collect());
    let tickets: Vec<_> = seats
        .iter()
        .zip(&codes)
        .map(|(seat, ticket_type)| Ticket { seat, kind: SeatKind::Standard, ticket_type })
        .collect();
    quote(tariff, &tickets, Channel::Web, Locale::En)
}

#[test]
fn a_family_pays_by_person_with_surcharge_and_fees() {
    let quote = quoted(&tariff(), &["ADULT", "CHILD"]).unwrap();
    let prices: Vec<_> = quote.lines.iter().map(|line| (line.price.amount, line.surcharge)).collect();
    assert_eq!(prices, [(1400, 200), (1000, 200)]);
    let fees: Vec<_> =
        quote.fees.iter().map(|fee| (fee.code.as_str(), fee.seat.is_some(), fee.price.amount)).collect();
    assert_eq!(fees, [("BOOKING", true, 50), ("BOOKING", true, 50), ("ORDER", false, 100)]);
    assert_eq!(quote.total.amount, 2600);
    // 7 % in 14.00 and 10.00 are 0.92 and 0.65; 19 % in 0.50, 0.50 and 1.00 are 0.08, 0.08 and 0.16.
    let taxes: Vec<_> = quote.taxes.iter().map(|sum| (sum.rate, sum.net, sum.tax)).collect();
    assert_eq!(taxes, [(7_000, 2400 - 157, 157), (19_000, 200 - 32, 32)]);
}

#[test]
fn the_price_first_shown_has_the_fee_of_a_ticket_in_it() {
    let tariff = tariff();
    assert_eq!(tariff.prices()[&SeatKind::Standard].amount, 1450);
    assert_eq!(tariff.prices()[&SeatKind::Loveseat].amount, 1750);
    assert_eq!(tariff.order_fee(Channel::Web).amount, 100);
    assert_eq!(tariff.order_fee(Channel::BoxOffice).amount, 0, "a fee is only of its channels");
    assert_eq!(tariff.shown(&tariff.types[1], Channel::BoxOffice)[&SeatKind::Standard].amount, 1000);
}

#[test]
fn a_free_ticket_has_no_surcharge_and_no_fee() {
    let mut tariff = tariff();
    tariff.types[1].prices = [(SeatKind::Standard, 0)].into();
    assert_eq!(tariff.shown(&tariff.types[1], Channel::Web)[&SeatKind::Standard].amount, 0);
    let quote = quoted(&tariff, &["ADULT", "CHILD"]).unwrap();
    assert_eq!((quote.lines[1].price.amount, quote.lines[1].surcharge), (0, 0));
    let fees: Vec<_> = quote.fees.iter().map(|fee| (fee.code.as_str(), fee.seat.clone())).collect();
    assert_eq!(fees, [("BOOKING", Some(SeatId::new("A", 1))), ("ORDER", None)]);
    assert_eq!(quote.total.amount, 1400 + 50 + 100);
    let free = quoted(&tariff, &["CHILD", "CHILD"]).unwrap();
    assert_eq!((free.total.amount, free.fees), (0, vec![]));
}

#[test]
fn each_refusal_says_which_tickets_are_meant() {
    let mut tariff = tariff();
    assert_eq!(
        quoted(&tariff, &["ADULT", "SENIOR", "SENIOR"]),
        Err(TicketRefusal::UnknownTypes(vec![code("SENIOR")]))
    );
    tariff.types[1].most_per_order = Some(1);
    let most = TicketRefusal::TooMany { of: code("CHILD"), most: 1 };
    assert_eq!(quoted(&tariff, &["CHILD", "CHILD"]), Err(most));
    tariff.types[1].accompanies = Some(code("ADULT"));
    let alone = TicketRefusal::Unaccompanied { of: code("CHILD"), needs: code("ADULT") };
    assert_eq!(quoted(&tariff, &["CHILD"]), Err(alone));
    assert!(quoted(&tariff, &["CHILD", "ADULT"]).is_ok());
    tariff.types[1].prices = [(SeatKind::Loveseat, 1)].into();
    let seats = TicketRefusal::NotForSeats(code("CHILD"), vec![SeatId::new("A", 2)]);
    assert_eq!(quoted(&tariff, &["ADULT", "CHILD"]), Err(seats));
    tariff.types[0].channels = vec![Channel::BoxOffice];
    assert_eq!(quoted(&tariff, &["ADULT"]), Err(TicketRefusal::NotOnChannel(code("ADULT"))));
}

#[test]
fn a_total_that_the_provider_cannot_charge_is_refused() {
    let mut tariff = tariff();
    tariff.fees.clear();
    tariff.surcharges.clear();
    tariff.types[0].prices = [(SeatKind::Standard, 10)].into();
    assert!(matches!(quoted(&tariff, &["ADULT"]), Err(TicketRefusal::TotalOutOfBounds { least: 50, .. })));
    assert!(quoted(&tariff, &["ADULT"; 5]).is_ok());
    tariff.types[0].prices = [(SeatKind::Standard, i64::MAX / 2)].into();
    assert!(matches!(quoted(&tariff, &["ADULT"; 5]), Err(TicketRefusal::TotalOutOfBounds { .. })));
    tariff.types[0].prices = [(SeatKind::Standard, 0)].into();
    assert_eq!(quoted(&tariff, &["ADULT"; 5]).unwrap().total.amount, 0);
}

/// Small numbers that are different for each `n`, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn lines_fees_and_taxes_add_up_for_every_tariff() {
    let mut numbers = Numbers(18);
    let currencies: Vec<Currency> = Currency::all().collect();
    for _ in 0..20_000 {
        let currency = currencies[numbers.below(currencies.len() as u64) as usize];
        let step = currency.step();
        let mut amount = |most: u64| numbers.below(most) as i64 * step;
        let mut tariff = tariff();
        tariff.currency = currency;
        for of in &mut tariff.types {
            of.prices = [(SeatKind::Standard, currency.least() + amount(5_000))].into();
        }
        tariff.surcharges[0].amount = amount(400);
        for fee in &mut tariff.fees {
            fee.amount = amount(200);
        }
        tariff.tax = TaxRules {
            tickets: numbers.below(30_001) as u32,
            fees: numbers.below(30_001) as u32,
            included: numbers.below(2) == 0,
        };
        let types: Vec<&str> =
            (0..=numbers.below(9)).map(|_| ["ADULT", "CHILD"][numbers.below(2) as usize]).collect();
        let quote = quoted(&tariff, &types).unwrap();
        assert_adds_up(&tariff, &quote);
        // The price first shown is what is paid.
        let shown = |line: &Line| {
            let of = tariff.find(&line.ticket_type).unwrap();
            tariff.shown(of, Channel::Web)[&SeatKind::Standard].amount
        };
        let shown: i64 = quote.lines.iter().map(shown).sum();
        assert_eq!(quote.total.amount, shown + tariff.order_fee(Channel::Web).amount, "{tariff:?}");
    }
}

fn assert_adds_up(tariff: &Tariff, quote: &Quote) {
    let lines: i64 = quote.lines.iter().map(|line| line.price.amount).sum();
    let fees: i64 = quote.fees.iter().map(|fee| fee.price.amount).sum();
    assert_eq!(quote.total.amount, lines + fees, "{tariff:?}");
    assert!(tariff.currency.is_whole(quote.total.amount), "{tariff:?}");
    for sum in &quote.taxes {
        let taxes = quote.lines.iter().map(|line| line.tax).chain(quote.fees.iter().map(|fee| fee.tax));
        let tax: i64 = taxes.filter(|tax| tax.rate == sum.rate).map(|tax| tax.amount).sum();
        assert_eq!(sum.tax, tax, "{tariff:?}");
        // Rounded once a line, by at most half of what the provider can move.
        let exact = sum.net as f64 * f64::from(sum.rate) / 100_000.0;
        let off = (quote.lines.len() + quote.fees.len()) as f64 * tariff.currency.step() as f64;
        assert!((exact - sum.tax as f64).abs() <= off, "{exact} and {} in {tariff:?}", sum.tax);
    }
    let taxed: i64 = quote.taxes.iter().map(|sum| sum.net + sum.tax).sum();
    let untaxed: i64 = untaxed(quote);
    assert_eq!(taxed + untaxed, quote.total.amount, "{tariff:?}");
}

fn untaxed(quote: &Quote) -> i64 {
    let lines = quote.lines.iter().filter(|line| line.tax.rate == 0).map(|line| line.price.amount);
    lines.chain(quote.fees.iter().filter(|fee| fee.tax.rate == 0).map(|fee| fee.price.amount)).sum()
}

#[test]
fn plain_prices_are_a_tariff_with_one_type() {
    let prices: Prices =
        [(SeatKind::Standard, Money { amount: 1200, currency: Currency::EUR })].into_iter().collect();
    let tariff = Tariff::of_prices(&prices);
    assert_eq!((tariff.prices(), tariff.default_type()), (prices, TariffCode::default()));
    let quote = quoted(&tariff, &["STANDARD", "STANDARD"]).unwrap();
    assert_eq!((quote.total.amount, quote.taxes, quote.fees), (2400, vec![], vec![]));
}

#[test]
fn a_line_from_before_there_were_types_is_read() {
    let line: Line =
        serde_json::from_str(r#"{"seat": "A7", "price": {"amount": 1200, "currency": "EUR"}}"#).unwrap();
    assert_eq!((line.ticket_type, line.tax, line.proof), (TariffCode::default(), Tax::default(), None));
}

#[test]
fn a_code_has_capital_letters_and_digits() {
    for text in ["A", "3D", "STUDENT", "UNDER_16"] {
        assert_eq!(TariffCode::parse(text).unwrap().as_str(), text);
    }
    for text in ["", "_A", "adult", "Ä", "A B", "AAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(TariffCode::parse(text), None, "{text}");
    }
}

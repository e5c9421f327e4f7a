//! The table of currencies against ISO 4217 and the words of the provider's documents.

use std::collections::BTreeSet;

use super::*;

/// ISO 4217, list one, as of 2025: the codes whose minor unit has no digits, and those where it has three.
const ISO_NONE: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const ISO_THREE: &str = "BHD IQD JOD KWD LYD OMR TND";

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn listed(list: &str, currency: Currency) -> bool {
    list.split(' ').any(|code| code == currency.as_str())
}

#[test]
fn every_currency_is_there_once_and_found_by_its_code() {
    let codes: Vec<&str> = Currency::all().map(Currency::as_str).collect();
    let distinct: BTreeSet<&str> = codes.iter().copied().collect();
    // Sorted and without repeats.
    assert_eq!(codes, distinct.into_iter().collect::<Vec<_>>());
    assert!(codes.len() >= 135, "{}", codes.len());
    for currency in Currency::all() {
        assert_eq!(Currency::parse(currency.as_str()), Some(currency));
        assert!(currency.as_str().bytes().all(|b| b.is_ascii_uppercase()), "{currency:?}");
    }
    for unknown in ["", "eur", "EU", "EURO", "XXX", "DEM", "XBT", "E\u{20ac}"] {
        assert_eq!(Currency::parse(unknown), None, "{unknown}");
    }
    assert_eq!(Currency::EUR.as_str(), "EUR");
}

#[test]
fn digits_are_those_of_iso_4217() {
    for currency in Currency::all() {
        let iso = if listed(ISO_NONE, currency) {
            0
        } else if listed(ISO_THREE, currency) {
            3
        } else {
            2
        };
        assert_eq!(currency.digits(), iso, "{currency:?}");
    }
}

#[test]
fn every_amount_that_can_be_charged_comes_back_from_the_provider_as_it_was() {
    for currency in Currency::all() {
        for times in [0, 1, 7, 99, 1_234] {
            let amount = times * currency.step();
            let sent = currency.to_provider(amount).unwrap();
            assert_eq!(currency.from_provider(sent), Some(amount), "{currency:?} {amount}");
            assert_eq!(sent % currency.at_provider().step, 0, "{currency:?} {amount}");
        }
        if currency.step() > 1 {
            assert_eq!(currency.to_provider(currency.step() + 1), None, "{currency:?}");
        }
    }
}

#[test]
fn amounts_are_sent_to_the_provider_in_the_units_of_its_documents() {
    let sent = |code, amount| currency(code).to_provider(amount);
    assert_eq!(sent("EUR", 1_250), Some(1_250));
    assert_eq!(sent("HUF", 250_000), Some(250_000));
    assert_eq!(sent("JPY", 1_900), Some(1_900));
    // "To charge 5 ISK, provide an amount value of 500."
    assert_eq!(sent("ISK", 3_500), Some(350_000));
    assert_eq!(sent("UGX", 40_000), Some(4_000_000));
    // A zero-decimal currency there, with two digits by ISO.
    assert_eq!(sent("MGA", 500_000), Some(5_000));
    assert_eq!(sent("MGA", 500_050), None);
    assert_eq!(sent("KWD", 3_500), Some(3_500));
    assert_eq!(sent("KWD", 3_505), None);
    let read = |code, units| currency(code).from_provider(units);
    assert_eq!(read("ISK", 350_000), Some(3_500));
    assert_eq!(read("ISK", 350_050), None, "half a króna is nothing that we have a name for");
    assert_eq!(read("MGA", 5_000), Some(500_000));
    assert_eq!(read("KWD", 3_505), Some(3_505));
    assert_eq!(sent("UGX", i64::MAX), None);
}

#[test]
fn bounds_are_in_order_and_themselves_fine_prices() {
    for currency in Currency::all() {
        let CurrencyRules { least, greatest, step, cash_step, .. } = currency.rules();
        assert!(0 < least && least < greatest && cash_step > 0, "{currency:?}");
        for fine in [0, least, greatest, least + step] {
            assert_eq!(currency.check_price(fine), Ok(()), "{currency:?} {fine}");
        }
        for wrong in [-step, least - step, greatest + step] {
            if wrong != 0 {
                assert!(currency.check_price(wrong).is_err(), "{currency:?} {wrong}");
            }
        }
        // Ten seats of the greatest price can be paid at once.
        let ten = currency.to_provider(10 * greatest).unwrap();
        assert!(ten <= currency.at_provider().greatest, "{currency:?} {ten}");
        assert!(currency.at_provider().least <= currency.to_provider(least).unwrap(), "{currency:?}");
    }
}

#[test]
fn usual_prices_are_taken_everywhere() {
    // The usual price of a seat in this currency, in minor units.
    let usual = [
        ("EUR", 1_250),
        ("JPY", 1_900),
        ("HUF", 250_000),
        ("ISK", 2_195),
        ("UGX", 40_000),
        ("KWD", 3_500),
        ("IQD", 10_000_000),
        ("IDR", 20_000_000),
        ("LBP", 60_000_000),
        ("VND", 120_000),
        ("KRW", 15_000),
        ("COP", 2_000_000),
        ("RSD", 60_000),
        ("UZS", 5_000_000),
        ("CHF", 1_900),
        ("INR", 35_000),
        ("MGA", 1_500_000),
    ];
    for (code, amount) in usual {
        assert_eq!(currency(code).check_price(amount), Ok(()), "{code} {amount}");
    }
}

#[test]
fn a_share_is_rounded_up_to_an_amount_that_the_provider_can_move() {
    assert_eq!(currency("KWD").round_up(1_765), 1_770);
    assert_eq!(currency("KWD").round_up(1_770), 1_770);
    assert_eq!(currency("MGA").round_up(1), 100);
    assert_eq!(Currency::EUR.round_up(1_765), 1_765);
}

#[test]
fn money_is_written_with_the_digits_of_its_currency() {
    let shown = |amount, code| Money { amount, currency: currency(code) }.shown();
    assert_eq!(shown(2400, "EUR"), "€24.00");
    assert_eq!(shown(5, "USD"), "$0.05");
    assert_eq!(shown(123_456_789, "GBP"), "£1,234,567.89");
    assert_eq!(shown(1200, "JPY"), "¥1,200");
    assert_eq!(shown(-2450, "CHF"), "-CHF 24.50");
    assert_eq!(shown(1_234, "KWD"), "KWD 1.234");
    assert_eq!(shown(250_000, "HUF"), "HUF 2,500.00");
    assert_eq!(shown(3_500, "ISK"), "ISK 3,500");
    assert_eq!(shown(10_000_000, "IQD"), "IQD 10,000.000");
    assert_eq!(currency("ISK").at_provider().plain(350_000), "3500.00");
}

#[test]
fn an_unknown_code_is_refused_with_where_the_known_ones_are() {
    let read = |text: &str| serde_json::from_value::<Currency>(text.into());
    assert_eq!(read("ISK").unwrap(), currency("ISK"));
    for unknown in ["XXX", "eur", "BTC", ""] {
        let error = read(unknown).unwrap_err().to_string();
        assert!(error.contains("/v1/currencies"), "{error}");
    }
    assert_eq!(serde_json::to_value(currency("KWD")).unwrap(), "KWD");
}

#[test]
fn the_list_has_the_default_and_the_rules_of_all() {
    let list = serde_json::to_value(Currencies::with_default(currency("CHF"))).unwrap();
    assert_eq!(list["default"], "CHF");
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), Currency::all().count());
    let forint = items.iter().find(|currency| currency["code"] == "HUF").unwrap();
    let expected = serde_json::json!({
        "code": "HUF", "digits": 2, "least": 17_500, "greatest": 50_000_000, "step": 1, "cashStep": 500,
    });
    assert_eq!(*forint, expected);
}

//! The currencies: one row each, with the rules that every part of Marquee uses.
//!
//! Listed are the ISO 4217 currencies that Stripe charges in (docs.stripe.com/currencies, "Supported presentment currencies"),
//! and IQD, which cinemas wanted and Stripe does not list: check with the provider before selling in it.
//!
//! - `digits`: of the minor unit by ISO 4217, never by CLDR, which browsers use and which differs for HUF, IQD, RSD and others.
//! - `least`: the least amount that can be charged, in minor units. Stripe publishes it for AED AUD BGN BRL CAD CHF CZK DKK
//!   EUR GBP HKD HUF INR JPY MXN MYR NOK NZD PLN RON SEK SGD THB USD; the others are ours: about 0.50 USD, rounded.
//! - `greatest`: the greatest price of a seat, a guard against typing mistakes. It is ours: about 2,000 USD, rounded, and at
//!   most a tenth of the provider's greatest charge, so that an order of ten seats can always be paid.
//! - `cash_step`: the least coin in ordinary use, in minor units; 1 where we know of no greater one.

/// The fixed rules of one currency.
pub(super) struct Row {
    pub code: &'static str,
    pub digits: u32,
    /// Digits in the provider's integers: how many of the last digits stand behind the decimal point.
    pub provider_digits: u32,
    pub least: i64,
    pub greatest: i64,
    pub cash_step: i64,
    /// The greatest integer that the provider takes for a charge.
    pub provider_greatest: i64,
}

const fn row(code: &'static str, digits: u32, least: i64, greatest: i64, cash_step: i64) -> Row {
    // "8 digits for all other currencies".
    Row { code, digits, provider_digits: digits, least, greatest, cash_step, provider_greatest: 99_999_999 }
}

impl Row {
    /// The provider counts with other digits than ISO 4217: ISK and UGX in hundredths, MGA in whole ariary.
    const fn sent_with(self, provider_digits: u32) -> Self {
        Self { provider_digits, ..self }
    }

    /// The provider takes more digits.
    const fn sent_up_to(self, provider_greatest: i64) -> Self {
        Self { provider_greatest, ..self }
    }
}

/// By code, so that a code is found by halving and currencies compare as their codes do.
pub(super) static TABLE: &[Row] = &[
    row("AED", 2, 200, 1_000_000, 25),
    row("AFN", 2, 5_000, 9_999_900, 1),
    row("ALL", 2, 5_000, 9_999_900, 1),
    row("AMD", 2, 20_000, 9_999_900, 1),
    row("ANG", 2, 100, 500_000, 1),
    row("AOA", 2, 50_000, 9_999_900, 1),
    row("ARS", 2, 50_000, 9_999_900, 1),
    row("AUD", 2, 50, 200_000, 5),
    row("AWG", 2, 100, 500_000, 1),
    row("AZN", 2, 100, 500_000, 1),
    row("BAM", 2, 100, 500_000, 5),
    row("BBD", 2, 100, 500_000, 1),
    row("BDT", 2, 5_000, 9_999_900, 1),
    row("BGN", 2, 100, 500_000, 1),
    row("BHD", 3, 200, 1_000_000, 5),
    row("BIF", 0, 2_000, 5_000_000, 1),
    row("BMD", 2, 50, 200_000, 1),
    row("BND", 2, 50, 200_000, 1),
    row("BOB", 2, 500, 1_000_000, 1),
    row("BRL", 2, 50, 1_000_000, 5),
    row("BSD", 2, 50, 200_000, 1),
    row("BTN", 2, 5_000, 9_999_900, 1),
    row("BWP", 2, 500, 2_000_000, 1),
    row("BYN", 2, 200, 500_000, 1),
    row("BZD", 2, 100, 500_000, 1),
    row("CAD", 2, 50, 200_000, 5),
    row("CDF", 2, 100_000, 9_999_900, 1),
    row("CHF", 2, 50, 200_000, 5),
    row("CLP", 0, 500, 2_000_000, 10),
    row("CNY", 2, 500, 2_000_000, 10),
    row("COP", 2, 200_000, 1_000_000_000, 5_000).sent_up_to(999_999_999_999),
    row("CRC", 2, 20_000, 9_999_900, 500),
    row("CVE", 2, 5_000, 9_999_900, 1),
    row("CZK", 2, 1_500, 5_000_000, 100),
    row("DJF", 0, 100, 500_000, 5),
    row("DKK", 2, 250, 1_000_000, 50),
    row("DOP", 2, 2_000, 9_999_900, 1),
    row("DZD", 2, 5_000, 9_999_900, 1),
    row("EGP", 2, 2_000, 9_999_900, 1),
    row("ETB", 2, 10_000, 9_999_900, 1),
    row("EUR", 2, 50, 200_000, 1),
    row("FJD", 2, 100, 500_000, 1),
    row("FKP", 2, 50, 200_000, 1),
    row("GBP", 2, 30, 200_000, 1),
    row("GEL", 2, 100, 500_000, 1),
    row("GHS", 2, 500, 2_000_000, 1),
    row("GIP", 2, 50, 200_000, 1),
    row("GMD", 2, 5_000, 9_999_900, 1),
    row("GNF", 0, 5_000, 9_999_999, 500),
    row("GTQ", 2, 500, 2_000_000, 1),
    row("GYD", 2, 10_000, 9_999_900, 1),
    row("HKD", 2, 400, 2_000_000, 10),
    row("HNL", 2, 1_000, 5_000_000, 1),
    row("HTG", 2, 5_000, 9_999_900, 1),
    row("HUF", 2, 17_500, 50_000_000, 500).sent_up_to(999_999_999_999),
    row("IDR", 2, 1_000_000, 5_000_000_000, 10_000).sent_up_to(999_999_999_999),
    row("ILS", 2, 200, 500_000, 10),
    row("INR", 2, 50, 20_000_000, 100).sent_up_to(999_999_999),
    row("IQD", 3, 500_000, 2_000_000_000, 250_000).sent_up_to(999_999_999_999),
    row("ISK", 0, 50, 99_999, 1).sent_with(2),
    row("JMD", 2, 10_000, 9_999_900, 1),
    row("JOD", 3, 500, 2_000_000, 5),
    row("JPY", 0, 50, 200_000, 1).sent_up_to(9_999_999_999),
    row("KES", 2, 5_000, 9_999_900, 100),
    row("KGS", 2, 5_000, 9_999_900, 1),
    row("KHR", 2, 200_000, 9_999_900, 10_000),
    row("KMF", 0, 200, 1_000_000, 25),
    row("KRW", 0, 1_000, 2_000_000, 10),
    row("KWD", 3, 200, 500_000, 5),
    row("KYD", 2, 50, 200_000, 1),
    row("KZT", 2, 20_000, 9_999_900, 1),
    row("LAK", 2, 1_000_000, 9_999_900, 50_000),
    row("LBP", 2, 5_000_000, 20_000_000_000, 100_000).sent_up_to(99_999_999_999_999),
    row("LKR", 2, 20_000, 9_999_900, 1),
    row("LRD", 2, 10_000, 9_999_900, 1),
    row("LSL", 2, 1_000, 5_000_000, 1),
    row("MAD", 2, 500, 2_000_000, 1),
    row("MDL", 2, 1_000, 5_000_000, 1),
    row("MGA", 2, 200_000, 999_999_900, 10_000).sent_with(0),
    row("MKD", 2, 2_000, 9_999_900, 100),
    row("MMK", 2, 100_000, 9_999_900, 5_000),
    row("MNT", 2, 200_000, 9_999_900, 1),
    row("MOP", 2, 500, 2_000_000, 1),
    row("MUR", 2, 2_000, 9_999_900, 1),
    row("MVR", 2, 1_000, 2_000_000, 1),
    row("MWK", 2, 100_000, 9_999_900, 1),
    row("MXN", 2, 1_000, 5_000_000, 50),
    row("MYR", 2, 200, 1_000_000, 5),
    row("MZN", 2, 5_000, 9_999_900, 1),
    row("NAD", 2, 1_000, 5_000_000, 1),
    row("NGN", 2, 100_000, 9_999_900, 1),
    row("NIO", 2, 2_000, 9_999_900, 1),
    row("NOK", 2, 300, 2_000_000, 100),
    row("NPR", 2, 5_000, 9_999_900, 1),
    row("NZD", 2, 50, 500_000, 10),
    row("OMR", 3, 200, 1_000_000, 5),
    row("PAB", 2, 50, 200_000, 1),
    row("PEN", 2, 200, 500_000, 10),
    row("PGK", 2, 200, 1_000_000, 1),
    row("PHP", 2, 2_000, 9_999_900, 25),
    row("PKR", 2, 10_000, 9_999_900, 1),
    row("PLN", 2, 200, 1_000_000, 1),
    row("PYG", 0, 5_000, 9_999_999, 50),
    row("QAR", 2, 200, 1_000_000, 25),
    row("RON", 2, 200, 1_000_000, 1),
    row("RSD", 2, 5_000, 9_999_900, 100),
    row("RUB", 2, 5_000, 9_999_900, 100),
    row("RWF", 0, 1_000, 2_000_000, 1),
    row("SAR", 2, 200, 1_000_000, 1),
    row("SBD", 2, 500, 2_000_000, 1),
    row("SCR", 2, 500, 2_000_000, 1),
    row("SEK", 2, 300, 2_000_000, 100),
    row("SGD", 2, 50, 200_000, 5),
    row("SHP", 2, 50, 200_000, 1),
    row("SLE", 2, 1_000, 5_000_000, 1),
    row("SOS", 2, 20_000, 9_999_900, 1),
    row("SRD", 2, 2_000, 9_999_900, 1),
    row("SZL", 2, 1_000, 5_000_000, 1),
    row("THB", 2, 1_000, 5_000_000, 25),
    row("TJS", 2, 500, 2_000_000, 1),
    row("TND", 3, 2_000, 5_000_000, 50),
    row("TOP", 2, 100, 500_000, 1),
    row("TRY", 2, 2_000, 9_999_900, 1),
    row("TTD", 2, 500, 1_000_000, 1),
    row("TWD", 2, 2_000, 5_000_000, 100),
    row("TZS", 2, 100_000, 9_999_900, 5_000),
    row("UAH", 2, 2_000, 9_999_900, 50),
    row("UGX", 0, 2_000, 99_999, 50).sent_with(2),
    row("USD", 2, 50, 200_000, 1),
    row("UYU", 2, 2_000, 9_999_900, 100),
    row("UZS", 2, 500_000, 9_999_900, 1),
    row("VND", 0, 10_000, 9_999_999, 500),
    row("VUV", 0, 50, 200_000, 1),
    row("WST", 2, 100, 500_000, 1),
    row("XAF", 0, 200, 1_000_000, 5),
    row("XCD", 2, 100, 500_000, 1),
    row("XCG", 2, 100, 500_000, 1),
    row("XOF", 0, 200, 1_000_000, 5),
    row("XPF", 0, 50, 200_000, 5),
    row("YER", 2, 10_000, 9_999_900, 1),
    row("ZAR", 2, 1_000, 5_000_000, 10),
    row("ZMW", 2, 1_000, 5_000_000, 1),
];

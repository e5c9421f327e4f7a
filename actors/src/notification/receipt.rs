//! A receipt or credit note as a PDF, in the language of its order: seller and buyer, the tickets and fees, and the tax by rate.
//!
//! Invariant: no name loses its end, and no line is left out: long texts are set smaller, and long lists go on on the next page.

use std::collections::BTreeMap;

use bus::contract::payment::{Receipt, ReceiptKind};
use bus::contract::{Locale, Money, seat_list};
use pdf_writer::Content;

use super::format;
use super::look::Look;
use super::pdf::{Colour, Document};
use super::picture::Picture;
use super::texts::{self, Texts, fill};
use super::typesetting::{LEADING, fit};

/// A4 in points, as offices file it.
const PAGE: (f32, f32) = (595.0, 842.0);
const MARGIN: f32 = 56.0;
const WIDTH: f32 = PAGE.0 - 2.0 * MARGIN;
/// The room of the logo, at the right of the seller.
const LOGO: (f32, f32) = (150.0, 48.0);
/// The room of amounts, at the right.
const AMOUNT: f32 = 110.0;
const INK: Colour = (0.10, 0.11, 0.14);
const GREY: Colour = (0.35, 0.37, 0.42);

/// The file.
pub fn pdf(receipt: &Receipt, logo: Option<&Picture>, look: Look) -> Result<Vec<u8>, String> {
    let texts = texts::of(receipt.locale);
    let mut document = Document::new(PAGE, logo);
    let mut sheet = Sheet { document: &mut document, page: Content::new(), y: PAGE.1 - MARGIN, look };
    sheet.head(receipt, logo, texts);
    sheet.bill(receipt, texts);
    let page = sheet.page;
    document.add([Content::new(), page]);
    let title = format!("{} {}", title(receipt, texts), receipt.number);
    document.finish(&title, receipt.locale.as_str())
}

fn title(receipt: &Receipt, texts: &Texts) -> &'static str {
    match (receipt.kind, &receipt.buyer) {
        (ReceiptKind::CreditNote, _) => texts.credit_note,
        (ReceiptKind::Receipt, Some(_)) => texts.invoice,
        (ReceiptKind::Receipt, None) => texts.receipt,
    }
}

/// A page that is drawn from its top to its bottom.
struct Sheet<'a, 'p> {
    document: &'a mut Document<'p>,
    page: Content,
    /// What is below is free.
    y: f32,
    look: Look,
}

impl Sheet<'_, '_> {
    fn head(&mut self, receipt: &Receipt, logo: Option<&Picture>, texts: &Texts) {
        let (seller, locale) = (&receipt.seller, receipt.locale);
        let top = self.y;
        if let Some(logo) = logo {
            let scale = (LOGO.0 / logo.width as f32).min(LOGO.1 / logo.height as f32);
            let (width, height) = (logo.width as f32 * scale, logo.height as f32 * scale);
            Document::draw(&mut self.page, (width, height), (PAGE.0 - MARGIN - width, top - height));
        }
        let beside = WIDTH - LOGO.0 - 10.0;
        self.text(&seller.name, true, 14.0, self.look.accent, beside, 2);
        if let Some(company) = &seller.company {
            self.text(company, false, 9.0, GREY, beside, 2);
        }
        if let Some(address) = &seller.address {
            self.text(address, false, 9.0, GREY, beside, 2);
        }
        if let Some(id) = &seller.tax_id {
            self.text(&fill(texts.tax_id, &[("id", id)]), false, 9.0, GREY, beside, 1);
        }
        self.y = self.y.min(top - LOGO.1) - 24.0;
        if let Some(buyer) = &receipt.buyer {
            self.text(texts.issued_to, false, 9.0, GREY, WIDTH, 1);
            self.text(&buyer.name, true, 11.0, INK, WIDTH, 2);
            for line in &buyer.address {
                self.text(line, false, 11.0, INK, WIDTH, 2);
            }
            if let Some(id) = &buyer.tax_id {
                self.text(&fill(texts.tax_id, &[("id", id)]), false, 9.0, GREY, WIDTH, 1);
            }
            self.y -= 20.0;
        }
        self.text(&format!("{} {}", title(receipt, texts), receipt.number), true, 20.0, INK, WIDTH, 1);
        self.y -= 4.0;
        let issued_at = format::date_time(receipt.issued_at, &seller.time_zone, locale);
        self.text(&issued_at, false, 10.0, GREY, WIDTH, 1);
        if let Some(number) = &receipt.corrects {
            self.text(&fill(texts.corrects, &[("number", number)]), false, 10.0, GREY, WIDTH, 1);
        }
        if let Some(code) = receipt.order_code {
            self.text(&format!("{} {code}", texts.order), false, 10.0, GREY, WIDTH, 1);
        }
        self.y -= 14.0;
        self.text(&receipt.description, true, 11.0, INK, WIDTH, 3);
        self.y -= 6.0;
    }

    fn bill(&mut self, receipt: &Receipt, texts: &Texts) {
        let (locale, currency) = (receipt.locale, receipt.total.currency);
        for (name, total) in rows(receipt) {
            self.row(&name, &format::money(total, locale), false);
        }
        self.rule();
        let label = if receipt.kind == ReceiptKind::CreditNote { texts.refunded } else { texts.total };
        self.row(label, &format::money(receipt.total, locale), true);
        // Where nothing is taxed, there is nothing to say about taxes.
        let is_taxed = receipt.taxes.iter().any(|sum| sum.rate > 0);
        for sum in receipt.taxes.iter().filter(|_| is_taxed) {
            let net = format::money(Money { amount: sum.net, currency }, locale);
            let text = fill(texts.tax_of, &[("rate", &percent(sum.rate, locale)), ("net", &net)]);
            self.row(&text, &format::money(Money { amount: sum.tax, currency }, locale), false);
        }
        if let Some(signature) = &receipt.signature {
            self.y -= 20.0;
            self.text(&fill(texts.signature, &[("signature", signature)]), false, 8.0, GREY, WIDTH, 6);
        }
    }

    fn text(&mut self, text: &str, is_bold: bool, size: f32, colour: Colour, width: f32, lines_max: usize) {
        let block = fit(text, is_bold, size, width, lines_max);
        for line in &block.lines {
            self.y -= block.size * LEADING;
            let x = if line.is_rtl { MARGIN + width - line.width * block.size } else { MARGIN };
            self.document.show(&mut self.page, line, block.size, (x, self.y), colour);
        }
    }

    /// A text with an amount at the right, perhaps on a new page.
    fn row(&mut self, text: &str, amount: &str, is_bold: bool) {
        const SIZE: f32 = 10.5;
        const LINES_MAX: usize = 3;
        if self.y - SIZE * LEADING * (LINES_MAX as f32) < MARGIN {
            let page = std::mem::replace(&mut self.page, Content::new());
            self.document.add([Content::new(), page]);
            self.y = PAGE.1 - MARGIN;
        }
        let block = fit(amount, is_bold, SIZE, AMOUNT, 1);
        let y = self.y - SIZE * LEADING;
        for line in &block.lines {
            let x = PAGE.0 - MARGIN - line.width * block.size;
            self.document.show(&mut self.page, line, block.size, (x, y), INK);
        }
        self.text(text, is_bold, SIZE, INK, WIDTH - AMOUNT - 10.0, LINES_MAX);
        self.y -= 3.0;
    }

    fn rule(&mut self) {
        let (red, green, blue) = if self.look == Look::default() { GREY } else { self.look.accent };
        self.y -= 5.0;
        self.page.set_fill_rgb(red, green, blue).rect(MARGIN, self.y, WIDTH, 0.5).fill_nonzero();
    }
}

/// Equal tickets and equal fees as one row each, `2 × Student · A1, A2`, with their sum.
fn rows(receipt: &Receipt) -> Vec<(String, Money)> {
    let mut tickets: BTreeMap<(String, i64), Vec<_>> = BTreeMap::new();
    for line in &receipt.lines {
        tickets.entry((format::ticket_type(line), line.price.amount)).or_default().push(line.seat.clone());
    }
    let mut fees: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    for fee in &receipt.fees {
        *fees.entry((fee.name.as_str(), fee.price.amount)).or_default() += 1;
    }
    let texts = texts::of(receipt.locale);
    let sum = |count: i64, price: i64| Money { amount: count * price, ..receipt.total };
    let tickets = tickets.into_iter().map(|((name, price), seats)| {
        let name = if name.is_empty() { texts.ticket_seat } else { name.as_str() };
        (format!("{} × {name} · {}", seats.len(), seat_list(&seats)), sum(seats.len() as i64, price))
    });
    let fees =
        fees.into_iter().map(|((name, price), count)| (format!("{count} × {name}"), sum(count, price)));
    tickets.chain(fees).collect()
}

/// `19`, `7.7`; in German `7,7`.
fn percent(rate: u32, locale: Locale) -> String {
    let text = format!("{}.{:03}", rate / 1000, rate % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match locale {
        Locale::En => text.to_owned(),
        Locale::De => text.replace('.', ","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_without_needless_digits() {
        assert_eq!(percent(19_000, Locale::En), "19");
        assert_eq!(percent(7_700, Locale::De), "7,7");
        assert_eq!(percent(8_875, Locale::En), "8.875");
        assert_eq!(percent(0, Locale::De), "0");
        assert_eq!(percent(100_000, Locale::En), "100");
    }
}

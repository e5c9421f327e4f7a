//! Price cards: what each ticket type costs, with surcharges, fees and tax, and when the card applies. Requests to list and to
//! change them, and to ask which card applies at a time.
//!
//! A card is only a template: scheduling copies it into the showtime's tariff, and nothing that is sold asks a card.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

use super::{SeatKind, Weekday, is_time};
use crate::contract::tariff::{Fee, KindPrices, TaxRules};
use crate::contract::{Access, Currency, Fields, Names, Page, Paging, Request, Rule, TariffCode, Timestamp};

/// An amount on top of each ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Surcharge {
    pub code: TariffCode,
    pub name: Names,
    pub amount: i64,
    /// Applies by itself to movies that are longer than so many minutes; without it staff choose it for a showtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes_over: Option<u16>,
}

/// What each ticket type costs, when the card applies: a template from which showtimes get their tariffs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceCard {
    pub id: Uuid,
    #[serde(flatten)]
    pub of: PriceCardFields,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What staff say of a price card. Amounts are in minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceCardFields {
    pub name: String,
    pub currency: Currency,
    /// By ticket type and kind of seat. A pair without a price is not sold.
    pub prices: BTreeMap<TariffCode, KindPrices>,
    #[serde(default)]
    pub surcharges: Vec<Surcharge>,
    #[serde(default)]
    pub fees: Vec<Fee>,
    #[serde(default)]
    pub tax: TaxRules,
    /// The days on which it applies; every day without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekdays: Option<Vec<Weekday>>,
    /// It applies to shows that begin from this time on (`HH:MM`), by the auditorium's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It applies to shows that begin before this time. With one not later than `from` it goes on past midnight: the hours after
    /// midnight belong to the day on which they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Of several cards that apply, the one with the lowest position is taken.
    #[serde(default)]
    pub position: u16,
}

/// The most that a card may have of each: a form that people can still read.
const TYPES_MAX: usize = 30;
const SURCHARGES_MAX: usize = 10;
const FEES_MAX: usize = 10;

impl PriceCardFields {
    /// Whether the card applies to a show that begins on this day at this time (`HH:MM`).
    pub fn applies(&self, weekday: Weekday, time: &str) -> bool {
        let on_day = self.weekdays.as_ref().is_none_or(|days| days.contains(&weekday));
        // Times of one form compare as their texts do.
        let begun = self.from.as_deref().is_none_or(|from| from <= time);
        let not_over = self.until.as_deref().is_none_or(|until| time < until);
        let over_midnight = matches!((&self.from, &self.until), (Some(from), Some(until)) if until <= from);
        on_day && if over_midnight { begun || not_over } else { begun && not_over }
    }

    fn validate(&self, fields: &mut Fields) {
        fields.line(&self.name, 1..=60, "name");
        self.validate_prices(fields);
        self.validate_surcharges(fields);
        self.validate_fees(fields);
        fields.range(self.tax.tickets, 0..=100_000, "tax.tickets");
        fields.range(self.tax.fees, 0..=100_000, "tax.fees");
        if let Some(weekdays) = &self.weekdays {
            let distinct: HashSet<_> = weekdays.iter().collect();
            let each_once = !weekdays.is_empty() && distinct.len() == weekdays.len();
            fields.check(each_once, "weekdays", Rule::Weekdays);
        }
        for (time, field) in [(&self.from, "from"), (&self.until, "until")] {
            fields.check(time.as_deref().is_none_or(is_clock_time), field, Rule::Time);
        }
        fields.range(self.position, 0..=999, "position");
    }

    fn validate_prices(&self, fields: &mut Fields) {
        fields.count(self.prices.len(), 1..=TYPES_MAX, "prices", "ticket types");
        for (of, kinds) in &self.prices {
            fields.check(!kinds.is_empty(), &format!("prices.{of}"), Rule::PriceMissing { kind: None });
            for (kind, amount) in kinds {
                let field = format!("prices.{of}.{}", kind.name());
                fields.check(*kind != SeatKind::Gap, &field, Rule::Gap);
                if let Err(rule) = self.currency.check_price(*amount) {
                    fields.check(false, &field, rule);
                }
            }
        }
    }

    fn validate_surcharges(&self, fields: &mut Fields) {
        fields.count(self.surcharges.len(), 0..=SURCHARGES_MAX, "surcharges", "surcharges");
        let mut seen = HashSet::new();
        for (index, surcharge) in self.surcharges.iter().enumerate() {
            let field = format!("surcharges[{index}]");
            fields.check(seen.insert(&surcharge.code), &format!("{field}.code"), Rule::Twice);
            fields.check(!surcharge.name.is_empty(), &format!("{field}.name"), Rule::Required);
            surcharge.name.validate(fields, &format!("{field}.name"));
            self.validate_extra(surcharge.amount, &format!("{field}.amount"), fields);
            if let Some(minutes) = surcharge.minutes_over {
                fields.range(minutes, 1..=1000, &format!("{field}.minutesOver"));
            }
        }
    }

    fn validate_fees(&self, fields: &mut Fields) {
        fields.count(self.fees.len(), 0..=FEES_MAX, "fees", "fees");
        let mut seen = HashSet::new();
        for (index, fee) in self.fees.iter().enumerate() {
            let field = format!("fees[{index}]");
            fields.check(seen.insert(&fee.code), &format!("{field}.code"), Rule::Twice);
            fields.check(!fee.name.is_empty(), &format!("{field}.name"), Rule::Required);
            fee.name.validate(fields, &format!("{field}.name"));
            self.validate_extra(fee.amount, &format!("{field}.amount"), fields);
            fields.count(fee.channels.len(), 1..=3, &format!("{field}.channels"), "channels");
            let channels: HashSet<_> = fee.channels.iter().collect();
            fields.check(channels.len() == fee.channels.len(), &format!("{field}.channels"), Rule::Twice);
        }
    }

    /// An amount beside a price: it may be less than what the provider charges alone.
    fn validate_extra(&self, amount: i64, field: &str, fields: &mut Fields) {
        fields.range(amount, 0..=self.currency.greatest(), field);
        let whole = Rule::Multiple { step: self.currency.step(), currency: self.currency };
        fields.check(self.currency.is_whole(amount), field, whole);
    }
}

/// `HH:MM` with two digits each: such times compare as their texts do.
fn is_clock_time(text: &str) -> bool {
    text.len() == 5 && is_time(text)
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CreatePriceCard(pub PriceCardFields);

impl Request for CreatePriceCard {
    const SUBJECT: &'static str = "rpc.movie.create_price_card";
    const ACCESS: Access = Access::Admin;
    type Answer = PriceCard;
    fn validate(&self, fields: &mut Fields) {
        self.0.validate(fields);
    }
}

/// Replaces all fields. Refused where the row has another version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePriceCard {
    pub id: Uuid,
    pub version: i64,
    pub of: PriceCardFields,
}

impl Request for UpdatePriceCard {
    const SUBJECT: &'static str = "rpc.movie.update_price_card";
    const ACCESS: Access = Access::Admin;
    type Answer = PriceCard;
    fn validate(&self, fields: &mut Fields) {
        self.of.validate(fields);
    }
}

/// Tariffs that were copied from it stay.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletePriceCard {
    pub id: Uuid,
}

impl Request for DeletePriceCard {
    const SUBJECT: &'static str = "rpc.movie.delete_price_card";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

/// By position and name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ListPriceCards {
    pub paging: Paging,
}

impl Request for ListPriceCards {
    const SUBJECT: &'static str = "rpc.movie.list_price_cards";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<PriceCard>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

/// The card that a showtime on this day at this time would get.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MatchPriceCard {
    pub weekday: Weekday,
    /// `HH:MM`, by the auditorium's clock.
    pub time: String,
}

impl Request for MatchPriceCard {
    const SUBJECT: &'static str = "rpc.movie.match_price_card";
    const ACCESS: Access = Access::Admin;
    type Answer = PriceCardMatch;
    fn validate(&self, fields: &mut Fields) {
        fields.check(is_clock_time(&self.time), "time", Rule::Time);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriceCardMatch {
    /// Absent where no card applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<PriceCard>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(weekdays: Option<Vec<Weekday>>, from: Option<&str>, until: Option<&str>) -> PriceCardFields {
        PriceCardFields {
            name: "Cheap Tuesday".to_owned(),
            currency: Currency::EUR,
            prices: BTreeMap::new(),
            surcharges: vec![],
            fees: vec![],
            tax: TaxRules::default(),
            weekdays,
            from: from.map(str::to_owned),
            until: until.map(str::to_owned),
            position: 0,
        }
    }

    #[test]
    fn a_card_applies_on_its_days_and_at_its_times() {
        use Weekday::{Monday, Tuesday};
        let always = card(None, None, None);
        assert!(always.applies(Monday, "00:00"));
        let tuesday = card(Some(vec![Tuesday]), None, Some("17:30"));
        assert!(tuesday.applies(Tuesday, "17:29") && !tuesday.applies(Tuesday, "17:30"));
        assert!(!tuesday.applies(Monday, "12:00"));
        let evening = card(None, Some("17:00"), None);
        assert!(evening.applies(Monday, "17:00") && !evening.applies(Monday, "16:59"));
        let night = card(None, Some("22:00"), Some("04:00"));
        assert!(night.applies(Monday, "23:00") && night.applies(Monday, "03:59"));
        assert!(!night.applies(Monday, "04:00") && !night.applies(Monday, "21:59"));
    }
}

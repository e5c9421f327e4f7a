//! The site: the cinema's own name, legal data, look, links, and the rules that its orders are made by.
//!
//! Movie owns the rows. Other hosts and the gateways keep a copy: by `site.updated`, and by asking.
//! Invariant: until staff have saved a site, its version is [`UNSAVED`], and each host goes by the settings of its own
//! environment. From then on the site's fields are what counts everywhere.

mod changed;
mod request;
mod theme;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::auth::validate_email;
use super::reservation::RefundPolicy;
use super::{Currency, Fields, Locale, Rule, Timestamp, events};

pub use changed::changed_fields;
pub use request::{GetSite, ListSites, UpdateSite};
pub use theme::{CONTRAST_MIN, Colours, Theme, contrast};

/// The site that a migration makes. What carries no site's id is of this one.
pub const DEFAULT_SITE: Uuid = Uuid::from_u128(0x0199_f5c0_0000_7000_8000_0000_0000_0001);
/// The version of a site that nobody has saved yet.
pub const UNSAVED: i64 = 1;

/// The longest text of one line, such as an address.
const LINE_MAX: usize = 200;
const LINK_MAX: usize = 500;
/// A year, in minutes.
const UNTIL_MINUTES_MAX: i64 = 525_600;
/// A week, in minutes.
const CUTOFF_MINUTES_MAX: i64 = 10_080;

/// [`DEFAULT_SITE`], for fields that older rows and events do not have.
pub fn default_site() -> Uuid {
    DEFAULT_SITE
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    pub id: Uuid,
    #[serde(flatten)]
    pub of: SiteFields,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Site {
    /// Whether staff have saved it.
    pub fn is_saved(&self) -> bool {
        self.version > UNSAVED
    }
}

/// What staff say of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteFields {
    /// The short name for addresses and files: 1–40 small letters, digits and dashes.
    pub slug: String,
    /// The cinema's name, as guests see it everywhere.
    pub name: String,
    #[serde(default)]
    pub legal: Legal,
    /// ISO 3166-1, two capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// IANA name: in it the year of a receipt's number begins.
    pub time_zone: String,
    /// The default currency of new prices.
    pub currency: Currency,
    /// The languages of the page, the default first.
    pub languages: Vec<Locale>,
    #[serde(default)]
    pub theme: Theme,
    #[serde(default)]
    pub contact: Contact,
    /// The name of the sender of mails; without it the site's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail_sender: Option<String>,
    /// Of new orders; a showtime may have another.
    pub refund_policy: RefundPolicy,
    /// Of new orders; a showtime may have others.
    #[serde(default)]
    pub sales_cutoffs: SalesCutoffs,
    #[serde(default)]
    pub links: Links,
}

/// Who the seller is by law.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Legal {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// The postal address in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The commercial register with the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// The VAT id or tax id, which receipts show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<String>,
    /// The number by which the film board and distributors know the cinema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub film_board_id: Option<String>,
}

/// How guests reach the cinema.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// Replies to mails go there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// Pages that the law asks for: addresses, or paths on this server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<String>,
}

/// When sales end before a showtime begins, for guests. Staff sell until the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SalesCutoffs {
    /// Sales on the web end so many minutes before the start; 0: with the start.
    #[serde(default)]
    pub web_minutes: u32,
}

/// What a showtime has otherwise than its site; what is absent is as the site says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeOverrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_policy: Option<RefundPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sales_cutoffs: Option<SalesCutoffs>,
}

impl ShowtimeOverrides {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// When sales on the web end, if that is before the start; `of_site` are its site's cut-offs.
    pub fn sales_end_at(&self, of_site: SalesCutoffs, starts_at: Timestamp) -> Option<Timestamp> {
        let before = self.sales_cutoffs.unwrap_or(of_site).web();
        (!before.is_zero()).then(|| starts_at.minus(before))
    }

    /// Checks the values; `field` is the path of this object.
    pub fn validate(&self, fields: &mut Fields, field: &str) {
        if let Some(policy) = &self.refund_policy {
            validate_policy(policy, fields, &format!("{field}.refundPolicy"));
        }
        if let Some(cutoffs) = &self.sales_cutoffs {
            cutoffs.validate(fields, &format!("{field}.salesCutoffs"));
        }
    }
}

impl SalesCutoffs {
    /// How long before the start sales on the web end.
    pub fn web(self) -> Duration {
        Duration::from_secs(60 * u64::from(self.web_minutes))
    }

    fn validate(&self, fields: &mut Fields, field: &str) {
        fields.range(self.web_minutes, 0..=CUTOFF_MINUTES_MAX, &format!("{field}.webMinutes"));
    }
}

fn validate_policy(policy: &RefundPolicy, fields: &mut Fields, field: &str) {
    let until = i64::try_from(policy.until_minutes).unwrap_or(i64::MAX);
    fields.range(until, 0..=UNTIL_MINUTES_MAX, &format!("{field}.untilMinutes"));
    fields.range(policy.percent, 0..=100, &format!("{field}.percent"));
}

impl SiteFields {
    /// A site of this name with the defaults of everything else.
    pub fn named(name: &str) -> Self {
        Self {
            slug: "main".to_owned(),
            name: name.to_owned(),
            legal: Legal::default(),
            country: None,
            time_zone: "UTC".to_owned(),
            currency: Currency::EUR,
            languages: Locale::ALL.to_vec(),
            theme: Theme::default(),
            contact: Contact::default(),
            mail_sender: None,
            refund_policy: RefundPolicy { until_minutes: 120, percent: 100 },
            sales_cutoffs: SalesCutoffs::default(),
            links: Links::default(),
        }
    }

    /// Checks everything but the time zone, whose names only the movie host has.
    pub(super) fn validate(&self, fields: &mut Fields) {
        fields.check(is_slug(&self.slug), "slug", Rule::Slug);
        fields.line(&self.name, 1..=100, "name");
        self.legal.validate(fields);
        let is_code = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        fields.check(self.country.as_ref().is_none_or(is_code), "country", Rule::Country);
        fields.count(self.languages.len(), 1..=Locale::ALL.len(), "languages", "languages");
        let is_twice =
            Locale::ALL.iter().any(|one| self.languages.iter().filter(|of| *of == one).count() > 1);
        fields.check(!is_twice, "languages", Rule::Twice);
        self.theme.validate(fields);
        if let Some(email) = &self.contact.email {
            validate_email(email, "contact.email", fields);
        }
        optional_line(self.contact.phone.as_ref(), 40, "contact.phone", fields);
        optional_line(self.mail_sender.as_ref(), 100, "mailSender", fields);
        validate_policy(&self.refund_policy, fields, "refundPolicy");
        self.sales_cutoffs.validate(fields, "salesCutoffs");
        let Links { imprint, terms, privacy } = &self.links;
        for (link, field) in [(imprint, "imprint"), (terms, "terms"), (privacy, "privacy")] {
            check_link(link.as_ref(), &format!("links.{field}"), fields);
        }
    }
}

impl Legal {
    fn validate(&self, fields: &mut Fields) {
        let Self { company, address, register, vat_id, film_board_id } = self;
        let lines = [
            (company, LINE_MAX, "company"),
            (address, LINE_MAX, "address"),
            (register, LINE_MAX, "register"),
            (vat_id, 30, "vatId"),
            (film_board_id, 30, "filmBoardId"),
        ];
        for (text, most, field) in lines {
            optional_line(text.as_ref(), most, &format!("legal.{field}"), fields);
        }
    }
}

fn optional_line(text: Option<&String>, most: usize, field: &str, fields: &mut Fields) {
    if let Some(text) = text {
        fields.line(text, 1..=most, field);
    }
}

fn is_slug(slug: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&slug.len()) && slug.bytes().all(is_plain) && !slug.starts_with('-')
}

fn check_link(link: Option<&String>, field: &str, fields: &mut Fields) {
    fields.check(link.is_none_or(|link| is_link(link)), field, Rule::Link { max: LINK_MAX as u64 });
}

/// An address of the web, or a path on this server. Nothing that a browser would run, and nothing that ends an attribute.
fn is_link(link: &str) -> bool {
    let rest = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
    let has_host = rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphanumeric()));
    let is_path = link.starts_with('/') && !link.starts_with("//");
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte);
    (has_host || is_path) && link.len() <= LINK_MAX && link.bytes().all(is_plain)
}

/// A site was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteUpdated {
    #[serde(flatten)]
    pub site: Site,
    /// Who saved it.
    pub by: Uuid,
    /// The paths of the fields that it changed, such as `theme.logoUrl`. Empty in events from before they were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

events! {
    SiteUpdated => "site.updated",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(change: impl FnOnce(&mut SiteFields)) -> Vec<String> {
        let mut site = SiteFields::named("Lichtspiele Köln");
        change(&mut site);
        let mut fields = Fields::default();
        site.validate(&mut fields);
        let errors = fields.into_result().err().into_iter().flat_map(|problem| problem.errors);
        errors.map(|error| format!("{} {}", error.field, error.code)).collect()
    }

    #[test]
    fn a_site_with_a_name_and_defaults_is_valid() {
        assert_eq!(wrong(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_field_is_named_with_the_code_of_its_rule() {
        let policy = RefundPolicy { until_minutes: u64::MAX, percent: 101 };
        assert_eq!(wrong(|site| site.slug = "Köln".into()), ["slug slug"]);
        assert_eq!(wrong(|site| site.name = " ".into()), ["name length"]);
        assert_eq!(wrong(|site| site.country = Some("de".into())), ["country country"]);
        assert_eq!(wrong(|site| site.languages.clear()), ["languages count"]);
        assert_eq!(wrong(|site| site.languages = vec![Locale::De, Locale::De]), ["languages twice"]);
        assert_eq!(wrong(|site| site.legal.address = Some("a\nb".into())), ["legal.address one-line"]);
        assert_eq!(wrong(|site| site.contact.email = Some("nobody".into())), ["contact.email email"]);
        assert_eq!(
            wrong(|site| site.refund_policy = policy),
            ["refundPolicy.untilMinutes range", "refundPolicy.percent range"]
        );
        assert_eq!(wrong(|site| site.sales_cutoffs.web_minutes = 20_000), ["salesCutoffs.webMinutes range"]);
    }

    #[test]
    fn web_sales_end_by_the_showtimes_rule_before_the_sites() {
        let start = Timestamp::from(time::macros::datetime!(2026-05-01 20:00 UTC));
        let (of_site, of_showtime) =
            (SalesCutoffs { web_minutes: 30 }, |web_minutes| Some(SalesCutoffs { web_minutes }));
        let end = |own| ShowtimeOverrides { sales_cutoffs: own, ..Default::default() };
        let at = |minutes: u64| Some(start.minus(Duration::from_secs(60 * minutes)));
        assert_eq!(end(None).sales_end_at(of_site, start), at(30));
        assert_eq!(end(of_showtime(10)).sales_end_at(of_site, start), at(10));
        assert_eq!(end(of_showtime(0)).sales_end_at(of_site, start), None);
        assert_eq!(end(None).sales_end_at(SalesCutoffs::default(), start), None);
    }

    #[test]
    fn a_link_leads_to_a_page_and_runs_nothing() {
        for good in ["https://kino.example/imprint?x=1#a", "http://kino.example", "/imprint"] {
            assert!(is_link(good), "{good}");
        }
        for bad in
            ["", "javascript:alert(1)", "//evil.example", "https://", "kino.example", "/a b", "/\"x", "/a<b"]
        {
            assert!(!is_link(bad), "{bad}");
        }
    }
}

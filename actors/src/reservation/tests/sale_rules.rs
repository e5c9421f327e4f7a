//! The rules that an order is made by: of the settings, of the site, of the showtime.

use std::time::Duration;

use bus::contract::site::{DEFAULT_SITE, SalesCutoffs, ShowtimeOverrides, Site, SiteFields};

use super::holds::settings;
use super::pricing::showtime;
use super::*;
use crate::config::ReservationSettings;
use crate::reservation::model::Showtime;
use crate::reservation::order::{begin, decide};
use crate::reservation::sale_rules::effective;
use crate::reservation::seat_map::SeatMap;

fn policy(percent: u8) -> RefundPolicy {
    RefundPolicy { until_minutes: 30, percent }
}

fn site(percent: u8, web_minutes: u32) -> Site {
    let of = SiteFields {
        refund_policy: policy(percent),
        sales_cutoffs: SalesCutoffs { web_minutes },
        ..SiteFields::named("Kino")
    };
    Site { id: DEFAULT_SITE, of, version: 2, created_at: at(0), updated_at: at(0) }
}

#[test]
fn a_showtimes_own_rules_come_before_the_sites_and_those_before_the_settings() {
    let rules = |site: Option<&Site>, overrides| {
        let rules = effective(&settings(), site, &Showtime { overrides, ..showtime() });
        (rules.refund_until.as_secs() / 60, rules.refund_percent, rules.sales_end)
    };
    let (none, minutes) = (ShowtimeOverrides::default(), |count: u64| Duration::from_secs(60 * count));
    assert_eq!(rules(None, none), (120, 100, Duration::ZERO));
    assert_eq!(rules(Some(&site(50, 10)), none), (30, 50, minutes(10)));
    let cutoffs = SalesCutoffs { web_minutes: 5 };
    let overrides = ShowtimeOverrides { sales_cutoffs: Some(cutoffs), ..none };
    assert_eq!(rules(Some(&site(50, 10)), overrides), (30, 50, minutes(5)), "each rule by itself");
    let overrides = ShowtimeOverrides { refund_policy: Some(policy(20)), sales_cutoffs: None };
    assert_eq!(rules(None, overrides), (30, 20, Duration::ZERO));
}

#[test]
fn a_hold_after_the_end_of_the_sale_is_refused_whenever_the_sale_begins() {
    let showtime = Showtime { on_sale_at: Some(at(35_000)), starts_at: at(36_000), ..showtime() };
    let decided = |sales_end: u64, now: i64| {
        let rules = ReservationSettings { sales_end: Duration::from_secs(sales_end), ..settings() };
        let map = SeatMap::new(&showtime.layout, &showtime.tariff.prices(), 0);
        decide(&super::pricing::by_seats(&["A1"]), &showtime, &map, &rules, Locale::En, at(now)).err()
    };
    assert_eq!(decided(1_200, 34_000), Some(Rejection::NotOnSaleYet { on_sale_at: at(35_000) }));
    assert_eq!(decided(1_200, 34_900), Some(Rejection::SalesEnded), "it will not be sold any more");
    assert_eq!((decided(600, 35_399), decided(600, 35_400)), (None, Some(Rejection::SalesEnded)));
    assert_eq!((decided(0, 35_999), decided(0, 36_000)), (None, Some(Rejection::ShowtimeStarted)), "staff");
}

#[test]
fn an_order_freezes_its_rules_and_its_site() {
    let rules = effective(&settings(), Some(&site(50, 10)), &showtime());
    let quote =
        bus::contract::tariff::Quote { lines: vec![], fees: vec![], taxes: vec![], total: euros(1200) };
    let terms = begin(quote, &showtime(), None, Locale::En, &rules, at(0)).next.terms;
    assert_eq!((terms.refund_policy, terms.sales_cutoffs.web_minutes), (policy(50), 10));
    assert_eq!((terms.refund_until, terms.site_id), (at(36_000 - 1_800), DEFAULT_SITE));
    // A checkpoint of an older host has neither cut-offs nor a site.
    let mut older = serde_json::to_value(&terms).unwrap();
    for field in ["salesCutoffs", "siteId"] {
        older.as_object_mut().unwrap().remove(field).unwrap();
    }
    let read: Terms = serde_json::from_value(older).unwrap();
    assert_eq!((read.site_id, read.sales_cutoffs), (DEFAULT_SITE, SalesCutoffs::default()));
}

//! The rules that an order is made by: the site's, where staff have saved it, else those of this host's settings; what a showtime
//! has otherwise comes before both. An order freezes them (`Terms`), so that a later change touches no order.

use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::site::{Site, SiteFields};

use super::Env;
use super::model::Showtime;
use crate::config::ReservationSettings;

impl Env {
    /// The settings for an order of this showtime. Staff sell until the start.
    pub fn settings_for(&self, showtime: &Showtime, role: Role) -> ReservationSettings {
        let site = self.sites.of(showtime.site_id);
        let settings = effective(&self.settings, site.as_deref(), showtime);
        let sales_end = if role >= Role::Admin { Duration::ZERO } else { settings.sales_end };
        ReservationSettings { sales_end, ..settings }
    }
}

/// The settings with the rules of the site and of the showtime in their place.
pub fn effective(
    settings: &ReservationSettings,
    site: Option<&Site>,
    showtime: &Showtime,
) -> ReservationSettings {
    let of_site = |site: &Site| {
        let SiteFields { refund_policy, sales_cutoffs, .. } = site.of;
        (refund_policy, sales_cutoffs)
    };
    let (of_site, overrides) = (site.map(of_site), showtime.overrides);
    let mut rules = settings.clone();
    if let Some(policy) = overrides.refund_policy.or(of_site.map(|(policy, _)| policy)) {
        rules.refund_until = minutes(policy.until_minutes);
        rules.refund_percent = policy.percent;
    }
    if let Some(cutoffs) = overrides.sales_cutoffs.or(of_site.map(|(_, cutoffs)| cutoffs)) {
        rules.sales_end = cutoffs.web();
    }
    rules
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Rules are in whole minutes.
pub fn whole_minutes(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs() / 60).unwrap_or(u32::MAX)
}

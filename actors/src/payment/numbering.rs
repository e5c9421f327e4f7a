//! Gives receipts and credit notes their numbers, after the sale: each host looks every five seconds for documents without
//! one.
//!
//! Invariant: late, but never missing, never twice, and without gaps: what is due is in the rows, and a batch is one commit under
//! the lock of its series. A sale waits for none of it.

use std::time::Duration;

use bus::Failure;
use bus::contract::payment::Seller;
use bus::contract::site::{DEFAULT_SITE, Site, SiteFields};
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;

use super::store::Rows;
use super::store::receipt::{self as store, Numbering};
use super::{Env, periodic};
use crate::config::SellerSettings;
use crate::delivery::{Change, Outcome, read_failure};
use crate::zone;

/// Longer shares a batch's exchanges with Postgres among more sales; a customer who asks for the receipt right after the payment
/// asks again after it.
const EVERY: Duration = Duration::from_secs(5);

/// What is printed on each document of this host, as long as staff have not saved the site.
pub struct Issuer {
    seller: Seller,
    zone: TimeZone,
    is_signed: bool,
}

impl Issuer {
    pub fn new(settings: &SellerSettings, is_signed: bool) -> Self {
        let SellerSettings { name, address, tax_id, zone } = settings;
        let time_zone = zone.iana_name().unwrap_or("UTC").to_owned();
        let seller = Seller {
            name: name.clone(),
            company: None,
            address: address.clone(),
            tax_id: tax_id.clone(),
            time_zone,
        };
        Self { seller, zone: zone.clone(), is_signed }
    }

    /// The seller, and the zone in which a year of receipts begins.
    pub(super) fn of(&self, site: Option<&Site>) -> (Seller, TimeZone) {
        let Some(site) = site else { return (self.seller.clone(), self.zone.clone()) };
        let SiteFields { name, legal, time_zone, .. } = &site.of;
        let seller = Seller {
            name: name.clone(),
            company: legal.company.clone().filter(|company| company != name),
            address: legal.address.clone(),
            tax_id: legal.vat_id.clone(),
            time_zone: time_zone.clone(),
        };
        // A zone that only a newer movie host knows: the year changes by the old one, hours off at most.
        (seller, zone::named(time_zone).unwrap_or_else(|| self.zone.clone()))
    }
}

/// Runs until `stop`.
pub async fn run(env: Env, stop: CancellationToken) -> anyhow::Result<()> {
    periodic::repeat(EVERY, &stop, "receipts got no numbers", || number_due(&env)).await;
    Ok(())
}

/// Batch after batch until nothing is due, or another host is at work.
async fn number_due(env: &Env) -> Result<(), Failure> {
    loop {
        let due = store::due(&env.pool).await.map_err(read_failure)?;
        if due == 0 {
            return Ok(());
        }
        let at = env.clock.now();
        let (seller, zone) = env.issuer.of(env.sites.of(DEFAULT_SITE).as_deref());
        let today = zone::day_of(at, &zone).ok_or_else(|| Failure::poison("a time without a day"))?;
        let year = i16::try_from(today.year()).map_err(|_| Failure::poison("a year beyond all"))?;
        let numbering = Numbering { year, at, seller, is_signed: env.issuer.is_signed };
        match env.journal.commit(Change::new(Rows::Numbering(numbering))).await {
            Outcome::Committed { .. } if due > store::BATCH_MAX => {}
            Outcome::Committed { .. } | Outcome::Stale => return Ok(()),
            Outcome::Failed(failure) => return Err(failure),
            other @ (Outcome::Repeated(_) | Outcome::Rejected(_)) => {
                return Err(Failure::poison(format!("numbers were refused: {other:?}")));
            }
        }
    }
}

//! A host's copy of the sites, which movie owns: in memory for every decision, and in a table for the next start.
//!
//! `bus::site_feed` renews it.
//! Invariant: a site that staff have never saved is not in the copy: then the host goes by its own settings.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use bus::contract::site::{GetSite, Site, SiteUpdated};
use bus::contract::{Event, Problem};
use bus::service::Ask;
use bus::site_feed::{self, SiteKeeper};
use bus::{Bus, Context};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::delivery::{store_site, stored_sites};
use crate::host::{DomainBuilder, Stage};
use crate::supervision::Child;

/// The sites that staff have saved, by id.
#[derive(Debug, Default)]
pub struct SiteCopy(RwLock<BTreeMap<Uuid, Arc<Site>>>);

impl SiteCopy {
    /// The copy as it was stored last.
    pub async fn load(pool: &PgPool) -> anyhow::Result<Arc<Self>> {
        let copy = Self::default();
        stored_sites(pool).await?.into_iter().for_each(|site| drop(copy.learn(site)));
        Ok(Arc::new(copy))
    }

    /// `None` where staff have not saved it.
    pub fn of(&self, id: Uuid) -> Option<Arc<Site>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).get(&id).cloned()
    }

    /// Takes a newer version; returns it where it is one.
    fn learn(&self, site: Site) -> Option<Arc<Site>> {
        let mut sites = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_newer = sites.get(&site.id).is_none_or(|known| known.version < site.version);
        if !site.is_saved() || !is_newer {
            return None;
        }
        let site = Arc::new(site);
        sites.insert(site.id, site.clone());
        Some(site)
    }

    /// The worker that renews the copy.
    pub fn child(self: &Arc<Self>, builder: &DomainBuilder) -> Child {
        let (copy, bus, pool) = (self.clone(), builder.bus.clone(), builder.database.pool.clone());
        builder.worker(Stage::Intake, "sites", move |stop| {
            let keeper = Keeper { copy: copy.clone(), bus: bus.clone(), pool: pool.clone() };
            async move {
                site_feed::keep(&keeper, &stop).await;
                Ok(())
            }
        })
    }

    /// Takes a newer version into memory first: it counts although the database is away.
    async fn note(&self, site: Site, pool: &PgPool) {
        let Some(site) = self.learn(site) else { return };
        tracing::info!(site = %site.id, version = site.version, "a site was changed");
        if let Err(error) = store_site(pool, &site).await {
            tracing::warn!(%error, "the site is not stored; the next start asks again");
        }
    }
}

/// What renews the copy of this host.
struct Keeper {
    copy: Arc<SiteCopy>,
    bus: Bus,
    pool: PgPool,
}

impl SiteKeeper for Keeper {
    fn subscribe(&self) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>> {
        async {
            let notices = self.bus.client.subscribe(SiteUpdated::SUBJECT).await;
            let notices = notices.map_err(|error| Problem::unavailable(error.to_string()))?;
            Ok(notices.map(|notice| notice.payload).boxed())
        }
        .boxed()
    }

    fn ask(&self) -> BoxFuture<'_, Result<(), Problem>> {
        async {
            let site = self.bus.ask(&GetSite {}, &Ask::new(Context::new())).await?;
            self.copy.note(site, &self.pool).await;
            Ok(())
        }
        .boxed()
    }

    fn reconnects(&self) -> watch::Receiver<u64> {
        self.bus.connections()
    }

    fn take(&self, site: Site) -> BoxFuture<'_, ()> {
        self.copy.note(site, &self.pool).boxed()
    }
}

#[cfg(test)]
mod tests {
    use bus::contract::Timestamp;
    use bus::contract::site::{DEFAULT_SITE, SiteFields};

    use super::*;

    fn site(name: &str, version: i64) -> Site {
        let at = Timestamp::wall_clock();
        Site { id: DEFAULT_SITE, of: SiteFields::named(name), version, created_at: at, updated_at: at }
    }

    #[test]
    fn only_a_newer_version_of_a_saved_site_is_taken() {
        let copy = SiteCopy::default();
        assert!(copy.learn(site("of the environment", 1)).is_none());
        assert!(copy.of(DEFAULT_SITE).is_none());
        assert!(copy.learn(site("Lichtspiele", 3)).is_some());
        assert!(copy.learn(site("Older", 2)).is_none() && copy.learn(site("Same", 3)).is_none());
        assert_eq!(copy.of(DEFAULT_SITE).unwrap().of.name, "Lichtspiele");
    }
}

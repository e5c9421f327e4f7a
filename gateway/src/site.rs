//! The site as this gateway knows it: for the shell of every page, and for `GET /v1/site` while movie is away.
//!
//! `bus::site_feed` renews it. Until movie has answered for the first time, the name is that of the settings.

use std::sync::{Arc, RwLock};

use bus::Context;
use bus::contract::site::{DEFAULT_SITE, GetSite, Site, SiteFields, SiteUpdated};
use bus::contract::{Event, Problem, Timestamp};
use bus::service::Ask;
use bus::site_feed::{self, SiteKeeper};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::hosts::Hosts;

/// The version of the site that is made of settings alone: older than every stored one.
const OF_SETTINGS: i64 = 0;

pub struct SiteCache {
    hosts: Arc<dyn Hosts>,
    known: RwLock<Arc<Site>>,
}

impl SiteCache {
    pub fn new(hosts: Arc<dyn Hosts>, of_settings: SiteFields) -> Arc<Self> {
        let now = Timestamp::wall_clock();
        let site = Site {
            id: DEFAULT_SITE,
            of: of_settings,
            version: OF_SETTINGS,
            created_at: now,
            updated_at: now,
        };
        Arc::new(Self { hosts, known: RwLock::new(Arc::new(site)) })
    }

    pub fn get(&self) -> Arc<Site> {
        self.known.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Takes the site unless a newer version is known. Of the same version it may differ: before staff have saved it, it is made
    /// of movie's settings.
    pub fn learn(&self, site: Site) {
        let mut known = self.known.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if site.id == DEFAULT_SITE && site.version >= known.version {
            *known = Arc::new(site);
        }
    }

    /// The answer to `GET /v1/site`: movie's, or while it is away the last one.
    pub async fn answer(&self, ask: &Ask) -> Result<Bytes, Problem> {
        match self.read(ask).await {
            Ok(bytes) => Ok(bytes),
            Err(problem) => {
                let known = self.get();
                if problem.status != 503 || known.version == OF_SETTINGS {
                    return Err(problem);
                }
                Ok(serde_json::to_vec(&*known).expect("plain fields always serialize").into())
            }
        }
    }

    async fn read(&self, ask: &Ask) -> Result<Bytes, Problem> {
        let bytes = self.hosts.request(&GetSite {}, ask).await?;
        match serde_json::from_slice(&bytes) {
            Ok(site) => self.learn(site),
            // Movie is newer than this gateway, which goes on with what it knows.
            Err(error) => tracing::warn!(%error, "the site is not readable"),
        }
        Ok(bytes)
    }

    /// Keeps it up to date until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        site_feed::keep(&*self, &stop).await;
    }
}

impl SiteKeeper for SiteCache {
    fn subscribe(&self) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>> {
        self.hosts.subscribe(SiteUpdated::SUBJECT.to_owned())
    }

    fn ask(&self) -> BoxFuture<'_, Result<(), Problem>> {
        async { self.read(&Ask::new(Context::new())).await.map(|_| ()) }.boxed()
    }

    fn reconnects(&self) -> watch::Receiver<u64> {
        self.hosts.reconnects()
    }

    fn take(&self, site: Site) -> BoxFuture<'_, ()> {
        self.learn(site);
        std::future::ready(()).boxed()
    }
}

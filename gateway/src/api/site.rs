//! REST of the site: the cinema's own name, look, links and rules.

use std::sync::Arc;

use bus::contract::Page;
use bus::contract::site::{ListSites, Site, SiteFields, UpdateSite};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Caller, Of};
use crate::replacement::Replacement;
use crate::site::SiteCache;

pub struct Sites {
    pub hosts: Arc<dyn Hosts>,
    pub site: Arc<SiteCache>,
}

#[OpenApi(tag = "Domain::Movie")]
impl Sites {
    /// The cinema
    ///
    /// Its name, legal data, look, links and rules. Until staff have saved it, its `version` is 1, and it is as the settings of the
    /// deployment describe it. While the movie host is away, the answer is the last one that is known.
    #[oai(path = "/v1/site", method = "get")]
    async fn get_site(&self, caller: Caller) -> Answered<Site> {
        Ok(Answer::new(self.site.answer(&caller.0).await?))
    }

    /// All sites
    ///
    /// Today there is one.
    #[oai(path = "/v1/sites", method = "get")]
    async fn list_sites(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Site>> {
        self.hosts.forward(&caller, ListSites { paging: paging(page.0, page_size.0) }).await
    }

    /// Replace a site
    ///
    /// All fields, and the `version` that they replace: 409 `version-changed` where it is not the current one. The refund policy and
    /// the end of sales count for new orders of showtimes that have no others (`overrides`); orders keep theirs. Texts and
    /// grounds of `theme.colours` need a contrast of 4.5:1 (422 with the rule `contrast`).
    #[oai(path = "/v1/sites/:id", method = "put")]
    async fn update_site(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Replacement<SiteFields>,
    ) -> Answered<Site> {
        let request = UpdateSite { id: id.0.0, version: body.version, of: body.of };
        let answer = self.hosts.submit(&caller, request).await?;
        // The next page from this gateway shows it; the others learn it by the event.
        if let Ok(site) = serde_json::from_slice(&answer) {
            self.site.learn(site);
        }
        Ok(Answer::new(answer))
    }
}

//! Requests about sites.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Site, SiteFields};
use crate::contract::{Access, Fields, Page, Paging, Request};

/// The site of this deployment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetSite {}

impl Request for GetSite {
    const SUBJECT: &'static str = "rpc.movie.get_site";
    const ACCESS: Access = Access::Public;
    type Answer = Site;
}

/// All sites; today there is one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ListSites {
    pub paging: Paging,
}

impl Request for ListSites {
    const SUBJECT: &'static str = "rpc.movie.list_sites";
    const ACCESS: Access = Access::Admin;
    type Answer = Page<Site>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

/// Replaces all fields. Refused where the row has another version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSite {
    pub id: Uuid,
    pub version: i64,
    pub of: SiteFields,
}

impl Request for UpdateSite {
    const SUBJECT: &'static str = "rpc.movie.update_site";
    const ACCESS: Access = Access::Admin;
    type Answer = Site;
    fn validate(&self, fields: &mut Fields) {
        self.of.validate(fields);
    }
}

//! Requests about sites: the cinema's own name, look and rules. Staff replace a whole row, over the version that they have seen.
//!
//! Until then the row has no fields, and the site is as the settings of this host describe it.

use std::sync::Arc;

use bus::contract::movie::Rejection;
use bus::contract::site::{DEFAULT_SITE, GetSite, ListSites, Site, SiteUpdated, UpdateSite, changed_fields};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::{Decision, writing};
use crate::delivery::read_failure;
use crate::movie::store::{self, Write};
use crate::movie::{Env, programme};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| update(env, call).boxed())).await?;
    server.serve_with(env, get).await?;
    server.serve_with(env, list).await
}

async fn update(env: &Env, call: &Call<UpdateSite>) -> Result<Decision, Problem> {
    let UpdateSite { id, version, of } = call.request.clone();
    let current = env.site(id).await?;
    if current.version != version {
        return Err(Rejection::VersionChanged.into());
    }
    programme::time_zone(&of.time_zone)?;
    let fields = changed_fields(&current.of, &of);
    let changed = Site { of, version: version + 1, updated_at: env.clock.now(), ..current };
    let event = SiteUpdated { site: changed.clone(), by: call.caller()?.user_id, changed: fields };
    let event = env.event(&event, changed.updated_at, &call.context);
    Decision::new(&changed, Write::Site(changed.clone()), vec![event])
}

async fn get(env: Arc<Env>, _: Call<GetSite>) -> Answered {
    json(&env.site(DEFAULT_SITE).await?)
}

async fn list(env: Arc<Env>, call: Call<ListSites>) -> Answered {
    let found = store::list_sites(&env.pool, &call.request.paging, &env.settings.site).await;
    json(&found.map_err(read_failure)?)
}

impl Env {
    pub(super) async fn site(&self, id: Uuid) -> Result<Site, Problem> {
        let found = store::sites(&self.pool, &[id], &self.settings.site).await.map_err(read_failure)?.pop();
        Ok(found.ok_or(Rejection::NoSuchSite)?)
    }
}

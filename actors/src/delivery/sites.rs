//! A domain's stored copy of the sites, in its own schema: what was known last, also while movie is away.

use std::time::Duration;

use bus::contract::site::Site;
use sqlx::PgPool;
use sqlx::types::Json;

use super::within;

/// A database that hangs must not hold up the stop of the host.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Every stored site.
pub async fn stored_sites(pool: &PgPool) -> Result<Vec<Site>, sqlx::Error> {
    let rows: Vec<(Json<Site>,)> = sqlx::query_as("select site from sites").fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(Json(site),)| site).collect())
}

/// Stores a site, unless a newer version is stored.
pub async fn store_site(pool: &PgPool, site: &Site) -> Result<(), sqlx::Error> {
    let put = sqlx::query(
        "insert into sites as kept (id, version, site) values ($1, $2, $3)
         on conflict (id) do update set version = excluded.version, site = excluded.site
         where kept.version < excluded.version",
    );
    let put = put.bind(site.id).bind(site.version).bind(Json(site));
    within(ANSWER_MAX, put.execute(pool)).await.map(drop)
}

//! SQL of sites. What nobody has saved yet has no fields: the caller gives those of the settings.

use bus::contract::site::{Site, SiteFields};
use bus::contract::{Page, Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::page::{Listing, timestamp};
use super::{Result, expect};

/// Replaces the version before. An uploaded logo stays as long as its address does.
pub async fn put_site(db: &mut PgConnection, site: &Site) -> Result<()> {
    let put = sqlx::query(
        "with replaced as (
           update media set touched_at = $3
           where id in (select logo_media from sites where id = $1 and fields #>> '{theme,logoUrl}' is distinct from $5)
         )
         update sites set fields = $2, updated_at = $3, version = $4,
           logo_media = case when fields #>> '{theme,logoUrl}' is distinct from $5 then null else logo_media end
         where id = $1 and version = $4 - 1",
    );
    let put = put
        .bind(site.id)
        .bind(Json(&site.of))
        .bind(site.updated_at.date_time())
        .bind(site.version)
        .bind(&site.of.theme.logo_url);
    expect(put.execute(db).await?.rows_affected(), 1)
}

/// The sites with these ids; `unsaved` are the fields of one that nobody has saved.
pub async fn sites<'e>(
    db: impl PgExecutor<'e>,
    ids: &[Uuid],
    unsaved: &SiteFields,
) -> sqlx::Result<Vec<Site>> {
    let query = sqlx::query("select * from sites where id = any($1)").bind(ids);
    let stored: Vec<Stored> = query.fetch_all(db).await?.iter().map(stored).collect::<sqlx::Result<_>>()?;
    Ok(stored.into_iter().map(|stored| stored.or(unsaved)).collect())
}

/// By slug.
pub async fn list_sites<'e>(
    db: impl PgExecutor<'e>,
    paging: &Paging,
    unsaved: &SiteFields,
) -> sqlx::Result<Page<Site>> {
    let Page { items, page, page_size, total } =
        Listing::new("select * from sites").page(db, paging, "slug, id", "", stored).await?;
    let items = items.into_iter().map(|stored| stored.or(unsaved)).collect();
    Ok(Page { items, page, page_size, total })
}

/// A row, perhaps without fields.
struct Stored {
    fields: Option<SiteFields>,
    id: Uuid,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Stored {
    fn or(self, unsaved: &SiteFields) -> Site {
        let Self { fields, id, version, created_at, updated_at } = self;
        Site { id, of: fields.unwrap_or_else(|| unsaved.clone()), version, created_at, updated_at }
    }
}

fn stored(row: &PgRow) -> sqlx::Result<Stored> {
    let fields: Option<Json<SiteFields>> = row.try_get("fields")?;
    Ok(Stored {
        fields: fields.map(|Json(fields)| fields),
        id: row.try_get("id")?,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

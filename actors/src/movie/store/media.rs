//! SQL of posters, trailers and logos.
//!
//! Invariant: a file that is condemned is never attached, and one that is attached is never condemned: both name the
//! row in the state that they expect.

use bus::contract::Timestamp;
use bus::contract::media::{CONDEMNED_MAX, Media, MediaKind};
use bus::contract::movie::{Movie, Rejection};
use bus::contract::site::Site;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::{Result, expect};
use crate::delivery::RowError;

/// An upload that takes longer has failed; a page may still show a picture that was replaced. In seconds.
const ORPHAN_AFTER: f64 = 3_600.0;

pub async fn begin(db: &mut PgConnection, media: &Media, now: Timestamp) -> Result<()> {
    let written = sqlx::query(
        "insert into media (id, movie_id, kind, touched_at)
         select $1::uuid, id, $3::text, $4::timestamptz from movies
         where id = $2 and deleted_at is null and $3 <> 'LOGO'
         union all
         select $1, id, $3, $4 from sites where id = $2 and $3 = 'LOGO'",
    )
    .bind(media.id)
    .bind(media.movie_id)
    .bind(kind_name(media.kind))
    .bind(now.date_time())
    .execute(db)
    .await?;
    match written.rows_affected() {
        0 if media.kind == MediaKind::Logo => Err(RowError::Rejected(Rejection::NoSuchSite)),
        0 => Err(RowError::Rejected(Rejection::NoSuchMovie)),
        _ => Ok(()),
    }
}

/// Attaches a file to its movie; `movie` is the row after it.
pub async fn attach(db: &mut PgConnection, media: &Media, movie: &Movie) -> Result<()> {
    let shown = sqlx::query(
        "with attached as (
           update media set touched_at = $7 where id = $1 and condemned_at is null returning kind
         ), shown as (
           select case kind when 'POSTER' then poster_media else trailer_media end as id
           from movies, attached where movies.id = $2
         ), replaced as (
           update media set touched_at = $7 where id in (select id from shown) and id <> $1
         )
         update movies set
           poster_url = $4, poster_small_url = $5, trailer_url = $6,
           poster_media  = case kind when 'POSTER' then $1 else poster_media end,
           trailer_media = case kind when 'TRAILER' then $1 else trailer_media end,
           version = $3, updated_at = $7
         from attached where movies.id = $2 and version = $3 - 1 and deleted_at is null",
    )
    .bind(media.id)
    .bind(movie.id)
    .bind(movie.version)
    .bind(&movie.poster_url)
    .bind(&movie.poster_small_url)
    .bind(&movie.trailer_url)
    .bind(movie.updated_at.date_time());
    expect(shown.execute(db).await?.rows_affected(), 1)
}

/// Attaches a logo to its site; `site` is the row after it.
pub async fn attach_logo(db: &mut PgConnection, media: &Media, site: &Site) -> Result<()> {
    let shown = sqlx::query(
        "with attached as (
           update media set touched_at = $4 where id = $1 and condemned_at is null returning id
         ), replaced as (
           update media set touched_at = $4 where id in (select logo_media from sites, attached where sites.id = $2) and id <> $1
         )
         update sites set fields = $5, logo_media = $1, version = $3, updated_at = $4
         from attached where sites.id = $2 and version = $3 - 1",
    )
    .bind(media.id)
    .bind(site.id)
    .bind(site.version)
    .bind(site.updated_at.date_time())
    .bind(Json(&site.of));
    expect(shown.execute(db).await?.rows_affected(), 1)
}

pub async fn condemn(db: &mut PgConnection, now: Timestamp) -> Result<()> {
    sqlx::query(
        "update media set condemned_at = $1 where id in (
           select id from media o
           where condemned_at is null and touched_at < $1 - make_interval(secs => $2)
             and not exists (select from movies where poster_media = o.id)
             and not exists (select from movies where trailer_media = o.id)
             and not exists (select from sites where logo_media = o.id)
           order by touched_at limit $3
           for update skip locked)",
    )
    .bind(now.date_time())
    .bind(ORPHAN_AFTER)
    .bind(CONDEMNED_MAX as i64)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn forget(db: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    sqlx::query("delete from media where id = any($1) and condemned_at is not null")
        .bind(ids)
        .execute(db)
        .await?;
    Ok(())
}

/// A file that may still be attached.
pub async fn media<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Media>> {
    let query = sqlx::query("select id, movie_id, kind from media where id = $1 and condemned_at is null");
    query.bind(id).fetch_optional(db).await?.as_ref().map(of_row).transpose()
}

pub async fn condemned<'e>(db: impl PgExecutor<'e>) -> sqlx::Result<Vec<Media>> {
    let query = sqlx::query(
        "select id, movie_id, kind from media where condemned_at is not null order by touched_at limit $1",
    );
    query.bind(CONDEMNED_MAX as i64).fetch_all(db).await?.iter().map(of_row).collect()
}

fn of_row(row: &PgRow) -> sqlx::Result<Media> {
    let kind: &str = row.try_get("kind")?;
    let kind = [MediaKind::Poster, MediaKind::Trailer, MediaKind::Logo]
        .into_iter()
        .find(|known| kind_name(*known) == kind);
    let kind = kind.ok_or_else(|| sqlx::Error::Decode("unknown kind of media".into()))?;
    Ok(Media { id: row.try_get("id")?, movie_id: row.try_get("movie_id")?, kind })
}

/// Spelled as in the contract.
fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Poster => "POSTER",
        MediaKind::Trailer => "TRAILER",
        MediaKind::Logo => "LOGO",
    }
}

//! Movie's SQL. Staff write a few rows a day, a seed some hundred, so rows are written one after another.
//!
//! Invariant: two showtimes never have one auditorium at one time (`auditorium_is_free`). Dates and times of day are those
//! of the auditorium's wall clock, which Postgres knows with every change to and from summer time.

use bus::contract::media::{AttachMedia, Media};
use bus::contract::movie::{
    Auditorium, Genre, ListMovies, ListShowtimes, Movie, Prices, Rejection, Row as SeatRow, Showtime,
};
use bus::contract::{Page, Paging, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Row};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::model::{self, Scheduled};
use crate::delivery::{Rows, WriteError};

mod media;

pub use media::condemned;

/// Movie's changes.
#[derive(Debug)]
pub enum Write {
    Genre(Genre),
    Movie(Movie),
    Auditorium(Auditorium),
    Showtime(Scheduled),
    BeginMedia(Media, Timestamp),
    AttachMedia(AttachMedia, Timestamp),
    CondemnMedia(Timestamp),
    ForgetMedia(Vec<Uuid>),
}

type Result<T> = std::result::Result<T, WriteError<Rejection>>;

impl Rows for Write {
    type Rejection = Rejection;
    type Written = ();

    fn write<'a>(connection: &'a mut PgConnection, rows: &'a [&'a Self]) -> BoxFuture<'a, Result<Vec<()>>> {
        async move {
            lock_auditoriums(connection, rows).await?;
            for row in rows {
                match row.write_alone(connection).await {
                    Ok(()) => {}
                    // A violated constraint has aborted the transaction; alone it shows whose fault it was.
                    Err(WriteError::Rejected(_)) if rows.len() > 1 => return Err(WriteError::Short),
                    Err(error) => return Err(error),
                }
            }
            Ok(vec![(); rows.len()])
        }
        .boxed()
    }
}

/// Two hosts that insert overlapping showtimes would wait for each other until Postgres calls it a deadlock, a second
/// later. So the auditorium's row decides who is first.
async fn lock_auditoriums(db: &mut PgConnection, rows: &[&Write]) -> Result<()> {
    let wanted: Vec<Uuid> = rows
        .iter()
        .filter_map(|row| match row {
            Write::Showtime(scheduled) => Some(scheduled.showtime.auditorium_id),
            _ => None,
        })
        .collect();
    if !wanted.is_empty() {
        sqlx::query("select from auditoriums where id = any($1) order by id for no key update")
            .bind(wanted)
            .execute(db)
            .await?;
    }
    Ok(())
}

impl Write {
    async fn write_alone(&self, db: &mut PgConnection) -> Result<()> {
        let written = match self {
            Self::Genre(genre) => insert_genre(db, genre).await,
            Self::Movie(movie) => insert_movie(db, movie).await,
            Self::Auditorium(auditorium) => insert_auditorium(db, auditorium).await,
            Self::Showtime(scheduled) => insert_showtime(db, scheduled).await,
            Self::BeginMedia(media, now) => return media::begin(db, media, *now).await,
            Self::AttachMedia(wanted, now) => return media::attach(db, wanted, *now).await,
            Self::CondemnMedia(now) => return media::condemn(db, *now).await,
            Self::ForgetMedia(ids) => return media::forget(db, ids).await,
        };
        written.map_err(refused)
    }
}

/// A named constraint is a business answer; anything else is not.
fn refused(error: sqlx::Error) -> WriteError<Rejection> {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    WriteError::Rejected(match constraint {
        Some("one_genre") => Rejection::GenreTaken,
        Some("one_auditorium") => Rejection::AuditoriumNameTaken,
        Some("genre_exists") => Rejection::UnknownGenre,
        Some("movie_exists") => Rejection::UnknownMovie,
        Some("auditorium_exists") => Rejection::UnknownAuditorium,
        Some("auditorium_is_free") => Rejection::AuditoriumBusy,
        _ => return WriteError::Sql(error),
    })
}

async fn insert_genre(db: &mut PgConnection, genre: &Genre) -> sqlx::Result<()> {
    sqlx::query("insert into genres (id, name, created_at, updated_at) values ($1, $2, $3, $4)")
        .bind(genre.id)
        .bind(&genre.name)
        .bind(genre.created_at.date_time())
        .bind(genre.updated_at.date_time())
        .execute(db)
        .await?;
    Ok(())
}

async fn insert_movie(db: &mut PgConnection, movie: &Movie) -> sqlx::Result<()> {
    sqlx::query(
        "insert into movies (id, title, synopsis, duration_minutes, rating, release_date, language, poster_url,
                             trailer_url, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(movie.id)
    .bind(&movie.title)
    .bind(&movie.synopsis)
    .bind(i32::from(movie.duration_minutes))
    .bind(&movie.rating)
    .bind(model::date(&movie.release_date))
    .bind(&movie.language)
    .bind(&movie.poster_url)
    .bind(&movie.trailer_url)
    .bind(movie.created_at.date_time())
    .bind(movie.updated_at.date_time())
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into movie_genres (movie_id, genre_id, position)
         select $1, genre_id, position from unnest($2::uuid[]) with ordinality as given (genre_id, position)",
    )
    .bind(movie.id)
    .bind(&movie.genre_ids)
    .execute(db)
    .await?;
    Ok(())
}

async fn insert_auditorium(db: &mut PgConnection, auditorium: &Auditorium) -> sqlx::Result<()> {
    sqlx::query(
        "insert into auditoriums (id, name, time_zone, layout, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(auditorium.id)
    .bind(&auditorium.name)
    .bind(&auditorium.time_zone)
    .bind(Json(&auditorium.rows))
    .bind(auditorium.created_at.date_time())
    .bind(auditorium.updated_at.date_time())
    .execute(db)
    .await?;
    Ok(())
}

async fn insert_showtime(
    db: &mut PgConnection,
    Scheduled { showtime, rows }: &Scheduled,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into showtimes (id, movie_id, auditorium_id, starts_at, ends_at, layout, prices, status, created_at,
                                updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(showtime.id)
    .bind(showtime.movie_id)
    .bind(showtime.auditorium_id)
    .bind(showtime.starts_at.date_time())
    .bind(showtime.ends_at.date_time())
    .bind(Json(rows))
    .bind(Json(&showtime.prices))
    .bind(model::status_name(showtime.status))
    .bind(showtime.created_at.date_time())
    .bind(showtime.updated_at.date_time())
    .execute(db)
    .await?;
    Ok(())
}

/// One page of `$found` and, in each row, the total, also where the page lies beyond the end and its row is empty.
/// One statement, so that page and total agree. $1 is the limit, $2 the offset.
macro_rules! paged {
    ($found:expr, order by $order:literal $(, $more:expr)?) => {
        concat!(
            "with found as (", $found, "), page as (select * from found order by ", $order, " limit $1 offset $2)
             select (select count(*) from found) as total, page.*", $(", ", $more,)?
            " from (values (1)) as always left join page on true order by ", $order
        )
    };
}

/// The genres of the movie in `$of`, as in the contract.
macro_rules! genres_of {
    ($of:literal) => {
        concat!(
            "coalesce((select json_agg(json_build_object('id', g.id, 'name', g.name, 'createdAt', g.created_at,
                                                         'updatedAt', g.updated_at) order by mg.position)
                       from movie_genres mg join genres g on g.id = mg.genre_id where mg.movie_id = ", $of, ".id),
                      '[]') as genres"
        )
    };
}

/// A showtime with the names that it shows.
macro_rules! showtimes {
    () => {
        "select s.id, s.movie_id, m.title as movie_title, s.auditorium_id, a.name as auditorium_name, a.time_zone,
                s.starts_at, s.ends_at, s.prices, s.status, s.created_at, s.updated_at
         from showtimes s join movies m on m.id = s.movie_id join auditoriums a on a.id = s.auditorium_id"
    };
}

pub async fn list_genres<'e>(db: impl PgExecutor<'e>, paging: &Paging) -> sqlx::Result<Page<Genre>> {
    let query = sqlx::query(paged!("select * from genres", order by "lower(name)"));
    page(query.bind(paging.limit()).bind(paging.offset()).fetch_all(db).await?, paging, genre)
}

pub async fn list_auditoriums<'e>(
    db: impl PgExecutor<'e>,
    paging: &Paging,
) -> sqlx::Result<Page<Auditorium>> {
    let query = sqlx::query(paged!("select * from auditoriums", order by "lower(name)"));
    page(query.bind(paging.limit()).bind(paging.offset()).fetch_all(db).await?, paging, auditorium)
}

/// By title. With a date or a time of day: movies with one showtime that fits both and, without a date, has not begun.
pub async fn list_movies<'e>(db: impl PgExecutor<'e>, wanted: &ListMovies) -> sqlx::Result<Page<Movie>> {
    // The bounds around the date are for the index: no time zone is a whole day away from UTC.
    let query = sqlx::query(paged!(
        "select m.* from movies m
         where ($3::text is null or strpos(lower(m.title), lower($3)) > 0)
           and ($4::text is null or exists (
             select from movie_genres mg join genres g on g.id = mg.genre_id
             where mg.movie_id = m.id and (lower(g.name) = lower($4) or g.id::text = lower($4))))
           and (($5::date is null and $6::time is null) or exists (
             select from showtimes s join auditoriums a on a.id = s.auditorium_id,
               lateral (select s.starts_at at time zone a.time_zone as starts) wall
             where s.movie_id = m.id and s.status = 'ON_SALE'
               and s.starts_at > coalesce(($5 - 1)::timestamptz, now())
               and s.starts_at < coalesce(($5 + 2)::timestamptz, 'infinity')
               and ($5 is null or wall.starts::date = $5)
               and ($6 is null or date_trunc('minute', wall.starts)::time = $6)))",
        order by "lower(title), id", genres_of!("page")
    ));
    let rows = query
        .bind(wanted.paging.limit())
        .bind(wanted.paging.offset())
        .bind(&wanted.name)
        .bind(&wanted.genre)
        .bind(wanted.date.as_deref().and_then(model::date))
        .bind(wanted.show_time.as_deref().and_then(model::time_of_day))
        .fetch_all(db)
        .await?;
    page(rows, &wanted.paging, movie)
}

/// By start. Without a date, `from` and `to`: those that have not begun.
pub async fn list_showtimes<'e>(
    db: impl PgExecutor<'e>,
    wanted: &ListShowtimes,
) -> sqlx::Result<Page<Showtime>> {
    let query = sqlx::query(paged!(
        concat!(showtimes!(), "
         where ($3::uuid is null or s.movie_id = $3)
           and ($4::date is null or (s.starts_at > ($4 - 1)::timestamptz and s.starts_at < ($4 + 2)::timestamptz
                                     and (s.starts_at at time zone a.time_zone)::date = $4))
           and ($5::timestamptz is null or s.starts_at >= $5)
           and ($6::timestamptz is null or s.starts_at <= $6)
           and (num_nonnulls($4, $5, $6) > 0 or s.starts_at > now())"),
        order by "starts_at, id"
    ));
    let rows = query
        .bind(wanted.paging.limit())
        .bind(wanted.paging.offset())
        .bind(wanted.movie_id)
        .bind(wanted.date.as_deref().and_then(model::date))
        .bind(wanted.from.map(Timestamp::date_time))
        .bind(wanted.to.map(Timestamp::date_time))
        .fetch_all(db)
        .await?;
    page(rows, &wanted.paging, showtime)
}

pub async fn movies<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Movie>> {
    let query = concat!("select m.*, ", genres_of!("m"), " from movies m where id = any($1)");
    sqlx::query(query).bind(ids).fetch_all(db).await?.iter().map(movie).collect()
}

pub async fn auditoriums<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Auditorium>> {
    let query = sqlx::query("select * from auditoriums where id = any($1)");
    query.bind(ids).fetch_all(db).await?.iter().map(auditorium).collect()
}

pub async fn genres<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Genre>> {
    let query = sqlx::query("select * from genres where id = any($1)");
    query.bind(ids).fetch_all(db).await?.iter().map(genre).collect()
}

pub async fn find_showtime<'e>(db: impl PgExecutor<'e>, id: Uuid) -> sqlx::Result<Option<Showtime>> {
    let query = sqlx::query(concat!(showtimes!(), " where s.id = $1"));
    query.bind(id).fetch_optional(db).await?.as_ref().map(showtime).transpose()
}

pub async fn layout_of<'e>(db: impl PgExecutor<'e>, showtime: Uuid) -> sqlx::Result<Option<Vec<SeatRow>>> {
    let query = sqlx::query_scalar::<_, Json<_>>("select layout from showtimes where id = $1");
    Ok(query.bind(showtime).fetch_optional(db).await?.map(|Json(rows)| rows))
}

pub async fn is_time_zone<'e>(db: impl PgExecutor<'e>, name: &str) -> sqlx::Result<bool> {
    let query = sqlx::query_scalar("select exists (select from pg_timezone_names where name = $1)");
    query.bind(name).fetch_one(db).await
}

fn page<T>(rows: Vec<PgRow>, paging: &Paging, read: fn(&PgRow) -> sqlx::Result<T>) -> sqlx::Result<Page<T>> {
    let total: i64 = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if row.try_get::<Option<Uuid>, _>("id")?.is_some() {
            items.push(read(&row)?);
        }
    }
    Ok(paging.of(items, total.unsigned_abs()))
}

fn genre(row: &PgRow) -> sqlx::Result<Genre> {
    Ok(Genre {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn movie(row: &PgRow) -> sqlx::Result<Movie> {
    let Json(genres): Json<Vec<Genre>> = row.try_get("genres")?;
    Ok(Movie {
        id: row.try_get("id")?,
        title: row.try_get("title")?,
        synopsis: row.try_get("synopsis")?,
        duration_minutes: u16::try_from(row.try_get::<i32, _>("duration_minutes")?).unwrap_or(u16::MAX),
        rating: row.try_get("rating")?,
        release_date: model::date_text(row.try_get::<Date, _>("release_date")?),
        language: row.try_get("language")?,
        genre_ids: genres.iter().map(|genre| genre.id).collect(),
        genres,
        poster_url: row.try_get("poster_url")?,
        poster_small_url: row.try_get("poster_small_url")?,
        trailer_url: row.try_get("trailer_url")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn auditorium(row: &PgRow) -> sqlx::Result<Auditorium> {
    let Json(rows): Json<Vec<SeatRow>> = row.try_get("layout")?;
    Ok(Auditorium {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        time_zone: row.try_get("time_zone")?,
        rows,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn showtime(row: &PgRow) -> sqlx::Result<Showtime> {
    let Json(prices): Json<Prices> = row.try_get("prices")?;
    let status: &str = row.try_get("status")?;
    Ok(Showtime {
        id: row.try_get("id")?,
        movie_id: row.try_get("movie_id")?,
        movie_title: row.try_get("movie_title")?,
        auditorium_id: row.try_get("auditorium_id")?,
        auditorium_name: row.try_get("auditorium_name")?,
        time_zone: row.try_get("time_zone")?,
        starts_at: timestamp(row, "starts_at")?,
        ends_at: timestamp(row, "ends_at")?,
        prices,
        status: model::status_named(status)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown status {status}").into()))?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn timestamp(row: &PgRow, column: &str) -> sqlx::Result<Timestamp> {
    Ok(row.try_get::<OffsetDateTime, _>(column)?.into())
}

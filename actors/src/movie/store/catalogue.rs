//! SQL of movies and genres.
//!
//! A deleted movie keeps its row, for past showtimes, and loses its genres, which may then be deleted too, and its files,
//! which the sweep then deletes from the store.

use bus::contract::movie::{AgeRating, FilmVersion, Genre, ListMovies, Movie, MovieSort};
use bus::contract::{Page, Paging, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use time::Date;
use uuid::Uuid;

use super::page::{Listing, timestamp};
use super::wall::{Day, Wall};
use super::{Result, expect};
use crate::movie::model;

pub async fn lock_movies(db: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<()> {
    sqlx::query("select from movies where id = any($1) order by id for no key update")
        .bind(ids)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn put_genre(db: &mut PgConnection, genre: &Genre) -> Result<()> {
    let query = if genre.version == 1 {
        "insert into genres (id, name, created_at, updated_at, version) values ($1, $2, $3, $4, $5)"
    } else {
        "update genres set name = $2, created_at = $3, updated_at = $4, version = $5 where id = $1 and version = $5 - 1"
    };
    let put = sqlx::query(query)
        .bind(genre.id)
        .bind(&genre.name)
        .bind(genre.created_at.date_time())
        .bind(genre.updated_at.date_time())
        .bind(genre.version);
    expect(put.execute(db).await?.rows_affected(), 1)
}

pub async fn delete_genre(db: &mut PgConnection, genre: &Genre) -> Result<()> {
    let gone =
        sqlx::query("delete from genres where id = $1 and version = $2").bind(genre.id).bind(genre.version);
    expect(gone.execute(db).await?.rows_affected(), 1)
}

/// Poster and trailer are left as they are: `media` writes those.
pub async fn put_movie(db: &mut PgConnection, movie: &Movie) -> Result<()> {
    let query = if movie.version == 1 {
        "insert into movies (id, title, synopsis, duration_minutes, rating, release_date, language, created_at,
                             updated_at, version, age_rating, versions, formats)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    } else {
        "update movies set title = $2, synopsis = $3, duration_minutes = $4, rating = $5, release_date = $6,
           language = $7, created_at = $8, updated_at = $9, version = $10, age_rating = $11, versions = $12,
           formats = $13
         where id = $1 and version = $10 - 1 and deleted_at is null"
    };
    let put = sqlx::query(query)
        .bind(movie.id)
        .bind(&movie.title)
        .bind(&movie.synopsis)
        .bind(i32::from(movie.duration_minutes))
        .bind(&movie.rating)
        .bind(model::date(&movie.release_date))
        .bind(&movie.language)
        .bind(movie.created_at.date_time())
        .bind(movie.updated_at.date_time())
        .bind(movie.version)
        .bind(movie.age_rating.as_ref().map(Json))
        .bind(Json(&movie.versions))
        .bind(&movie.formats);
    expect(put.execute(&mut *db).await?.rows_affected(), 1)?;
    if movie.version > 1 {
        sqlx::query("delete from movie_genres where movie_id = $1").bind(movie.id).execute(&mut *db).await?;
    }
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

pub async fn delete_movie(db: &mut PgConnection, movie: &Movie) -> Result<()> {
    let gone = sqlx::query(
        "update movies set deleted_at = $3, updated_at = $3, version = $2,
           poster_url = null, poster_small_url = null, poster_media = null, trailer_url = null, trailer_media = null
         where id = $1 and version = $2 - 1 and deleted_at is null",
    )
    .bind(movie.id)
    .bind(movie.version)
    .bind(movie.updated_at.date_time());
    expect(gone.execute(&mut *db).await?.rows_affected(), 1)?;
    sqlx::query("delete from movie_genres where movie_id = $1").bind(movie.id).execute(db).await?;
    Ok(())
}

/// The genres of the movie in `$of`, as in the contract.
macro_rules! genres_of {
    ($of:literal) => {
        concat!(
            "coalesce((select json_agg(json_build_object('id', g.id, 'name', g.name, 'version', g.version,
                                                         'createdAt', g.created_at, 'updatedAt', g.updated_at)
                                       order by mg.position)
                       from movie_genres mg join genres g on g.id = mg.genre_id where mg.movie_id = ", $of, ".id),
                      '[]') as genres"
        )
    };
}

pub async fn list_genres<'e>(db: impl PgExecutor<'e>, paging: &Paging) -> sqlx::Result<Page<Genre>> {
    Listing::new("select * from genres").page(db, paging, "lower(name)", "", genre).await
}

/// With a date or a time of day: movies with one showtime that fits both and, without a date, has not begun.
pub async fn list_movies(pool: &PgPool, wanted: &ListMovies, now: Timestamp) -> sqlx::Result<Page<Movie>> {
    let order = match wanted.sort {
        MovieSort::Title => "lower(title), id",
        MovieSort::TitleDown => "lower(title) desc, id",
        MovieSort::ReleaseDate => "release_date, lower(title), id",
        MovieSort::ReleaseDateDown => "release_date desc, lower(title), id",
        MovieSort::NextShowtime => "next_showtime nulls last, lower(title), id",
    };
    let mut found = Listing::new(if wanted.sort == MovieSort::NextShowtime {
        "select m.*, (select min(s.starts_at) from showtimes s
                      where s.movie_id = m.id and s.status = 'ON_SALE' and s.starts_at > now()) as next_showtime
         from movies m where m.deleted_at is null"
    } else {
        "select m.* from movies m where m.deleted_at is null"
    });
    if let Some(name) = &wanted.name {
        found.and().push("title_words(m.title) @@ title_query(").push_bind(name).push(")");
    }
    if let Some(genre) = &wanted.genre {
        let and = found.and();
        and.push("exists (select from movie_genres mg join genres g on g.id = mg.genre_id where mg.movie_id = m.id and (");
        and.push("lower(g.name) = lower(")
            .push_bind(genre)
            .push(") or g.id::text = lower(")
            .push_bind(genre)
            .push(")))");
    }
    if wanted.date.is_some() || wanted.show_time.is_some() {
        // The same showtime matches the date and the time.
        let day = wanted.date.as_deref().and_then(Day::read);
        let time = wanted.show_time.as_deref().and_then(model::time_of_day);
        let wall = Wall::new(pool, day, time, now).await?;
        found.and().push(
            "exists (select from showtimes s join auditoriums a on a.id = s.auditorium_id
             where s.movie_id = m.id and s.status = 'ON_SALE' and ",
        );
        wall.push(found.query());
        found.query().push(")");
    }
    found.page(pool, &wanted.paging, order, concat!(", ", genres_of!("page")), movie).await
}

/// The movies with these ids that are not deleted.
pub async fn movies<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Movie>> {
    let query =
        concat!("select m.*, ", genres_of!("m"), " from movies m where id = any($1) and deleted_at is null");
    sqlx::query(query).bind(ids).fetch_all(db).await?.iter().map(movie).collect()
}

pub async fn genres<'e>(db: impl PgExecutor<'e>, ids: &[Uuid]) -> sqlx::Result<Vec<Genre>> {
    let query = sqlx::query("select * from genres where id = any($1)");
    query.bind(ids).fetch_all(db).await?.iter().map(genre).collect()
}

fn genre(row: &PgRow) -> sqlx::Result<Genre> {
    Ok(Genre {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

fn movie(row: &PgRow) -> sqlx::Result<Movie> {
    let Json(genres): Json<Vec<Genre>> = row.try_get("genres")?;
    let Json(versions): Json<Vec<FilmVersion>> = row.try_get("versions")?;
    let age_rating: Option<Json<AgeRating>> = row.try_get("age_rating")?;
    let age_rating = age_rating.map(|Json(rating)| rating);
    Ok(Movie {
        id: row.try_get("id")?,
        title: row.try_get("title")?,
        synopsis: row.try_get("synopsis")?,
        duration_minutes: u16::try_from(row.try_get::<i32, _>("duration_minutes")?).unwrap_or(u16::MAX),
        rating: row.try_get("rating")?,
        minimum_age: age_rating.as_ref().and_then(AgeRating::age),
        age_rating,
        release_date: model::date_text(row.try_get::<Date, _>("release_date")?),
        language: row.try_get("language")?,
        versions,
        formats: row.try_get("formats")?,
        genre_ids: genres.iter().map(|genre| genre.id).collect(),
        genres,
        poster_url: row.try_get("poster_url")?,
        poster_small_url: row.try_get("poster_small_url")?,
        trailer_url: row.try_get("trailer_url")?,
        version: row.try_get("version")?,
        created_at: timestamp(row, "created_at")?,
        updated_at: timestamp(row, "updated_at")?,
    })
}

//! SQL of reminders: `showtimes.reminded_for` is the start that the reminder named.

use bus::contract::reminder::{MovieReminder, Reminded, UPCOMING_MAX};
use sqlx::{PgConnection, PgExecutor, Row};
use time::OffsetDateTime;

/// By the database's clock, the next first.
pub async fn upcoming<'e>(
    db: impl PgExecutor<'e>,
    within_minutes: u32,
) -> Result<Vec<MovieReminder>, sqlx::Error> {
    let rows = sqlx::query(
        "select s.id, s.movie_id, m.title, s.starts_at from showtimes s join movies m on m.id = s.movie_id
         where s.status = 'ON_SALE' and s.starts_at > now() and s.starts_at <= now() + make_interval(mins => $1)
           and s.reminded_for is distinct from s.starts_at
         order by s.starts_at, s.id limit $2",
    )
    .bind(within_minutes as i32)
    .bind(UPCOMING_MAX as i64)
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(MovieReminder {
                showtime_id: row.try_get(0)?,
                movie_id: row.try_get(1)?,
                movie_title: row.try_get(2)?,
                starts_at: row.try_get::<OffsetDateTime, _>(3)?.into(),
            })
        })
        .collect()
}

/// Marks the showtimes that still start when the reminder said; sorted, so that hosts lock rows in one order.
pub async fn mark(db: &mut PgConnection, reminded: &[Reminded]) -> Result<(), sqlx::Error> {
    let mut sorted = reminded.to_vec();
    sorted.sort_by_key(|reminded| reminded.showtime_id);
    sqlx::query(
        "update showtimes s set reminded_for = reminded.starts_at
         from unnest($1::uuid[], $2::timestamptz[]) as reminded (id, starts_at)
         where s.id = reminded.id and s.starts_at = reminded.starts_at",
    )
    .bind(sorted.iter().map(|reminded| reminded.showtime_id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|reminded| reminded.starts_at.date_time()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

//! The query plans of our reads.

use actors::delivery::Database;
use sqlx::AssertSqlSafe;

use crate::harness::TestSystem;

#[tokio::test]
async fn a_read_by_key_uses_the_index_even_if_planned_on_an_empty_table() {
    let system = TestSystem::start().await;
    let database = Database::new(&system.config.database_url, "reservation").unwrap();
    let mut db = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("prepare read (uuid[]) as select * from reservation.reservations where id = any($1)")
        .execute(&mut *db)
        .await
        .unwrap();
    let keys = (0..20).map(|_| uuid::Uuid::now_v7().to_string()).collect::<Vec<_>>().join(",");
    // Often enough for Postgres to use a generic plan, if it is allowed to.
    for _ in 0..10 {
        sqlx::raw_sql(AssertSqlSafe(format!("execute read('{{{keys}}}')"))).execute(&mut *db).await.unwrap();
    }
    let grow = "
        insert into showtimes (id, status, starts_at, movie_id, movie_title, layout, prices)
        values ('00000000-0000-7000-8000-000000000001', 'ON_SALE', now(), gen_random_uuid(), 'Metropolis', '{}', '{}');
        insert into reservations (id, code, user_id, email, showtime_id, movie_id, movie_title, starts_at, seats, total,
          currency, version, status, checkpoint, history, created_at, updated_at)
        select gen_random_uuid(), to_char(series, 'FM00000000'), gen_random_uuid(), 'ada@marquee.example', id, movie_id, movie_title, starts_at,
          '{A1}', 1200, 'EUR', 1, 'PENDING', '{}', '{}', now(), now()
        from showtimes, generate_series(1, 20000) as series";
    sqlx::raw_sql(grow).execute(&mut *db).await.unwrap();
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("explain execute read('{{{keys}}}')")))
        .fetch_all(&mut *db)
        .await
        .unwrap();
    assert!(plan.iter().any(|line| line.contains("reservations_pkey")), "{plan:#?}");
}

//! Order codes: unique, on everything that shows an order, and found however they are typed.

use marquee::local::shared_postgres;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::cinema::{Person, TestCinema, id};
use crate::harness::template;

async fn found(cinema: &TestCinema, who: &Person, typed: &str) -> Vec<Value> {
    let url = reqwest::Url::parse_with_params("http://marquee.example", [("code", typed)]).unwrap();
    let page = cinema.get(&format!("/v1/reservations?{}", url.query().unwrap()), who).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_found_by_its_code_however_it_is_typed() {
    let cinema = TestCinema::open().await;
    let (ada, bob, owner) = (cinema.register().await, cinema.register().await, cinema.owner());
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.reserve(&bob, &["A4"]).await;
    let seen = cinema.reservation(&ada, &order).await;
    let code = seen["code"].as_str().unwrap().to_owned();
    assert_eq!(code.len(), 8, "{code}");
    let saga = cinema.get(&format!("/v1/admin/sagas/{order}"), &owner).await.expect(200);
    assert_eq!((&saga["code"], &saga["reservation"]["code"]), (&json!(code), &json!(code)));
    for subject in ["reservation.created", "reservation.confirmed"] {
        let events = cinema.events(subject).await;
        let event = events.iter().find(|event| event["reservationId"] == json!(order)).unwrap();
        assert_eq!(event["code"], json!(code), "{subject}");
    }

    // Staff read the names of a page of orders at once.
    let customer = seen["userId"].as_str().unwrap();
    let people = cinema.get(&format!("/v1/users?ids={customer},{customer}"), &owner).await.expect(200);
    assert_eq!((&people["total"], &people["items"][0]["id"]), (&json!(1), &json!(customer)));
    let wrong = cinema.get("/v1/users?ids=ada", &owner).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (400, "bad-query"), "{wrong:?}");

    let (first, second) = code.split_at(4);
    let lower = code.to_lowercase();
    for typed in [code.clone(), lower, format!("{first}-{second}"), format!(" {first} – {second} ")] {
        let orders = found(&cinema, &owner, &typed).await;
        assert_eq!(orders.iter().map(id).collect::<Vec<_>>(), std::slice::from_ref(&order), "{typed}");
    }
    assert_eq!(found(&cinema, &ada, &code).await.len(), 1, "one's own");
    assert_eq!(found(&cinema, &bob, &code).await.len(), 0, "another's");
    let wrong = cinema.get("/v1/reservations?code=K7M2QX40", &owner).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (400, "bad-query"), "{wrong:?}");

    let is_sent = |mail: &Value| mail["status"] == "SENT" && mail["orderCode"] == json!(code);
    cinema.until("the tickets are sent", async || cinema.mail_log(&order).await.iter().any(is_sent)).await;
    let mail = cinema.mail("Your tickets");
    assert!(mail.text.contains(&format!("{first}-{second}")), "{}", mail.text);
    cinema.close().await;
}

/// The next order of the database gets the code of one that exists.
const ONE_COLLISION: &str = "
    create sequence reservation.draws;
    create function reservation.collide() returns trigger language plpgsql as $$
      begin
        if nextval('reservation.draws') = 1 then
          new.code := (select code from reservation.reservations limit 1);
        end if;
        return new;
      end $$;
    create trigger collide before insert on reservation.reservations
      for each row execute function reservation.collide()";
const DRAWS: &str = "select last_value from reservation.draws";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_code_exists_gets_another_one() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSS", "WWWW"], 24 * 3600).await;
    let ada = cinema.register().await;
    let first = cinema.buy(&ada, &["B1"]).await;
    cinema.database.execute(ONE_COLLISION).await.unwrap();
    let second = cinema.reserve(&ada, &["A2"]).await;
    let draws: i64 = sqlx::query_scalar(DRAWS).fetch_one(&cinema.database).await.unwrap();
    assert_eq!(draws, 2, "the order was written at the second try");
    assert_eq!(cinema.seat("A2").await, "HELD");

    // A dearer exchange makes a new order.
    sqlx::raw_sql("alter sequence reservation.draws restart").execute(&cinema.database).await.unwrap();
    let path = format!("/v1/reservations/{first}/exchange");
    let dearer =
        cinema.call(Method::POST, &path, Some(&ada), Some(json!({"seats": ["A4"]}))).await.expect(201);
    let draws: i64 = sqlx::query_scalar(DRAWS).fetch_one(&cinema.database).await.unwrap();
    assert_eq!(draws, 2, "the exchange was written at the second try");
    let mut codes = vec![dearer["code"].clone()];
    for order in [&first, &second] {
        codes.push(cinema.reservation(&ada, order).await["code"].clone());
    }
    codes.sort_by_key(Value::to_string);
    codes.dedup();
    assert_eq!(codes.len(), 3, "{codes:?}");
    cinema.close().await;
}

#[tokio::test]
async fn orders_from_before_codes_get_codes() {
    let url = shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap();
    let mut db = PgConnection::connect(&url).await.unwrap();
    let before = "
        alter table reservation.reservations drop column code;
        drop function reservation.random_code();
        delete from reservation._migrations where description = 'order code';
        insert into reservation.showtimes (id, status, starts_at, movie_id, movie_title, layout, prices)
        values ('00000000-0000-7000-8000-000000000001', 'ON_SALE', now(), gen_random_uuid(), 'Metropolis', '{}', '{}')";
    let orders = "
        insert into reservation.reservations (id, user_id, email, showtime_id, movie_id, movie_title, starts_at, seats,
          total, currency, version, status, checkpoint, history, created_at, updated_at)
        select gen_random_uuid(), gen_random_uuid(), 'ada@marquee.example', id, movie_id, movie_title, starts_at,
          '{A1}', 1200, 'EUR', 1, 'PENDING', '{}', '{}', now(), now()
        from reservation.showtimes, generate_series(1, 2000)";
    db.execute(before).await.unwrap();
    db.execute(orders).await.unwrap();
    actors::migrations::migrate(&url).await.unwrap();
    // A host of the version before knows no codes.
    db.execute(AssertSqlSafe(orders.to_owned())).await.unwrap();
    let codes: i64 = sqlx::query_scalar(
        "select count(distinct code) from reservation.reservations where code ~ '^[2-9A-HJKMNP-TV-Z]{8}$'",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    assert_eq!(codes, 4000);
}

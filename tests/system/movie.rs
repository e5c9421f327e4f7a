//! The movie domain and the demo on real servers. This file has the helpers, the files below have the tests.

mod catalogue;
mod changes;
mod demo;
mod duration;
mod layout_changes;
mod programme;
mod search;
mod showtimes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bus::contract::movie::{
    Auditorium, CreateAuditorium, CreateGenre, CreateMovie, CreateShowtime, DescribeShowtime, Genre,
    GetAuditorium, GetMovie, GetShowtime, InitialStatus, ListAuditoriums, ListGenres, ListMovies,
    ListShowtimes, Movie, MovieCreated, MovieSort, Prices, Row, Seat, SeatKind, Showtime, ShowtimeScheduled,
};
use bus::contract::{Currency, Money, Paging, Request, Timestamp};
use bus::service::Ask;
use bus::{Context, Problem};
use futures::future::join_all;
use time::{Date, Month, OffsetDateTime, Weekday};
use uuid::Uuid;

use crate::harness::TestSystem;

const HOUR: Duration = Duration::from_secs(3_600);

/// A test system with a movie host, and a token that may change the catalogue.
struct Catalogue {
    system: TestSystem,
    token: String,
}

impl Catalogue {
    async fn open() -> Self {
        let system = TestSystem::start().await.with_auth().await.with_movie().await;
        let token = system.super_admin().await;
        Self { system, token }
    }

    async fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, Problem> {
        self.system.ask(request, Some(&self.token)).await
    }

    async fn genre(&self, name: &str) -> Genre {
        self.ask(&CreateGenre { name: name.into() }).await.unwrap()
    }

    async fn movie(&self, title: &str, genres: &[&Genre]) -> Movie {
        self.ask(&movie(title, genres)).await.unwrap()
    }

    async fn auditorium(&self, name: &str, time_zone: &str) -> Auditorium {
        self.ask(&auditorium(name, time_zone)).await.unwrap()
    }

    async fn show(&self, movie: &Movie, auditorium: &Auditorium, at: Timestamp) -> Result<Showtime, Problem> {
        self.ask(&showtime(movie.id, auditorium.id, at)).await
    }

    /// The point in time that is `local` in this time zone.
    async fn at(&self, local: &str, time_zone: &str) -> Timestamp {
        let at: OffsetDateTime = sqlx::query_scalar("select $1::text::timestamp at time zone $2")
            .bind(local)
            .bind(time_zone)
            .fetch_one(&self.system.database)
            .await
            .unwrap();
        at.into()
    }

    async fn titles(&self, wanted: ListMovies) -> Vec<String> {
        let page = self.ask(&wanted).await.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items.into_iter().map(|movie| movie.title).collect()
    }

    async fn starts(&self, wanted: ListShowtimes) -> Vec<Timestamp> {
        let page = self.ask(&wanted).await.unwrap();
        assert_eq!(page.total, page.items.len() as u64);
        page.items.into_iter().map(|showtime| showtime.starts_at).collect()
    }
}

fn movie(title: &str, genres: &[&Genre]) -> CreateMovie {
    CreateMovie {
        title: title.into(),
        synopsis: "It happens.".into(),
        duration_minutes: 90,
        rating: "PG-13".into(),
        age_rating: None,
        versions: vec![],
        formats: vec![],
        release_date: "2026-05-01".into(),
        language: "en".into(),
        genre_ids: genres.iter().map(|genre| genre.id).collect(),
    }
}

fn auditorium(name: &str, time_zone: &str) -> CreateAuditorium {
    let kinds = [SeatKind::Wheelchair, SeatKind::Gap, SeatKind::Standard, SeatKind::Standard];
    let seats = (1..).zip(kinds).map(|(number, kind)| Seat::new(number, kind)).collect();
    CreateAuditorium {
        name: name.into(),
        time_zone: time_zone.into(),
        rows: vec![Row { label: "A".into(), seats }],
    }
}

fn prices(kinds: &[SeatKind]) -> Prices {
    kinds.iter().map(|kind| (*kind, Money { amount: 1_200, currency: Currency::EUR })).collect()
}

fn showtime(movie_id: Uuid, auditorium_id: Uuid, starts_at: Timestamp) -> CreateShowtime {
    let prices = Some(prices(&[SeatKind::Standard, SeatKind::Wheelchair]));
    CreateShowtime {
        movie_id,
        auditorium_id,
        starts_at,
        prices,
        price_card_id: None,
        surcharges: vec![],
        overrides: Default::default(),
        film_version: None,
        format: None,
        on_sale_at: None,
        minutes_before_film: 0,
        status: InitialStatus::OnSale,
    }
}

fn any_movie() -> ListMovies {
    ListMovies {
        name: None,
        genre: None,
        date: None,
        show_time: None,
        sort: MovieSort::Title,
        paging: Paging::default(),
    }
}

fn any_showtime() -> ListShowtimes {
    ListShowtimes {
        movie_id: None,
        auditorium_id: None,
        date: None,
        from: None,
        to: None,
        paging: Paging::default(),
    }
}

/// The full hour that is so many hours ahead.
fn ahead(hours: u32) -> Timestamp {
    let now = OffsetDateTime::now_utc();
    let hour = now.replace_minute(0).unwrap().replace_second(0).unwrap().replace_nanosecond(0).unwrap();
    Timestamp::from(hour).plus(HOUR * hours)
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Problem>) -> (u16, String, String) {
    let problem = answer.unwrap_err();
    let field = problem.errors.first().map(|e| format!("{} {}", e.field, e.message)).unwrap_or_default();
    (problem.status, problem.code, field)
}

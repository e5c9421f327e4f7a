//! The movie domain and the demo cinema on real servers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use actors::movie::Added;
use actors::seed::{ACCOUNTS, seed};
use bus::contract::movie::{
    Auditorium, CreateAuditorium, CreateGenre, CreateMovie, CreateShowtime, DescribeShowtime, Genre,
    GetAuditorium, GetMovie, GetShowtime, ListAuditoriums, ListGenres, ListMovies, ListShowtimes, Movie,
    MovieCreated, Prices, Row, Seat, SeatKind, Showtime, ShowtimeScheduled,
};
use bus::contract::{Currency, Money, Paging, Request, Timestamp};
use bus::service::Ask;
use bus::{Context, Problem};
use futures::future::join_all;
use time::{Date, Month, OffsetDateTime, Weekday};
use uuid::Uuid;

use crate::harness::TestSystem;

const HOUR: Duration = Duration::from_secs(3_600);

/// A test system with a catalogue, and the token of who may write it.
struct Cinema {
    system: TestSystem,
    token: String,
}

impl Cinema {
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

    /// The time that a clock on the wall shows as `local`.
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
        release_date: "2026-05-01".into(),
        language: "en".into(),
        genre_ids: genres.iter().map(|genre| genre.id).collect(),
    }
}

fn auditorium(name: &str, time_zone: &str) -> CreateAuditorium {
    let kinds = [SeatKind::Wheelchair, SeatKind::Gap, SeatKind::Standard, SeatKind::Standard];
    let seats = (1..).zip(kinds).map(|(number, kind)| Seat { number, kind }).collect();
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
    let prices = prices(&[SeatKind::Standard, SeatKind::Wheelchair]);
    CreateShowtime { movie_id, auditorium_id, starts_at, prices }
}

fn any_movie() -> ListMovies {
    ListMovies { name: None, genre: None, date: None, show_time: None, paging: Paging::default() }
}

fn any_showtime() -> ListShowtimes {
    ListShowtimes { movie_id: None, date: None, from: None, to: None, paging: Paging::default() }
}

/// A whole hour, so many hours ahead.
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

#[tokio::test]
async fn only_staff_may_write_the_catalogue_and_everybody_may_read_it() {
    let cinema = Cinema::open().await;
    let ada = cinema.system.register("ada@example.org").await.access_token;
    let genre = CreateGenre { name: "Drama".into() };
    assert_eq!(refusal(cinema.system.ask(&genre, None).await).0, 401);
    assert_eq!(refusal(cinema.system.ask(&genre, Some(&ada)).await).0, 403);
    assert_eq!(refusal(cinema.system.ask(&movie("M", &[]), Some(&ada)).await).0, 403);
    assert_eq!(refusal(cinema.system.ask(&auditorium("A", "UTC"), Some(&ada)).await).0, 403);
    let show = showtime(Uuid::nil(), Uuid::nil(), ahead(2));
    assert_eq!(refusal(cinema.system.ask(&show, Some(&ada)).await).0, 403);
    sqlx::query("update auth.users set role = 'ADMIN' where email_key = 'ada@example.org'")
        .execute(&cinema.system.database)
        .await
        .unwrap();
    let ada = cinema.system.log_in("ada@example.org", crate::harness::PASSWORD).await.unwrap().access_token;
    cinema.system.ask(&genre, Some(&ada)).await.unwrap();
    let listed = cinema.system.ask(&ListGenres { paging: Paging::default() }, None).await.unwrap();
    assert_eq!(listed.total, 1);
    cinema.system.finish().await;
}

#[tokio::test]
async fn a_movie_is_told_and_found_with_its_genres_in_order() {
    let cinema = Cinema::open().await;
    let (drama, comedy) = (cinema.genre("Drama").await, cinema.genre("Comedy").await);
    let taken = cinema.ask(&CreateGenre { name: "dRAMA".into() }).await;
    assert_eq!(refusal(taken).1, "genre-taken");
    let made = cinema.movie("Paper Comets", &[&drama, &comedy]).await;
    assert_eq!(made.genres, [drama.clone(), comedy.clone()]);
    assert_eq!(cinema.ask(&GetMovie { id: made.id }).await.unwrap(), made);
    let event = cinema.system.events::<MovieCreated>(1).await.remove(0);
    assert_eq!((event.movie_id, event.genres), (made.id, vec!["Drama".to_owned(), "Comedy".to_owned()]));
    let creator = sqlx::query_scalar::<_, Uuid>("select id from auth.users where role = 'SUPER_ADMIN'");
    assert_eq!(event.created_by, creator.fetch_one(&cinema.system.database).await.unwrap());

    let mut unknown = movie("Nothing", &[&drama]);
    unknown.genre_ids.push(Uuid::now_v7());
    let (status, _, field) = refusal(cinema.ask(&unknown).await);
    assert_eq!((status, field.as_str()), (422, "genreIds names a genre that does not exist"));
    assert_eq!(refusal(cinema.ask(&GetMovie { id: Uuid::now_v7() }).await).0, 404);
    let mut wrong = movie("", &[]);
    wrong.release_date = "2026-02-30".into();
    assert_eq!(cinema.ask(&wrong).await.unwrap_err().errors.len(), 2);
    assert_eq!(cinema.titles(any_movie()).await, ["Paper Comets"], "nothing half done remains");
    cinema.system.finish().await;
}

#[tokio::test]
async fn a_create_sent_again_under_its_key_gives_the_first_answer_byte_for_byte() {
    let cinema = Cinema::open().await;
    let ask = Ask {
        token: Some(cinema.token.clone()),
        idempotency_key: Some("once".into()),
        ..Ask::new(Context::new())
    };
    let wanted = movie("Paper Comets", &[]);
    let answers = join_all((0..8).map(|_| cinema.system.bus.ask_raw(&wanted, &ask))).await;
    let answers: HashSet<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.len(), 1);
    let other = cinema.system.bus.ask(&movie("Other", &[]), &ask).await;
    assert_eq!(refusal(other).1, "idempotency-mismatch");
    assert_eq!(cinema.titles(any_movie()).await, ["Paper Comets"]);
    cinema.system.events::<MovieCreated>(1).await;
    cinema.system.finish().await;
}

#[tokio::test]
async fn an_auditorium_has_a_name_of_its_own_and_a_time_zone_that_exists() {
    let cinema = Cinema::open().await;
    let made = cinema.auditorium("Grand", "Europe/Berlin").await;
    assert_eq!(cinema.ask(&GetAuditorium { id: made.id }).await.unwrap(), made);
    assert_eq!(refusal(cinema.ask(&auditorium("GRAND", "UTC")).await).1, "auditorium-taken");
    for zone in ["Europe/Atlantis", "CEST", "europe/berlin ", "'; drop table"] {
        let (status, _, field) = refusal(cinema.ask(&auditorium("Other", zone)).await);
        assert_eq!((status, field.split(' ').next()), (422, Some("timeZone")), "{zone}");
    }
    assert_eq!(refusal(cinema.ask(&GetAuditorium { id: Uuid::now_v7() }).await).0, 404);
    let listed = cinema.ask(&ListAuditoriums { paging: Paging::default() }).await.unwrap();
    assert_eq!((listed.total, listed.items), (1, vec![made]));
    cinema.system.finish().await;
}

#[tokio::test]
async fn a_showtime_freezes_seats_and_prices_and_is_told() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "Europe/Berlin").await);
    let made = cinema.show(&movie, &hall, ahead(24)).await.unwrap();
    assert_eq!((made.ends_at, made.movie_title.as_str()), (ahead(24).plus(HOUR * 3 / 2), "Comets"));
    let event = cinema.system.events::<ShowtimeScheduled>(1).await.remove(0);
    assert_eq!((event.showtime_id, &event.rows, &event.prices), (made.id, &hall.rows, &made.prices));

    sqlx::query("update movie.auditoriums set layout = '[]'").execute(&cinema.system.database).await.unwrap();
    let described = cinema.system.ask(&DescribeShowtime { id: made.id }, None).await.unwrap();
    assert_eq!(described, event);
    assert_eq!(cinema.ask(&GetShowtime { id: made.id }).await.unwrap(), made);
    assert_eq!(refusal(cinema.ask(&GetShowtime { id: Uuid::now_v7() }).await).0, 404);
    assert_eq!(refusal(cinema.ask(&DescribeShowtime { id: Uuid::now_v7() }).await).0, 404);
    cinema.system.finish().await;
}

#[tokio::test]
async fn a_showtime_that_cannot_be_is_refused_by_its_field() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "Europe/Berlin").await);
    let refused = async |wanted: CreateShowtime| {
        let (status, _, field) = refusal(cinema.ask(&wanted).await);
        assert_eq!(status, 422);
        field
    };
    let fine = showtime(movie.id, hall.id, ahead(24));
    let lacking = CreateShowtime { prices: prices(&[SeatKind::Standard]), ..fine.clone() };
    assert_eq!(refused(lacking).await, "prices lacks a price for WHEELCHAIR");
    let past = CreateShowtime { starts_at: ahead(0), ..fine.clone() };
    assert_eq!(refused(past).await, "startsAt must lie in the future");
    let nowhere = CreateShowtime { auditorium_id: Uuid::now_v7(), ..fine.clone() };
    assert_eq!(refused(nowhere).await, "auditoriumId names an auditorium that does not exist");
    let nothing = CreateShowtime { movie_id: Uuid::now_v7(), ..fine };
    assert_eq!(refused(nothing).await, "movieId names a movie that does not exist");
    assert!(cinema.starts(any_showtime()).await.is_empty());
    cinema.system.finish().await;
}

#[tokio::test]
async fn of_overlapping_showtimes_asked_for_at_once_on_two_hosts_one_gets_the_auditorium() {
    let mut cinema = Cinema::open().await;
    cinema.system = cinema.system.with_movie().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "UTC").await);
    let minutes = |n: u32| ahead(24).plus(Duration::from_secs(60) * n);
    let answers = join_all((0..24).map(|n| cinema.show(&movie, &hall, minutes(n)))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 23));
    for answer in lost {
        let (status, code, _) = refusal(answer);
        assert_eq!((status, code.as_str()), (409, "auditorium-busy"));
    }
    let won = won.into_iter().next().unwrap().unwrap();
    let after = cinema.show(&movie, &hall, won.ends_at).await.expect("one may begin where another ends");
    let elsewhere = cinema.auditorium("Two", "UTC").await;
    cinema.show(&movie, &elsewhere, won.starts_at).await.expect("another auditorium is free");
    assert_eq!(refusal(cinema.show(&movie, &hall, won.starts_at).await).0, 409);
    sqlx::query("update movie.showtimes set status = 'CANCELLED' where id = $1")
        .bind(won.id)
        .execute(&cinema.system.database)
        .await
        .unwrap();
    cinema.show(&movie, &hall, won.starts_at).await.expect("a cancelled showtime frees its auditorium");
    cinema.system.events::<ShowtimeScheduled>(4).await;
    assert_eq!(cinema.starts(ListShowtimes { from: Some(after.starts_at), ..any_showtime() }).await.len(), 1);
    cinema.system.finish().await;
}

#[tokio::test]
async fn movies_are_found_by_name_genre_and_when_they_play() {
    let cinema = Cinema::open().await;
    let (drama, comedy) = (cinema.genre("Drama").await, cinema.genre("Comedy").await);
    let comets = cinema.movie("Paper Comets", &[&drama]).await;
    let kites = cinema.movie("100% Kites", &[&comedy, &drama]).await;
    cinema.movie("paper tigers", &[]).await;
    let hall = cinema.auditorium("One", "America/New_York").await;
    let day = (OffsetDateTime::now_utc() + Duration::from_secs(3 * 86_400)).date();
    // In New York's evening it is the next day by UTC.
    let evening = cinema.at(&format!("{day} 21:30"), "America/New_York").await;
    let noon = cinema.at(&format!("{day} 12:00"), "America/New_York").await;
    cinema.show(&comets, &hall, evening).await.unwrap();
    cinema.show(&kites, &hall, noon).await.unwrap();

    let with = |change: fn(&mut ListMovies, String), value: &str| {
        let mut wanted = any_movie();
        change(&mut wanted, value.to_owned());
        cinema.titles(wanted)
    };
    let by_name = |wanted: &mut ListMovies, name| wanted.name = Some(name);
    assert_eq!(with(by_name, "PAPER").await, ["Paper Comets", "paper tigers"]);
    assert_eq!(with(by_name, "%").await, ["100% Kites"], "no wildcard");
    let by_genre = |wanted: &mut ListMovies, genre| wanted.genre = Some(genre);
    assert_eq!(with(by_genre, "drama").await, ["100% Kites", "Paper Comets"]);
    assert_eq!(with(by_genre, &comedy.id.to_string().to_uppercase()).await, ["100% Kites"]);
    assert!(with(by_genre, "western").await.is_empty());
    let by_date = |wanted: &mut ListMovies, date| wanted.date = Some(date);
    assert_eq!(with(by_date, &day.to_string()).await, ["100% Kites", "Paper Comets"]);
    assert!(with(by_date, &day.next_day().unwrap().to_string()).await.is_empty());
    let by_time = |wanted: &mut ListMovies, time| wanted.show_time = Some(time);
    assert_eq!(with(by_time, "21:30").await, ["Paper Comets"]);
    let both = ListMovies {
        date: Some(day.to_string()),
        show_time: Some("12:00".into()),
        genre: Some("Drama".into()),
        ..any_movie()
    };
    assert_eq!(cinema.titles(both).await, ["100% Kites"]);

    let page = |page| ListMovies { paging: Paging { page, page_size: 2 }, ..any_movie() };
    let pages = join_all([1, 2, 9].map(async |n| cinema.ask(&page(n)).await.unwrap())).await;
    let sizes: Vec<_> = pages.iter().map(|page| (page.items.len(), page.total)).collect();
    assert_eq!(sizes, [(2, 3), (1, 3), (0, 3)]);
    cinema.system.finish().await;
}

#[tokio::test]
async fn a_date_is_the_auditoriums_own_also_when_summer_time_begins() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "Europe/Berlin").await);
    // Clocks go forward on the last Sunday of March, next year's lies in the future.
    let year = OffsetDateTime::now_utc().year() + 1;
    let mut day = Date::from_calendar_date(year, Month::March, 31).unwrap();
    while day.weekday() != Weekday::Sunday {
        day = day.previous_day().unwrap();
    }
    let mut shows = Vec::new();
    for (day, time) in [
        (day.previous_day().unwrap(), "22:00"),
        // By UTC the evening before.
        (day, "00:15"),
        (day, "12:00"),
        // Winter time would have it a day later or earlier at both ends of these.
        (day, "23:45"),
        (day.next_day().unwrap(), "01:30"),
    ] {
        let at = cinema.at(&format!("{day} {time}"), "Europe/Berlin").await;
        shows.push(cinema.show(&movie, &hall, at).await.unwrap().starts_at);
    }
    assert_eq!((shows[2], shows[3]), (shows[1].plus(HOUR * 43 / 4), shows[1].plus(HOUR * 45 / 2)));
    let on = |day: Date| cinema.starts(ListShowtimes { date: Some(day.to_string()), ..any_showtime() });
    assert_eq!(on(day.previous_day().unwrap()).await, shows[..1]);
    assert_eq!(on(day).await, shows[1..4]);
    assert_eq!(on(day.next_day().unwrap()).await, shows[4..]);
    let between = ListShowtimes { from: Some(shows[1]), to: Some(shows[2]), ..any_showtime() };
    assert_eq!(cinema.starts(between).await, shows[1..3]);
    let other = ListShowtimes { movie_id: Some(Uuid::now_v7()), ..any_showtime() };
    assert!(cinema.starts(other).await.is_empty());
    cinema.system.finish().await;
}

#[tokio::test]
async fn what_has_begun_is_listed_only_when_asked_for() {
    let cinema = Cinema::open().await;
    let (movie, hall) = (cinema.movie("Comets", &[]).await, cinema.auditorium("One", "UTC").await);
    let made = cinema.show(&movie, &hall, ahead(24)).await.unwrap();
    sqlx::query("update movie.showtimes set starts_at = starts_at - interval '2 days', ends_at = ends_at - interval '2 days'")
        .execute(&cinema.system.database)
        .await
        .unwrap();
    assert!(cinema.starts(any_showtime()).await.is_empty());
    let past = made.starts_at.minus(HOUR * 48);
    assert_eq!(cinema.starts(ListShowtimes { from: Some(past), ..any_showtime() }).await, [past]);
    let at = format!("{:02}:00", made.starts_at.date_time().hour());
    assert!(cinema.titles(ListMovies { show_time: Some(at), ..any_movie() }).await.is_empty());
    cinema.system.finish().await;
}

#[tokio::test]
async fn the_demo_cinema_is_open_for_two_weeks_and_a_second_seed_adds_only_what_is_missing() {
    let cinema = Cinema::open().await;
    let config = &cinema.system.config;
    let seeds = join_all((0..2).map(|_| seed(config, cinema.system.bus.clone()))).await;
    let added: Vec<Added> = seeds.into_iter().map(|seeded| seeded.unwrap().added).collect();
    let (first, second) = if added[0].movies > 0 { (added[0], added[1]) } else { (added[1], added[0]) };
    assert_eq!(second, Added::default());
    assert!(first.movies >= 6 && first.genres > 0 && first.auditoriums == 3, "{first:?}");
    assert!(first.showtimes >= 14 * 3 * 3, "{first:?}");
    for account in &ACCOUNTS {
        let session = cinema.system.log_in(account.email, account.password).await.unwrap();
        assert_eq!((session.user.role, session.user.name.as_str()), (account.role, account.name));
    }

    let mut days: BTreeMap<String, u64> = BTreeMap::new();
    let mut halls: HashMap<String, Vec<Showtime>> = HashMap::new();
    let today = OffsetDateTime::now_utc();
    for ahead in 1..=13 {
        let date = (today + Duration::from_secs(ahead * 86_400)).date().to_string();
        let paging = Paging { page: 1, page_size: 100 };
        let page =
            cinema.ask(&ListShowtimes { date: Some(date.clone()), paging, ..any_showtime() }).await.unwrap();
        days.insert(date, page.total);
        for showtime in page.items {
            halls.entry(showtime.auditorium_name.clone()).or_default().push(showtime);
        }
    }
    assert!(days.values().all(|shows| *shows >= 9), "{days:?}");
    assert_eq!(halls.len(), 3);
    for shows in halls.values() {
        let hours: HashSet<u8> = shows.iter().map(|show| show.starts_at.date_time().hour()).collect();
        assert!(hours.iter().all(|hour| (8..23).contains(hour)), "{hours:?} UTC");
    }

    // The last two days are lost, as if those had only now been reached.
    let gone = "delete from movie.showtimes where starts_at > now() + interval '12 days'";
    let gone = sqlx::query(gone).execute(&cinema.system.database).await.unwrap().rows_affected();
    let again = seed(config, cinema.system.bus.clone()).await.unwrap();
    assert_eq!(again.added, Added { showtimes: gone as usize, ..Added::default() });
    let told = cinema.system.events::<ShowtimeScheduled>(first.showtimes + gone as usize).await;
    let ids: HashSet<Uuid> = told.iter().map(|event| event.showtime_id).collect();
    assert_eq!(ids.len(), told.len());
    cinema.system.finish().await;
}

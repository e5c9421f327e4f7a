//! Searching movies and showtimes: by words, dates and times, the order of the results, and the index that is used.

use super::*;

#[tokio::test]
async fn movies_are_found_by_name_genre_date_and_time() {
    let catalogue = Catalogue::open().await;
    let (drama, comedy) = (catalogue.genre("Drama").await, catalogue.genre("Comedy").await);
    let comets = catalogue.movie("Paper Comets", &[&drama]).await;
    let kites = catalogue.movie("100% Kites", &[&comedy, &drama]).await;
    catalogue.movie("paper tigers", &[]).await;
    let hall = catalogue.auditorium("One", "America/New_York").await;
    let day = (OffsetDateTime::now_utc() + Duration::from_secs(3 * 86_400)).date();
    // In the evening of New York it is already the next day in UTC.
    let evening = catalogue.at(&format!("{day} 21:30"), "America/New_York").await;
    let noon = catalogue.at(&format!("{day} 12:00"), "America/New_York").await;
    catalogue.show(&comets, &hall, evening).await.unwrap();
    catalogue.show(&kites, &hall, noon).await.unwrap();

    let with = |change: fn(&mut ListMovies, String), value: &str| {
        let mut wanted = any_movie();
        change(&mut wanted, value.to_owned());
        catalogue.titles(wanted)
    };
    let by_name = |wanted: &mut ListMovies, name| wanted.name = Some(name);
    assert_eq!(with(by_name, "PAPER").await, ["Paper Comets", "paper tigers"]);
    assert_eq!(
        with(by_name, "com pap").await,
        ["Paper Comets"],
        "each word is the beginning of a word of the title"
    );
    assert!(with(by_name, "aper").await.is_empty(), "only the beginning of a word");
    assert_eq!(with(by_name, "100%").await, ["100% Kites"]);
    for odd in ["%", "' or true --", "a:* | b", "\\"] {
        assert!(with(by_name, odd).await.is_empty(), "{odd}");
    }
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
    assert_eq!(catalogue.titles(both).await, ["100% Kites"]);

    let page = |page| ListMovies { paging: Paging { page, page_size: 2 }, ..any_movie() };
    let pages = join_all([1, 2, 9].map(async |n| catalogue.ask(&page(n)).await.unwrap())).await;
    let sizes: Vec<_> = pages.iter().map(|page| (page.items.len(), page.total)).collect();
    assert_eq!(sizes, [(2, 3), (1, 3), (0, 3)]);
    catalogue.system.finish().await;
}

#[tokio::test]
async fn a_date_is_in_the_time_zone_of_the_auditorium_even_when_summer_time_begins() {
    let catalogue = Catalogue::open().await;
    let (movie, hall) =
        (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "Europe/Berlin").await);
    // Summer time begins on the last Sunday of March; that of next year is in the future.
    let year = OffsetDateTime::now_utc().year() + 1;
    let mut day = Date::from_calendar_date(year, Month::March, 31).unwrap();
    while day.weekday() != Weekday::Sunday {
        day = day.previous_day().unwrap();
    }
    let mut shows = Vec::new();
    for (day, time) in [
        (day.previous_day().unwrap(), "22:00"),
        // In UTC it is still the evening before.
        (day, "00:15"),
        (day, "12:00"),
        // With the offset of winter time these two would be on another day.
        (day, "23:45"),
        (day.next_day().unwrap(), "01:30"),
    ] {
        let at = catalogue.at(&format!("{day} {time}"), "Europe/Berlin").await;
        shows.push(catalogue.show(&movie, &hall, at).await.unwrap().starts_at);
    }
    assert_eq!((shows[2], shows[3]), (shows[1].plus(HOUR * 43 / 4), shows[1].plus(HOUR * 45 / 2)));
    let on = |day: Date| catalogue.starts(ListShowtimes { date: Some(day.to_string()), ..any_showtime() });
    assert_eq!(on(day.previous_day().unwrap()).await, shows[..1]);
    assert_eq!(on(day).await, shows[1..4]);
    assert_eq!(on(day.next_day().unwrap()).await, shows[4..]);
    let between = ListShowtimes { from: Some(shows[1]), to: Some(shows[2]), ..any_showtime() };
    assert_eq!(catalogue.starts(between).await, shows[1..3]);
    let other = ListShowtimes { movie_id: Some(Uuid::now_v7()), ..any_showtime() };
    assert!(catalogue.starts(other).await.is_empty());
    catalogue.system.finish().await;
}

#[tokio::test]
async fn today_is_the_date_on_the_clock_of_each_auditorium() {
    let catalogue = Catalogue::open().await;
    // A zone where it is noon now: in two hours it is the same day there, in fourteen the next.
    let east = 12 - i32::from(OffsetDateTime::now_utc().hour());
    let zone = |east: i32| match east {
        0 => "UTC".to_owned(),
        1.. => format!("Etc/GMT-{east}"),
        _ => format!("Etc/GMT+{}", -east),
    };
    let noon = catalogue.auditorium("Noon", &zone(east)).await;
    let (soon, later) = (catalogue.movie("Soon", &[]).await, catalogue.movie("Later", &[]).await);
    let shown = catalogue.show(&soon, &noon, ahead(2)).await.unwrap().starts_at;
    catalogue.show(&later, &noon, ahead(14)).await.unwrap();
    let today = Some("today".to_owned());
    assert_eq!(catalogue.starts(ListShowtimes { date: today.clone(), ..any_showtime() }).await, [shown]);
    assert_eq!(catalogue.titles(ListMovies { date: today, ..any_movie() }).await, ["Soon"]);
    let problem =
        catalogue.ask(&ListMovies { date: Some("tomorrow".into()), ..any_movie() }).await.unwrap_err();
    assert_eq!(problem.status, 422);
    catalogue.system.finish().await;
}

/// Postgres may have older time zone rules than the program: showtimes are scheduled and found by the rules of the program.
#[tokio::test]
async fn a_showtime_is_found_by_its_local_date_and_time_in_every_zone() {
    let catalogue = Catalogue::open().await;
    let day = (OffsetDateTime::now_utc() + Duration::from_secs(20 * 86_400)).date().to_string();
    let zones = [
        "Europe/Berlin",
        "America/Vancouver",
        "America/Edmonton",
        "America/Winnipeg",
        "America/Havana",
        "Africa/Casablanca",
        "Asia/Almaty",
        "Asia/Kolkata",
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
    ];
    for zone in zones {
        let (movie, hall) = (catalogue.movie(zone, &[]).await, catalogue.auditorium(zone, zone).await);
        let wanted = bus::contract::movie::CreateShowtimes {
            movie_id: movie.id,
            auditorium_id: hall.id,
            from: day.clone(),
            to: day.clone(),
            weekdays: None,
            times: vec!["00:15".into(), "23:45".into()],
            prices: Some(prices(&[SeatKind::Standard, SeatKind::Wheelchair])),
            price_card_id: None,
            surcharges: vec![],
            overrides: Default::default(),
            film_version: None,
            format: None,
            on_sale_at: None,
            minutes_before_film: 0,
            status: InitialStatus::OnSale,
        };
        let made: HashSet<Timestamp> =
            catalogue.ask(&wanted).await.unwrap().created.iter().map(|showtime| showtime.starts_at).collect();
        let found = ListShowtimes { movie_id: Some(movie.id), date: Some(day.clone()), ..any_showtime() };
        let found: HashSet<Timestamp> = catalogue.starts(found).await.into_iter().collect();
        assert_eq!((made.len(), &found), (2, &made), "{zone} on {day}");
    }
    for time in ["00:15", "23:45"] {
        let of_day = ListMovies { date: Some(day.clone()), show_time: Some(time.into()), ..any_movie() };
        let of_any_day = ListMovies { show_time: Some(time.into()), ..any_movie() };
        for wanted in [of_day, of_any_day] {
            let found: HashSet<String> = catalogue.titles(wanted).await.into_iter().collect();
            assert_eq!(found, zones.map(str::to_owned).into(), "{time}");
        }
    }
    catalogue.system.finish().await;
}

#[tokio::test]
async fn started_showtimes_are_listed_only_on_request() {
    let catalogue = Catalogue::open().await;
    let (movie, hall) = (catalogue.movie("Comets", &[]).await, catalogue.auditorium("One", "UTC").await);
    let made = catalogue.show(&movie, &hall, ahead(24)).await.unwrap();
    sqlx::query("update movie.showtimes set starts_at = starts_at - interval '2 days', ends_at = ends_at - interval '2 days'")
        .execute(&catalogue.system.database)
        .await
        .unwrap();
    assert!(catalogue.starts(any_showtime()).await.is_empty());
    let past = made.starts_at.minus(HOUR * 48);
    assert_eq!(catalogue.starts(ListShowtimes { from: Some(past), ..any_showtime() }).await, [past]);
    let at = format!("{:02}:00", made.starts_at.date_time().hour());
    assert!(catalogue.titles(ListMovies { show_time: Some(at), ..any_movie() }).await.is_empty());
    catalogue.system.finish().await;
}

#[tokio::test]
async fn titles_are_found_without_accents_and_through_an_index() {
    let catalogue = Catalogue::open().await;
    for title in ["Amélie à l'Océan", "Ocean's Eight", "Straßenmusik", "Ämne Noll", "Ирония судьбы"]
    {
        catalogue.movie(title, &[]).await;
    }
    // The accent is a character of its own after the letter.
    catalogue.movie("Cafe\u{301} Noir", &[]).await;
    let named = |name: &str| catalogue.titles(ListMovies { name: Some(name.into()), ..any_movie() });
    assert_eq!(named("amelie").await, ["Amélie à l'Océan"]);
    assert_eq!(named("OCÉANS").await, ["Ocean's Eight"]);
    assert_eq!(named("ocean's").await, ["Ocean's Eight"]);
    assert_eq!(named("ocean").await, ["Amélie à l'Océan", "Ocean's Eight"]);
    assert_eq!(named("strasse").await, ["Straßenmusik"]);
    assert_eq!(named("amn").await, ["Ämne Noll"]);
    assert_eq!(named("café").await, ["Cafe\u{301} Noir"]);
    assert_eq!(named("ирония").await, ["Ирония судьбы"]);
    // Scripts that have no spaces are searched inside.
    catalogue.movie("千と千尋の神隠し", &[]).await;
    catalogue.movie("ฉลาดเกมส์โกง", &[]).await;
    for (typed, found) in [("千尋", true), ("神隠し", true), ("隠し神", false)] {
        assert_eq!(!named(typed).await.is_empty(), found, "{typed}");
    }
    assert_eq!(named("เกมส์").await, ["ฉลาดเกมส์โกง"]);
    assert!(named("судьб ония").await.is_empty(), "with spaces only the beginnings of words");

    let many =
        "insert into movie.movies (id, title, synopsis, duration_minutes, rating, release_date, language,
                  created_at, updated_at)
                select gen_random_uuid(), 'Part ' || n, '', 90, '', '2026-01-01', 'en', now(), now()
                from generate_series(1, 20000) n";
    sqlx::query(many).execute(&catalogue.system.database).await.unwrap();
    sqlx::query("vacuum analyze movie.movies").execute(&catalogue.system.database).await.unwrap();
    // Often enough for Postgres to use a generic plan for the prepared statement.
    for _ in 0..8 {
        assert_eq!(named("part 777").await.len(), 11, "777, and 7770 to 7779");
    }
    let scans = async |database: &sqlx::PgPool| {
        let scans = sqlx::query_scalar::<_, i64>(
            "select idx_scan from pg_stat_user_indexes where indexrelname = 'movies_words'",
        );
        scans.fetch_one(database).await.unwrap() >= 8
    };
    catalogue.system.until("the search used its index", scans).await;
    catalogue.system.finish().await;
}

#[tokio::test]
async fn movies_are_sorted_as_requested() {
    let catalogue = Catalogue::open().await;
    let released = async |title: &str, on: &str| {
        let wanted = CreateMovie { release_date: on.into(), ..super::movie(title, &[]) };
        catalogue.ask(&wanted).await.unwrap()
    };
    let (b, a, c) = (
        released("b", "2026-01-01").await,
        released("A", "2026-03-01").await,
        released("c", "2026-02-01").await,
    );
    let hall = catalogue.auditorium("One", "UTC").await;
    catalogue.show(&c, &hall, ahead(30)).await.unwrap();
    catalogue.show(&b, &hall, ahead(40)).await.unwrap();
    catalogue.show(&c, &hall, ahead(50)).await.unwrap();
    let sorted = |sort| catalogue.titles(ListMovies { sort, ..any_movie() });
    assert_eq!(sorted(MovieSort::Title).await, ["A", "b", "c"]);
    assert_eq!(sorted(MovieSort::TitleDown).await, ["c", "b", "A"]);
    assert_eq!(sorted(MovieSort::ReleaseDate).await, ["b", "c", "A"]);
    assert_eq!(sorted(MovieSort::ReleaseDateDown).await, ["A", "c", "b"]);
    assert_eq!(sorted(MovieSort::NextShowtime).await, ["c", "b", "A"], "movies without a showtime are last");
    let second = Paging { page: 2, page_size: 2 };
    let page = catalogue
        .ask(&ListMovies { sort: MovieSort::NextShowtime, paging: second, ..any_movie() })
        .await
        .unwrap();
    assert_eq!((page.total, page.items.first().map(|movie| movie.id)), (3, Some(a.id)));
    let in_hall = ListShowtimes { auditorium_id: Some(hall.id), movie_id: Some(c.id), ..any_showtime() };
    assert_eq!(catalogue.starts(in_hall).await, [ahead(30), ahead(50)]);
    let elsewhere = ListShowtimes { auditorium_id: Some(Uuid::now_v7()), ..any_showtime() };
    assert!(catalogue.starts(elsewhere).await.is_empty());
    catalogue.system.finish().await;
}

#[tokio::test]
async fn date_and_time_must_match_one_showtime_in_local_time() {
    let catalogue = Catalogue::open().await;
    let (morning, night) = (catalogue.movie("Morning", &[]).await, catalogue.movie("Night", &[]).await);
    let hall = catalogue.auditorium("One", "Europe/Berlin").await;
    for (day, time) in [("2027-03-27", "23:30"), ("2027-03-28", "03:30"), ("2027-10-31", "00:30")] {
        let at = catalogue.at(&format!("{day} {time}"), "Europe/Berlin").await;
        catalogue.show(&night, &hall, at).await.unwrap();
    }
    for (day, time) in [("2027-03-28", "09:00"), ("2027-10-31", "09:00"), ("2027-10-30", "21:00")] {
        let at = catalogue.at(&format!("{day} {time}"), "Europe/Berlin").await;
        catalogue.show(&morning, &hall, at).await.unwrap_or_else(|e| panic!("{day} {time}: {e:?}"));
    }
    let on = |date: &str, time: &str| {
        catalogue.titles(ListMovies { date: Some(date.into()), show_time: Some(time.into()), ..any_movie() })
    };
    assert_eq!(on("2027-03-28", "03:30").await, ["Night"]);
    assert_eq!(on("2027-03-28", "09:00").await, ["Morning"]);
    assert!(on("2027-03-28", "23:30").await.is_empty(), "the movie is shown at that time on another day");
    assert!(on("2027-03-27", "09:00").await.is_empty());
    assert_eq!(on("2027-10-31", "00:30").await, ["Night"]);
    assert_eq!(on("2027-10-31", "09:00").await, ["Morning"]);
    assert!(on("2027-10-30", "00:30").await.is_empty());
    // In that night there are two times 02:30; the second one is found as well.
    let second = time::macros::datetime!(2027-10-31 01:30 UTC);
    catalogue.show(&night, &hall, second.into()).await.unwrap();
    assert_eq!(on("2027-10-31", "02:30").await, ["Night"]);
    catalogue.system.finish().await;
}

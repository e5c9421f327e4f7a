//! Showings as they are: versions, formats, age ratings, the time before the film, drafts, and the start of the sale.

use reqwest::Method;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::cinema::{Answer, TestCinema, id};

/// A time so many minutes from now.
fn ahead(minutes: i64) -> String {
    (OffsetDateTime::now_utc() + Duration::minutes(minutes)).format(&Rfc3339).unwrap()
}

fn subtitled() -> Value {
    json!({"kind": "SUBTITLED", "audio": "en", "subtitles": ["de"]})
}

impl TestCinema {
    async fn owner_call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(method, path, Some(&self.owner()), Some(body)).await
    }

    async fn public(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    /// A movie with a version, a format and an age rating; returns its id.
    async fn rated_movie(&self, title: &str) -> String {
        let body = json!({
            "title": title, "durationMinutes": 90, "releaseDate": "2026-01-01", "versions": [subtitled()],
            "formats": ["2D", "3D"], "ageRating": {"scheme": "FSK", "value": "12"},
        });
        id(&self.owner_call(Method::POST, "/v1/movies", body).await.expect(201))
    }

    /// Plans a showtime of a movie in a hall of its own, with these fields besides.
    pub async fn plan(&self, movie: &str, fields: Value) -> Answer {
        let name = format!("Hall {}", Uuid::now_v7());
        let seats: Vec<Value> = (1..=4).map(|number| json!({"number": number, "kind": "STANDARD"})).collect();
        let hall =
            json!({"name": name, "timeZone": "Europe/Berlin", "rows": [{"label": "A", "seats": seats}]});
        let hall = id(&self.owner_call(Method::POST, "/v1/auditoriums", hall).await.expect(201));
        let mut body = json!({
            "movieId": movie, "auditoriumId": hall, "startsAt": ahead(24 * 60),
            "prices": {"STANDARD": {"amount": 1200, "currency": "EUR"}},
        });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.owner_call(Method::POST, "/v1/showtimes", body).await
    }

    async fn hold(&self, showtime: &str, seat: &str) -> Answer {
        let ada = self.register().await;
        let body = json!({"showtimeId": showtime, "seats": [seat]});
        self.call(Method::POST, "/v1/reservations", Some(&ada), Some(body)).await
    }

    /// Whether a draft leaks: its id, or its movie's title, in anything that the public reads.
    async fn leaks(&self, showtime: &str, movie: &str) -> Vec<String> {
        let lists = [
            "/v1/showtimes?pageSize=100".to_owned(),
            format!("/v1/showtimes?movieId={movie}"),
            "/v1/programme".to_owned(),
            "/sitemap.xml".to_owned(),
            "/programme.ics".to_owned(),
            "/".to_owned(),
            format!("/movies/{movie}"),
        ];
        let mut leaks = Vec::new();
        for path in lists {
            let text = self.http.get(format!("{}{path}", self.url())).send().await.unwrap();
            if text.text().await.unwrap().contains(showtime) {
                leaks.push(path);
            }
        }
        for path in ["", "/seats", "/tariff", "/seats/best?count=1"] {
            let answer = self.public(&format!("/v1/showtimes/{showtime}{path}")).await;
            if answer.status.as_u16() != 404 {
                leaks.push(format!("{path}: {}", answer.status));
            }
        }
        let page = self.http.get(format!("{}/showtimes/{showtime}", self.url()));
        let page = page.header("Accept", "text/html").send().await.unwrap();
        if page.status().as_u16() != 404 {
            leaks.push(format!("page: {}", page.status()));
        }
        leaks
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_says_what_it_shows_in_lists_events_and_the_mail() {
    let mut cinema = TestCinema::open().await;
    let movie = cinema.rated_movie("Night Boats").await;
    let seen = cinema.public(&format!("/v1/movies/{movie}")).await.expect(200);
    assert_eq!((&seen["rating"], &seen["minimumAge"]), (&json!("FSK 12"), &json!(12)));
    assert_eq!((&seen["versions"], &seen["formats"]), (&json!([subtitled()]), &json!(["2D", "3D"])));
    let fields = json!({"filmVersion": subtitled(), "format": "3D", "minutesBeforeFilm": 20});
    let made = cinema.plan(&movie, fields).await.expect(201);
    assert_eq!((&made["status"], &made["minutesBeforeFilm"]), (&json!("ON_SALE"), &json!(20)));
    let at = |field: &str| OffsetDateTime::parse(made[field].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(at("endsAt") - at("startsAt"), Duration::minutes(20 + 90), "the end counts the advertising");
    let listed = cinema.public(&format!("/v1/showtimes?movieId={movie}")).await.expect(200);
    assert_eq!(
        (&listed["items"][0]["filmVersion"], &listed["items"][0]["format"]),
        (&subtitled(), &json!("3D"))
    );
    cinema.until_published().await;
    let events = cinema.events("showtime.scheduled").await;
    let event = events.iter().find(|event| event["showtimeId"] == made["id"]);
    let event = event.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(event["filmVersion"], subtitled());
    cinema.showtime = id(&made);
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    cinema.until_confirmed(&ada, &order).await;
    let pdf = cinema.http.get(format!("{}/v1/reservations/{order}/tickets.pdf", cinema.url()));
    let pdf = pdf.bearer_auth(&ada.token).send().await.unwrap();
    assert_eq!(pdf.status().as_u16(), 200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_movie_is_not_shown_in_is_refused_with_its_own_code() {
    let cinema = TestCinema::open().await;
    let movie = cinema.rated_movie("Night Boats").await;
    let wrong = [
        (json!({"ageRating": {"scheme": "XYZ", "value": "12"}}), "ageRating.scheme", "rating-scheme"),
        (json!({"ageRating": {"scheme": "FSK", "value": "PG-13"}}), "ageRating.value", "rating-value"),
        (json!({"formats": ["5D"]}), "formats[0]", "format"),
        (json!({"versions": [{"kind": "OV", "audio": "english"}]}), "versions[0].audio", "language-tag"),
        (
            json!({"versions": [{"kind": "SUBTITLED", "audio": "en"}]}),
            "versions[0].subtitles",
            "subtitles-missing",
        ),
    ];
    for (body, field, code) in wrong {
        let answer = cinema.owner_call(Method::PATCH, &format!("/v1/movies/{movie}"), body.clone()).await;
        let error = &answer.body["errors"][0];
        assert_eq!(answer.status.as_u16(), 422, "{body}");
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{body}");
    }
    let wrong = [
        (json!({"format": "4K"}), "format", "format-unknown"),
        (json!({"filmVersion": {"kind": "OV", "audio": "en"}}), "filmVersion", "version-unknown"),
        (json!({"onSaleAt": ahead(25 * 60)}), "onSaleAt", "before"),
        (json!({"minutesBeforeFilm": 91}), "minutesBeforeFilm", "range"),
        (json!({"status": "CANCELLED"}), "status", "type"),
    ];
    for (body, field, code) in wrong {
        let answer = cinema.plan(&movie, body.clone()).await;
        let error = &answer.body["errors"][0];
        assert_eq!(answer.status.as_u16(), 422, "{body}");
        assert_eq!((&error["field"], &error["code"]), (&json!(field), &json!(code)), "{body}");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_seen_by_staff_alone_until_it_is_published() {
    let cinema = TestCinema::open().await;
    let movie = cinema.rated_movie("Secret Premiere").await;
    let draft = cinema.plan(&movie, json!({"status": "DRAFT"})).await.expect(201);
    assert_eq!(draft["status"], "DRAFT");
    let draft = id(&draft);
    assert_eq!(cinema.leaks(&draft, &movie).await, Vec::<String>::new());
    assert_eq!(cinema.hold(&draft, "A1").await.status.as_u16(), 404);
    let staff = "/v1/admin/showtimes?status=DRAFT";
    let listed = cinema.get(staff, &cinema.owner()).await.expect(200);
    assert_eq!((&listed["total"], &listed["items"][0]["id"]), (&json!(1), &json!(draft)));
    let ada = cinema.register().await;
    assert_eq!(cinema.get(staff, &ada).await.status.as_u16(), 403);
    // It needs its hall, as any other.
    let hall = &listed["items"][0]["auditoriumId"];
    let same = cinema.plan(&movie, json!({"auditoriumId": hall})).await;
    assert_eq!((same.status.as_u16(), same.code()), (409, "auditorium-taken"));
    cinema.until_published().await;
    let of_draft = |event: &&Value| event["showtimeId"] == json!(draft);
    assert_eq!(cinema.events("showtime.scheduled").await.iter().filter(of_draft).count(), 0);

    let path = format!("/v1/showtimes/{draft}");
    cinema.owner_call(Method::PATCH, &path, json!({"format": "3D"})).await.expect(200);
    let publish = format!("{path}/publish");
    let published = cinema.call(Method::POST, &publish, Some(&cinema.owner()), None).await.expect(200);
    assert_eq!((&published["status"], &published["format"]), (&json!("ON_SALE"), &json!("3D")));
    let again = cinema.call(Method::POST, &publish, Some(&cinema.owner()), None).await.expect(200);
    assert_eq!(again["version"], published["version"]);
    cinema.until_on_sale(&draft).await;
    cinema.hold(&draft, "A1").await.expect(201);
    assert_eq!(cinema.events("showtime.scheduled").await.iter().filter(of_draft).count(), 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drafts_are_published_together_and_a_draft_that_is_given_up_leaves_nothing() {
    let cinema = TestCinema::open().await;
    let movie = cinema.rated_movie("Secret Premiere").await;
    let mut drafts = Vec::new();
    for _ in 0..3 {
        drafts.push(id(&cinema.plan(&movie, json!({"status": "DRAFT"})).await.expect(201)));
    }
    let gone = drafts.pop().unwrap();
    cinema
        .call(Method::DELETE, &format!("/v1/showtimes/{gone}"), Some(&cinema.owner()), None)
        .await
        .expect(204);
    assert_eq!(cinema.leaks(&gone, &movie).await, Vec::<String>::new());
    let ids = json!({"ids": [drafts[0], drafts[1], cinema.showtime, gone]});
    let done = cinema.owner_call(Method::POST, "/v1/showtimes/publish", ids).await.expect(200);
    assert_eq!(done["published"].as_array().unwrap().len(), 2);
    let skipped = json!([
        {"id": cinema.showtime, "reason": "already-published"}, {"id": gone, "reason": "not-found"},
    ]);
    assert_eq!(done["skipped"], skipped);
    for draft in &drafts {
        cinema.until_on_sale(draft).await;
        cinema.hold(draft, "A2").await.expect(201);
    }
    let twice = json!({"ids": [drafts[0], drafts[0]]});
    let twice = cinema.owner_call(Method::POST, "/v1/showtimes/publish", twice).await;
    assert_eq!((twice.status.as_u16(), &twice.body["errors"][0]["code"]), (422, &json!("twice")));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_before_the_sale_is_refused_with_its_time_on_every_host() {
    let plan = crate::cinema::Plan { reservation_hosts: 2, ..Default::default() };
    let cinema = TestCinema::open_with(plan).await;
    let movie = cinema.rated_movie("Gala").await;
    let opens = ahead(60);
    let made = cinema.plan(&movie, json!({"onSaleAt": opens})).await.expect(201);
    let showtime = id(&made);
    cinema.until_on_sale(&showtime).await;
    for seat in ["A1", "A2", "A3"] {
        let refused = cinema.hold(&showtime, seat).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, "not-on-sale-yet"));
        assert_eq!(refused.body["retryAt"], made["onSaleAt"]);
    }
    let best = cinema.public(&format!("/v1/showtimes/{showtime}/seats/best?count=2")).await;
    assert_eq!((best.status.as_u16(), best.code()), (409, "not-on-sale-yet"));
    // It is listed, with the time, and its seats can be looked at.
    let listed = cinema.public(&format!("/v1/showtimes?movieId={movie}")).await.expect(200);
    assert_eq!(listed["items"][0]["onSaleAt"], made["onSaleAt"]);
    cinema.public(&format!("/v1/showtimes/{showtime}/seats")).await.expect(200);
    // A confirmed order cannot be exchanged for it either.
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    cinema.until_confirmed(&ada, &order).await;
    let body = json!({"showtimeId": showtime, "seats": ["A1"]});
    let moved = cinema.post(&format!("/v1/reservations/{order}/exchange"), &ada, body).await;
    assert_eq!((moved.status.as_u16(), moved.code()), (409, "not-on-sale-yet"));

    let path = format!("/v1/showtimes/{showtime}");
    cinema.owner_call(Method::PATCH, &path, json!({"onSaleAt": null})).await.expect(200);
    cinema.until_on_sale(&showtime).await;
    cinema.hold(&showtime, "A1").await.expect(201);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_movie_deletes_its_drafts_and_an_older_host_would_not_sell_them() {
    let cinema = TestCinema::open().await;
    let movie = cinema.rated_movie("Secret Premiere").await;
    let draft = id(&cinema.plan(&movie, json!({"status": "DRAFT"})).await.expect(201));
    // The row as a host of the version before drafts reads it.
    let status = "select count(*) from movie.showtimes where draft and status = 'CANCELLED'";
    assert_eq!(cinema.count(status).await, 1);
    let path = format!("/v1/movies/{movie}");
    cinema.call(Method::DELETE, &path, Some(&cinema.owner()), None).await.expect(204);
    assert_eq!(cinema.count("select count(*) from movie.showtimes where draft").await, 0);
    assert_eq!(cinema.public(&format!("/v1/showtimes/{draft}")).await.status.as_u16(), 404);
    cinema.close().await;
}

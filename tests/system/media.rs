//! Posters and trailers: uploaded by staff, stored in a folder or at Cloudinary, served to everybody.

mod cloudinary;

use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, answer};
use cloudinary::CloudinaryStandIn;

const MP4: &[u8] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom and the rest of a film";

impl TestCinema {
    async fn create_movie(&self) -> String {
        let movie = json!({"title": "The Poster", "durationMinutes": 90, "releaseDate": "2026-01-01"});
        let movie = self.call(Method::POST, "/v1/movies", Some(&self.owner()), Some(movie)).await.expect(201);
        movie["id"].as_str().unwrap().to_owned()
    }

    async fn upload(
        &self,
        who: &Person,
        path: &str,
        part: &'static str,
        file: Vec<u8>,
        name: &str,
    ) -> Answer {
        let form = Form::new().part(part, Part::bytes(file).file_name(name.to_owned()));
        let request = self.http.put(format!("{}{path}", self.url())).bearer_auth(&who.token).multipart(form);
        answer(request.send().await.unwrap()).await.unwrap()
    }

    async fn put_poster(&self, movie: &str, file: Vec<u8>) -> Value {
        let path = format!("/v1/movies/{movie}/poster");
        self.upload(&self.owner(), &path, "file", file, "poster.png").await.expect(200)
    }

    async fn download(&self, url: &Value) -> reqwest::Response {
        let url = format!("{}{}", self.url(), url.as_str().unwrap());
        self.http.get(url).send().await.unwrap()
    }

    async fn get_movie(&self, movie: &str) -> Value {
        self.call(Method::GET, &format!("/v1/movies/{movie}"), None, None).await.expect(200)
    }

    /// Makes every file an hour older.
    async fn pass_an_hour(&self) {
        let query = sqlx::query("update movie.media set touched_at = touched_at - interval '61 minutes'");
        query.execute(&self.database).await.unwrap();
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poster_is_stored_in_two_sizes_and_served_as_immutable() {
    let cinema = TestCinema::open().await;
    let movie = cinema.create_movie().await;
    let stored = cinema.put_poster(&movie, png(2_000, 3_000)).await;
    assert_eq!((&stored["width"], &stored["height"]), (&json!(1_000), &json!(1_500)), "{stored}");
    let shown = cinema.get_movie(&movie).await;
    assert_eq!((&shown["posterUrl"], &shown["posterSmallUrl"]), (&stored["url"], &stored["smallUrl"]));
    assert_eq!(shown["version"], 2);
    let updates = "select count(*) from movie.events where subject = 'movie.updated' and payload->>'posterUrl' is not null";
    assert_eq!(cinema.count(updates).await, 1);
    let large = cinema.download(&shown["posterUrl"]).await;
    assert_eq!(large.status(), 200);
    assert_eq!(large.headers()[CONTENT_TYPE], "image/jpeg");
    assert_eq!(large.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
    let tag = large.headers()[ETAG].clone();
    assert_eq!(large.bytes().await.unwrap().len() as u64, stored["bytes"].as_u64().unwrap());
    let small = cinema.download(&shown["posterSmallUrl"]).await.bytes().await.unwrap();
    assert_eq!(image::load_from_memory(&small).unwrap().width(), 400);
    let url = format!("{}{}", cinema.url(), shown["posterUrl"].as_str().unwrap());
    let again = cinema.http.get(url).header(IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailer_is_served_in_byte_ranges() {
    let cinema = TestCinema::open().await;
    let movie = cinema.create_movie().await;
    let path = format!("/v1/movies/{movie}/trailer");
    let stored = cinema.upload(&cinema.owner(), &path, "file", MP4.to_vec(), "film.avi").await.expect(200);
    assert_eq!(stored["contentType"], "video/mp4");
    let url = format!("{}{}", cinema.url(), cinema.get_movie(&movie).await["trailerUrl"].as_str().unwrap());
    let part = cinema.http.get(&url).header(RANGE, "bytes=4-7").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], format!("bytes 4-7/{}", MP4.len()));
    assert_eq!(part.bytes().await.unwrap(), &MP4[4..8]);
    let end = cinema.http.get(&url).header(RANGE, "bytes=4-99999").send().await.unwrap();
    assert_eq!(end.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(end.bytes().await.unwrap(), &MP4[4..]);
    for outside in ["bytes=0-18446744073709551615", "bytes=-18446744073709551615", "bytes=5000-"] {
        let refused = cinema.http.get(&url).header(RANGE, outside).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{outside}");
        assert_eq!(refused.headers()["content-range"], format!("bytes */{}", MP4.len()));
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_an_image_is_refused_whatever_its_name() {
    let cinema = TestCinema::open().await;
    let (owner, movie) = (cinema.owner(), cinema.create_movie().await);
    let path = format!("/v1/movies/{movie}/poster");
    let refused = async |who: &Person, part, file: Vec<u8>, status: u16, code: &str| {
        let answer = cinema.upload(who, &path, part, file, "poster.png").await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.text);
    };
    refused(&cinema.register().await, "file", png(4, 4), 403, "role").await;
    refused(&owner, "file", b"<svg onload='alert(1)'/>".to_vec(), 415, "media-type").await;
    refused(&owner, "file", MP4.to_vec(), 415, "media-type").await;
    refused(&owner, "file", png(400, 400)[..200].to_vec(), 422, "invalid").await;
    refused(&owner, "poster", png(4, 4), 422, "invalid").await;
    refused(&owner, "file", vec![0; 11 * 1024 * 1024], 413, "too-large").await;
    let json = cinema.call(Method::PUT, &path, Some(&owner), Some(json!({"file": "x"}))).await;
    assert_eq!(json.status, 415, "{}", json.text);
    let nobody = format!("/v1/movies/{}/poster", uuid::Uuid::now_v7());
    let unknown = cinema.upload(&owner, &nobody, "file", png(4, 4), "poster.png").await;
    assert_eq!(unknown.status, 404, "{}", unknown.text);
    assert_eq!(cinema.get_movie(&movie).await["posterUrl"], Value::Null);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from movie.media").fetch_one(&cinema.database).await.unwrap();
    assert_eq!(rows, 0, "a refused file leaves nothing behind");
    for path in ["/media/../jwt.pem", "/media/%2e%2e%2fjwt.pem", "/media/poster.png"] {
        assert_eq!(cinema.call(Method::GET, path, None, None).await.status, 404, "{path}");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_poster_is_deleted_an_hour_later_and_the_new_one_stays() {
    let cinema = TestCinema::open_with(Plan::default().with("MEDIA_SWEEP_SECONDS", 1)).await;
    let movie = cinema.create_movie().await;
    let first = cinema.put_poster(&movie, png(40, 60)).await;
    cinema.pass_an_hour().await;
    let second = cinema.put_poster(&movie, png(60, 40)).await;
    assert_eq!(cinema.download(&first["url"]).await.status(), 200, "a page that is open may still show it");
    cinema.pass_an_hour().await;
    cinema
        .until("the old poster is gone", async || {
            cinema.download(&first["url"]).await.status() == 404
                && cinema.download(&first["smallUrl"]).await.status() == 404
        })
        .await;
    assert_eq!(cinema.download(&second["url"]).await.status(), 200);
    cinema
        .until("only the new poster is recorded", async || {
            let query = sqlx::query_scalar::<_, i64>("select count(*) from movie.media");
            query.fetch_one(&cinema.database).await.unwrap() == 1
        })
        .await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudinary_gets_signed_uploads_under_our_own_ids() {
    for algorithm in ["sha1", "sha256"] {
        let stand_in = CloudinaryStandIn::start(algorithm).await;
        let plan = Plan::default().with("CLOUDINARY_URL", stand_in.account()).with("MEDIA_SWEEP_SECONDS", 1);
        let cinema = TestCinema::open_with(plan).await;
        let movie = cinema.create_movie().await;
        stand_in.fail_next(1);
        let stored = cinema.put_poster(&movie, png(500, 500)).await;
        let shown = cinema.get_movie(&movie).await;
        assert_eq!(shown["posterUrl"], stored["url"]);
        let id: uuid::Uuid =
            sqlx::query_scalar("select id from movie.media").fetch_one(&cinema.database).await.unwrap();
        assert_eq!(stand_in.ids(), [format!("image/marquee/{id}"), format!("image/marquee/{id}-small")]);
        let film = format!("/v1/movies/{movie}/trailer");
        cinema.upload(&cinema.owner(), &film, "file", MP4.to_vec(), "film.mp4").await.expect(200);
        assert!(stand_in.ids().iter().any(|id| id.starts_with("video/marquee/")), "{:?}", stand_in.ids());
        cinema.put_poster(&movie, png(50, 50)).await;
        cinema.pass_an_hour().await;
        let old_poster = [format!("image/marquee/{id}"), format!("image/marquee/{id}-small")];
        cinema
            .until("both sizes of the old poster are destroyed", async || {
                stand_in.ids().iter().all(|kept| !old_poster.contains(kept))
            })
            .await;
        assert_eq!(stand_in.ids().len(), 3, "{:?}", stand_in.ids());
        stand_in.fail_next(100);
        let path = format!("/v1/movies/{movie}/poster");
        let away = cinema.upload(&cinema.owner(), &path, "file", png(5, 5), "p.png").await;
        assert_eq!(away.status, 503, "{}", away.text);
        cinema.close().await;
    }
}

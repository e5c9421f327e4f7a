//! Caching, compression, and the `Location` of a 201.

use std::io::Read;

use bus::contract::auth::Register;
use bus::contract::movie::{CreateGenre, GetMovie, ListMovies};
use bus::contract::reservation::GetSeatMap;
use poem::http::Method;
use serde_json::json;

use super::Gateway;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn a_cached_catalogue_is_answered_with_304() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>(r#"{"items":[1]}"#);
    let first = gateway.get("/v1/movies").answer().await;
    let tag = first.header("etag").to_owned();
    assert!(tag.len() > 10 && tag.starts_with('"'), "{tag}");
    assert_eq!(first.header("cache-control"), "public, max-age=5, stale-while-revalidate=10");
    for held in [tag.clone(), format!("\"old\", W/{tag}"), tag.replace("\"", "") + "-gzip", "*".to_owned()] {
        let again = gateway.get("/v1/movies").header("If-None-Match", &held).answer().await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{held}");
        assert!(!again.header("etag").is_empty() && again.header("cache-control").starts_with("public"));
    }
    gateway.set_answer::<ListMovies>(r#"{"items":[2]}"#);
    let changed = gateway.get("/v1/movies").header("If-None-Match", &tag).answer().await;
    assert_eq!((changed.status, changed.body.as_str()), (200, r#"{"items":[2]}"#));
    let head = gateway.send(Method::HEAD, "/v1/movies").answer().await;
    assert_eq!(head.header("etag"), changed.header("etag"));
}

#[tokio::test]
async fn currencies_need_no_host_and_may_be_cached() {
    let gateway = Gateway::new();
    let answer = gateway.get("/v1/currencies").answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("cache-control").starts_with("public") && !answer.header("etag").is_empty());
    let list: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(list["default"], "CHF");
    let digits = |code: &str| {
        let item = list["items"].as_array().unwrap().iter().find(|item| item["code"] == code).unwrap();
        item["digits"].as_u64().unwrap()
    };
    assert_eq!([digits("ISK"), digits("HUF"), digits("KWD")], [0, 2, 3]);
    let again = gateway.get("/v1/currencies").header("If-None-Match", answer.header("etag")).answer().await;
    assert_eq!(again.status, 304);
}

#[tokio::test]
async fn live_and_personal_answers_are_never_cached() {
    let gateway = Gateway::new();
    gateway.set_answer::<GetSeatMap>("{}");
    for path in
        [format!("/v1/showtimes/{ID}/seats"), format!("/v1/movies/{ID}"), "/v1/reservations".to_owned()]
    {
        let answer = gateway.get(&path).token("user").answer().await;
        assert_eq!((answer.header("cache-control"), answer.header("etag")), ("no-store", ""), "{path}");
    }
}

#[tokio::test]
async fn long_texts_are_compressed_for_clients_that_accept_gzip() {
    let gateway = Gateway::new();
    let long = format!(r#"{{"title":"{}"}}"#, "Nosferatu ".repeat(500));
    gateway.set_answer::<GetMovie>(long.clone());
    let path = format!("/v1/movies/{ID}");
    let plain = gateway.get(&path).header("Accept-Encoding", "br, gzip;q=0").answer().await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "Accept-Encoding"));
    let packed = gateway.get(&path).header("Accept-Encoding", "br, gzip").answer().await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.bytes.len() < long.len() / 5);
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed.bytes[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, long);
    assert_eq!(packed.header("etag"), plain.header("etag").trim_end_matches('"').to_owned() + "-gzip\"");
    let again = gateway.get(&path).header("If-None-Match", packed.header("etag")).answer().await;
    assert_eq!((again.status, again.header("etag")), (304, packed.header("etag")));
    gateway.set_answer::<GetMovie>("{}");
    let short = gateway.get(&path).header("Accept-Encoding", "gzip").answer().await;
    assert_eq!((short.header("content-encoding"), short.body.as_str()), ("", "{}"));
}

#[tokio::test]
async fn a_created_resource_has_a_location() {
    let gateway = Gateway::new();
    gateway.set_answer::<CreateGenre>(json!({"name": "Noir", "id": ID}).to_string());
    let made = gateway.post("/v1/genres").token("admin").json(json!({"name": "Noir"})).answer().await;
    assert_eq!((made.status, made.header("location").to_owned()), (201, format!("/v1/genres/{ID}")));
    gateway.set_answer::<Register>(json!({"user": {"id": ID}}).to_string());
    let person = json!({"email": "ada@example.org", "password": "correct horse", "name": "Ada"});
    let made = gateway.post("/v1/auth/register").json(person).answer().await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/me"));
}

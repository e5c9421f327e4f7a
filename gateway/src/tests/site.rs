//! The site in the shell and over REST, also while movie is away.

use bus::contract::site::{Colours, DEFAULT_SITE, GetSite, Site, SiteFields, SiteUpdated, Theme};
use bus::contract::{Event, Locale, Problem, Timestamp};
use bytes::Bytes;

use super::{Gateway, problem};

fn site(name: &str, version: i64) -> Site {
    let at = Timestamp::wall_clock();
    Site { id: DEFAULT_SITE, of: SiteFields::named(name), version, created_at: at, updated_at: at }
}

fn json(site: &Site) -> String {
    serde_json::to_string(site).unwrap()
}

#[tokio::test]
async fn the_last_known_site_is_the_answer_while_movie_is_away() {
    let gateway = Gateway::new();
    assert_eq!(gateway.get("/v1/site").problem().await, problem(503, "unavailable"), "none is known yet");
    let kino = json(&site("Kino", 3));
    gateway.set_answer::<GetSite>(kino.clone());
    let answer = gateway.get("/v1/site").answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, kino.as_str()));
    assert!(answer.header("cache-control").starts_with("public") && !answer.header("etag").is_empty());
    gateway.set_rejection::<GetSite>(Problem::unavailable("away"));
    let answer = gateway.get("/v1/site").answer().await;
    assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("Kino")));
    assert!(gateway.get("/").answer().await.body.contains("<title>Kino</title>"));
}

#[tokio::test]
async fn the_shell_has_the_name_the_colours_and_the_languages_of_the_site() {
    let gateway = Gateway::new();
    assert!(gateway.get("/").answer().await.body.contains("<title>Marquee</title>"));
    let colours = Colours {
        header: "#102030".into(),
        on_header: "#ffffff".into(),
        button: "#ffffff".into(),
        on_button: "#000000".into(),
    };
    let logo_url = Some("https://cdn.example/logo.svg".to_owned());
    let mut kino = site("Kino & <Bar>", 2);
    kino.of.theme = Theme { logo_url, colours: Some(colours) };
    kino.of.languages = vec![Locale::De];
    gateway.shared.site.learn(kino);
    let shell = gateway.get("/").header("Accept-Language", "en").answer().await;
    assert!(shell.body.contains("<title>Kino &amp; &lt;Bar&gt;</title>"), "{}", shell.body);
    assert!(shell.body.contains("<html lang=\"de\">") && shell.body.contains("content=\"#102030\""));
    assert!(!shell.body.contains("Marquee"), "{}", shell.body);
    let policy = shell.header("content-security-policy");
    assert!(policy.contains("img-src 'self' data: blob: https://cdn.example;"), "{policy}");
    let manifest = gateway.get("/app.webmanifest").answer().await;
    assert_eq!(manifest.header("content-type"), "application/manifest+json");
    assert_eq!(manifest.json()["name"], "Kino & <Bar>");
}

#[tokio::test]
async fn a_change_is_learned_by_its_event_and_an_older_version_changes_nothing() {
    let gateway = Gateway::new();
    gateway.set_answer::<GetSite>(json(&site("First", 2)));
    let keeping = tokio::spawn(gateway.shared.site.clone().keep(gateway.shared.stop.clone()));
    let until = async |name: &str| {
        let seen = async {
            while gateway.shared.site.get().of.name != name {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), seen)
            .await
            .unwrap_or_else(|_| panic!("no {name}"));
    };
    until("First").await;
    let publish = |site: Site| {
        let updated = SiteUpdated { site, by: uuid::Uuid::nil(), changed: vec![] };
        let payload = Bytes::from(serde_json::to_vec(&updated).unwrap());
        gateway.notify(SiteUpdated::SUBJECT.to_owned(), payload);
    };
    publish(site("Older", 1));
    publish(site("Second", 3));
    until("Second").await;
    gateway.shared.stop.cancel();
    keeping.await.unwrap();
}

//! The site: the cinema's own name, legal data, look, links and rules. Staff save it, and it is seen everywhere; orders keep the
//! rules that they were made by.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::mail::judged_mail::read_pdf;

const NAME: &str = "Lichtspiele Köln";
const ADDRESS: &str = "Lindenallee 5, 50667 Köln";

impl TestCinema {
    async fn site(&self) -> Value {
        self.call(Method::GET, "/v1/site", None, None).await.expect(200)
    }

    /// Saves the site with these fields in the place of its own.
    async fn try_save_site(&self, who: &Person, changes: Value) -> Answer {
        let mut body =
            self.call(Method::GET, "/v1/sites", Some(&self.owner()), None).await.expect(200)["items"][0]
                .take();
        let path = format!("/v1/sites/{}", id(&body));
        for name in ["id", "createdAt", "updatedAt"] {
            body.as_object_mut().unwrap().remove(name);
        }
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.call(Method::PUT, &path, Some(who), Some(body)).await
    }

    /// Saves it, and waits until every host has a copy of this version.
    async fn save_site(&self, changes: Value) -> Value {
        let site = self.try_save_site(&self.owner(), changes).await.expect(200);
        for domain in ["reservation", "payment", "notification"] {
            let sql = format!("select count(*) from {domain}.sites where version = {}", site["version"]);
            self.until_sql(&sql, 1).await;
        }
        site
    }

    pub async fn change_showtime(&self, body: Value) {
        let path = format!("/v1/showtimes/{}", self.showtime);
        self.call(Method::PATCH, &path, Some(&self.owner()), Some(body)).await.expect(200);
        self.until_on_sale(&self.showtime).await;
    }

    /// The HTML of a page of guests.
    async fn page(&self, path: &str) -> String {
        let url = format!("{}{path}", self.url());
        let request = self.http.get(url).header(header::ACCEPT, "text/html").send().await.unwrap();
        request.text().await.unwrap()
    }
}

/// Everything that a cinema says of itself.
fn whole() -> Value {
    json!({
        "name": NAME,
        "legal": {"company": "Kino am Ring GmbH", "address": ADDRESS, "vatId": "DE123456789"},
        "country": "DE", "timeZone": "Europe/Berlin", "languages": ["de", "en"],
        "theme": {"colours": {"header": "#102030", "onHeader": "#ffffff", "button": "#ffffff", "onButton": "#102030"}},
        "contact": {"email": "hallo@kino.example"}, "mailSender": "Kasse",
        "links": {"imprint": "https://kino.example/impressum", "privacy": "/datenschutz"},
    })
}

/// The codes of the wrong fields of an answer, such as `name length`.
fn wrong(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid"), "{}", answer.text);
    let errors = answer.body["errors"].as_array().unwrap();
    let each = errors.iter().map(|error| (error["field"].as_str().unwrap(), error["code"].as_str().unwrap()));
    each.map(|(field, code)| format!("{field} {code}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_it_is_saved_the_site_is_as_the_settings_say() {
    let plan = Plan::default()
        .with("CINEMA_NAME", NAME)
        .with("CINEMA_ADDRESS", ADDRESS)
        .with("CINEMA_TIME_ZONE", "Europe/Berlin")
        .with("CURRENCY", "CHF")
        .with("REFUND_PERCENT", 80);
    let cinema = TestCinema::open_with(plan).await;
    let site = cinema.site().await;
    assert_eq!((&site["name"], &site["version"]), (&json!(NAME), &json!(1)));
    assert_eq!((&site["legal"]["address"], &site["timeZone"]), (&json!(ADDRESS), &json!("Europe/Berlin")));
    assert_eq!(site["refundPolicy"], json!({"untilMinutes": 120, "percent": 80}));
    assert_eq!((&site["currency"], &site["salesCutoffs"]["webMinutes"]), (&json!("CHF"), &json!(0)));
    let ada = cinema.register().await;
    let order = cinema.reserve(&ada, &["A1"]).await;
    assert_eq!(cinema.reservation(&ada, &order).await["refundPolicy"]["percent"], 80);
    let events = cinema.events("reservation.created").await;
    assert_eq!(events[0]["siteId"], site["id"]);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_save_the_version_that_they_have_seen_and_everybody_learns_it() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let before = cinema.http.get(format!("{}/v1/site", cinema.url())).send().await.unwrap();
    let tag = before.headers()[header::ETAG].clone();
    assert!(before.headers()[header::CACHE_CONTROL].to_str().unwrap().starts_with("public"));
    assert_eq!(cinema.try_save_site(&ada, json!({"name": "Mine"})).await.status.as_u16(), 403);

    let saved = cinema.save_site(json!({"name": NAME, "currency": "CHF"})).await;
    assert_eq!((&saved["name"], &saved["version"]), (&json!(NAME), &json!(2)));
    assert_eq!(cinema.site().await, saved);
    let held = cinema.http.get(format!("{}/v1/site", cinema.url())).header(header::IF_NONE_MATCH, tag);
    assert_eq!(held.send().await.unwrap().status(), 200, "it has another tag now");
    let currencies = cinema.call(Method::GET, "/v1/currencies", None, None).await.expect(200);
    assert_eq!(currencies["default"], "CHF");
    let stale = cinema.try_save_site(&cinema.owner(), json!({"version": 1})).await;
    assert_eq!((stale.status.as_u16(), stale.code()), (409, "version-changed"));
    let path = format!("/v1/sites/{}", uuid::Uuid::now_v7());
    let mut body = saved.clone();
    for name in ["id", "createdAt", "updatedAt"] {
        body.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(cinema.call(Method::PUT, &path, Some(&cinema.owner()), Some(body)).await.status.as_u16(), 404);
    let events = cinema.events("site.updated").await;
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!((&events[0]["name"], &events[0]["version"]), (&json!(NAME), &json!(2)));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_field_of_a_site_has_its_own_code_and_nothing_is_saved() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let refused = async |changes: Value| wrong(&cinema.try_save_site(&owner, changes).await);
    let colours = |on_header: &str| {
        let colours =
            json!({"header": "#777777", "onHeader": on_header, "button": "#000000", "onButton": "#ffffff"});
        json!({"theme": {"colours": colours}})
    };
    assert_eq!(refused(colours("#ffffff")).await, ["theme.colours.onHeader contrast"]);
    assert_eq!(refused(colours("white")).await, ["theme.colours.onHeader colour"]);
    assert_eq!(refused(json!({"name": ""})).await, ["name length"]);
    assert_eq!(refused(json!({"slug": "Köln"})).await, ["slug slug"]);
    assert_eq!(refused(json!({"country": "Germany"})).await, ["country country"]);
    assert_eq!(refused(json!({"timeZone": "Europe/Köln"})).await, ["timeZone time-zone"]);
    assert_eq!(refused(json!({"currency": "XXX"})).await, ["currency type"]);
    assert_eq!(refused(json!({"languages": []})).await, ["languages count"]);
    assert_eq!(refused(json!({"contact": {"email": "nobody"}})).await, ["contact.email email"]);
    let link = json!({"links": {"imprint": "javascript:alert(1)"}});
    assert_eq!(refused(link).await, ["links.imprint link"]);
    let policy = json!({"refundPolicy": {"untilMinutes": 0, "percent": 101}});
    assert_eq!(refused(policy).await, ["refundPolicy.percent range"]);
    assert_eq!(
        refused(json!({"salesCutoffs": {"webMinutes": 20_000}})).await,
        ["salesCutoffs.webMinutes range"]
    );
    assert_eq!(refused(json!({"theme": {"font": "Comic"}})).await, ["theme.font unknown-field"]);
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let body = json!({"overrides": {"refundPolicy": {"untilMinutes": 0, "percent": 200}}});
    let overrides = cinema.call(Method::PATCH, &path, Some(&owner), Some(body)).await;
    assert_eq!(wrong(&overrides), ["overrides.refundPolicy.percent range"]);
    assert_eq!(cinema.site().await["version"], 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_keep_the_refund_policy_of_the_site_or_of_the_showtime_that_they_were_made_by() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let policy = |percent: u8| json!({"untilMinutes": 60, "percent": percent});
    let usual = cinema.buy(&ada, &["A1"]).await;
    cinema.save_site(json!({"refundPolicy": policy(50)})).await;
    let of_site = cinema.buy(&ada, &["A2"]).await;
    cinema.change_showtime(json!({"overrides": {"refundPolicy": policy(20)}})).await;
    let of_showtime = cinema.buy(&ada, &["A3"]).await;
    // Neither a change of the showtime nor one of the site touches an order.
    cinema.change_showtime(json!({"overrides": {}})).await;
    cinema.save_site(json!({"refundPolicy": policy(0)})).await;
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    let nothing = cinema.buy(&ada, &["A4"]).await;
    for (order, percent, amount) in
        [(&usual, 100, 1200), (&of_site, 50, 600), (&of_showtime, 20, 240), (&nothing, 0, 0)]
    {
        assert_eq!(cinema.reservation(&ada, order).await["refundPolicy"]["percent"], percent);
        let plan = cinema.reservation(&ada, order).await["cancellation"].clone();
        assert_eq!(plan["refund"]["amount"], amount, "{percent} %");
    }
    let cancelled = cinema.cancel(&ada, &of_showtime).await.expect(200);
    assert_eq!(cancelled["refund"]["total"]["amount"], 240);
    cinema.until_captured(&of_showtime, 960).await;
    cinema.close().await;
}

/// So many minutes before its start the sales of a showtime end, as it says.
fn before_start(showtime: &Value) -> Option<i64> {
    use time::format_description::well_known::Rfc3339;
    let at = |field: &str| time::OffsetDateTime::parse(showtime[field].as_str()?, &Rfc3339).ok();
    Some((at("startsAt")? - at("salesEndAt")?).whole_minutes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_on_the_web_end_before_the_start_and_staff_sell_on() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SSSSS"], 20 * 60).await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1"]).await;
    cinema.save_site(json!({"salesCutoffs": {"webMinutes": 30}})).await;
    let refused = cinema.try_reserve(&ada, &["A2"]).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "sales-ended"));
    cinema.reserve(&cinema.owner(), &["A2"]).await;
    cinema.change_showtime(json!({"overrides": {"salesCutoffs": {"webMinutes": 10}}})).await;
    cinema.reserve(&ada, &["A3"]).await;
    let showtime = cinema.call(Method::GET, &format!("/v1/showtimes/{}", cinema.showtime), None, None).await;
    let showtime = showtime.expect(200);
    assert_eq!(showtime["overrides"]["salesCutoffs"]["webMinutes"], 10);
    assert_eq!(before_start(&showtime), Some(10), "the page greys out the hall then");
    let listed = cinema.call(Method::GET, "/v1/showtimes", None, None).await.expect(200);
    let of_list = listed["items"].as_array().unwrap().iter().find(|item| item["id"] == showtime["id"]);
    assert_eq!(before_start(of_list.unwrap()), Some(10));
    let path = format!("/v1/showtimes/{}", cinema.showtime);
    let body = json!({"overrides": {"salesCutoffs": {"webMinutes": 0}}});
    let changed = cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(body)).await.expect(200);
    assert_eq!(before_start(&changed), None, "sales end with the start");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_cinema_is_so_everywhere_and_marquee_nowhere() {
    let cinema = TestCinema::open().await;
    cinema.save_site(whole()).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;

    let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
    assert!(mail["from"].as_str().unwrap().starts_with("Kasse <"), "{mail}");
    assert_eq!(mail["replyTo"], format!("{NAME} <hallo@kino.example>"));
    let (html, text) = (mail["html"]["text"].as_str().unwrap(), mail["text"].as_str().unwrap());
    for part in [NAME, "Kino am Ring GmbH", ADDRESS] {
        assert!(html.contains(part) && text.contains(part), "{part}: {text}");
    }
    let links: Vec<&str> =
        mail["html"]["links"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(links.contains(&"https://kino.example/impressum"), "{links:?}");
    assert!(links.iter().any(|link| link.starts_with("http") && link.ends_with("/datenschutz")), "{links:?}");
    let pdf = mail["pdf"]["text"].as_str().unwrap();
    assert!(pdf.contains(NAME) && pdf.contains("Lindenallee 5"), "{pdf}");
    assert!(mail["calendar"]["location"].as_str().unwrap().contains(NAME), "{mail}");

    let receipts = cinema.until_receipts(&ada, &order, 1).await;
    assert_eq!(
        receipts[0]["seller"],
        json!({"name": NAME, "company": "Kino am Ring GmbH", "address": ADDRESS, "taxId": "DE123456789",
               "timeZone": "Europe/Berlin"})
    );
    let url = format!("{}/v1/reservations/{order}/receipt.pdf", cinema.url());
    let receipt = cinema.http.get(url).bearer_auth(&ada.token).send().await.unwrap();
    let receipt = read_pdf(&receipt.bytes().await.unwrap());
    for part in [NAME, "Kino am Ring GmbH", "DE123456789"] {
        assert!(receipt["text"].as_str().unwrap().contains(part), "{part}: {receipt}");
    }

    let mut seen = vec![html.to_owned(), text.to_owned(), pdf.to_owned(), receipt["text"].to_string()];
    seen.extend([
        mail["subject"].to_string(),
        mail["pdf"]["title"].to_string(),
        receipt["title"].to_string(),
    ]);
    seen.push(mail["calendar"].to_string().replace("@marquee", ""));
    let movie = &cinema.call(Method::GET, "/v1/movies", None, None).await.expect(200)["items"][0];
    for path in [
        "/".to_owned(),
        format!("/movies/{}", id(movie)),
        format!("/showtimes/{}", cinema.showtime),
        "/login".into(),
        "/nothing".into(),
    ] {
        let page = cinema.page(&path).await;
        assert!(page.contains(&format!("{NAME}</title>")), "{path}: {page}");
        assert!(page.contains("<html lang=\"de\">"), "its first language is the default: {page}");
        assert!(page.contains("content=\"#102030\""), "{page}");
        seen.push(page);
    }
    let manifest = cinema.page("/app.webmanifest").await;
    assert!(manifest.contains(NAME), "{manifest}");
    seen.push(manifest);
    for text in seen {
        assert!(!text.contains("Marquee") && !text.contains("MARQUEE"), "{text}");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_looks_like_markup_stays_text() {
    let cinema = TestCinema::open().await;
    let name = "<script>alert(1)</script> {assets} & \"Kino\"";
    cinema.save_site(json!({"name": name})).await;
    let page = cinema.page("/").await;
    assert!(!page.contains("<script>alert"), "{page}");
    assert!(
        page.contains(
            "&lt;script&gt;alert(1)&lt;/script&gt; &#123;assets&#125; &amp; &quot;Kino&quot;</title>"
        ),
        "{page}"
    );
    let manifest: Value = serde_json::from_str(&cinema.page("/app.webmanifest").await).unwrap();
    assert_eq!(manifest["name"], name);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logo_is_uploaded_to_a_saved_site_and_goes_with_its_address() {
    let cinema = TestCinema::open().await;
    let id = id(&cinema.site().await);
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(600, 300, image::Rgb([200, 0, 0]))
        .write_to(&mut picture, image::ImageFormat::Png)
        .unwrap();
    let send = async || {
        let part = reqwest::multipart::Part::bytes(picture.get_ref().clone()).file_name("logo.png");
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/v1/sites/{id}/logo", cinema.url());
        let sent = cinema.http.put(url).bearer_auth(&cinema.owner().token).multipart(form).send().await;
        crate::cinema::answer(sent.unwrap()).await.unwrap()
    };
    let unsaved = send().await;
    assert_eq!((unsaved.status.as_u16(), unsaved.code()), (409, "site-unsaved"));
    cinema.save_site(json!({"name": NAME})).await;
    let stored = send().await.expect(200);
    let site = cinema.site().await;
    assert_eq!((&site["version"], &site["theme"]["logoUrl"]), (&json!(3), &stored["smallUrl"]));
    let audited = "select count(*) from auth.audit where kind = 'SITE_CHANGED' and details -> 'changed' = '[\"theme.logoUrl\"]'";
    cinema.until_sql(audited, 1).await;
    let file = format!("{}{}", cinema.url(), stored["smallUrl"].as_str().unwrap());
    assert_eq!(cinema.http.get(file).send().await.unwrap().status(), 200);
    assert!(cinema.page("/").await.contains(stored["smallUrl"].as_str().unwrap()));
    let shown = "select count(*) from movie.sites join movie.media on media.id = logo_media";
    cinema.until_sql(shown, 1).await;
    // Another change keeps it; without its address it is an orphan, which the sweep deletes later.
    cinema.save_site(json!({"mailSender": "Kasse"})).await;
    cinema.until_sql(shown, 1).await;
    // Tickets and receipts show it, in the site's colours.
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    // The number of logos in a file; none while there is no file.
    let logos = async |file: &str| {
        let url = format!("{}/v1/reservations/{order}/{file}", cinema.url());
        let answer = cinema.http.get(url).bearer_auth(&ada.token).send().await.unwrap();
        let is_there = answer.status() == 200;
        let content = answer.bytes().await.unwrap();
        is_there.then(|| read_pdf(&content)["images"].as_array().unwrap().len())
    };
    for file in ["tickets.pdf", "receipt.pdf"] {
        cinema.until("the host has read the logo", async || logos(file).await == Some(1)).await;
    }
    // An address that does not answer leaves the last logo on the tickets.
    let away = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/logo.png", away.local_addr().unwrap());
    cinema.save_site(json!({"theme": {"logoUrl": address}})).await;
    drop(away.accept().await.unwrap());
    assert_eq!(logos("tickets.pdf").await, Some(1));
    cinema.save_site(json!({"theme": {}})).await;
    let without = async || logos("tickets.pdf").await == Some(0);
    cinema.until("without an address there is no logo", without).await;
    cinema.until_sql(shown, 0).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_the_site_and_of_a_showtimes_rules_are_audited_with_their_author() {
    let cinema = TestCinema::open().await;
    cinema.save_site(json!({"name": NAME, "refundPolicy": {"untilMinutes": 60, "percent": 50}})).await;
    cinema.change_showtime(json!({"overrides": {"salesCutoffs": {"webMinutes": 10}}})).await;
    // Unchanged rules leave no record.
    let prices = json!({"STANDARD": {"amount": 1300, "currency": "EUR"}, "WHEELCHAIR": {"amount": 800, "currency": "EUR"}, "COMPANION": {"amount": 500, "currency": "EUR"}, "LOVESEAT": {"amount": 1500, "currency": "EUR"}});
    cinema.change_showtime(json!({"prices": prices})).await;
    cinema.until_sql("select count(*) from auth.audit where kind = 'SITE_CHANGED'", 1).await;
    cinema.until_sql("select count(*) from auth.audit where kind = 'SHOWTIME_RULES_CHANGED'", 1).await;
    cinema.until_sql("select count(*) from auth.audit where kind = 'PRICES_CHANGED'", 1).await;
    let me = cinema.get("/v1/me", &cinema.owner()).await.expect(200);
    let record = async |kind: &str| {
        let found = cinema.get(&format!("/v1/admin/audit?kind={kind}"), &cinema.owner()).await.expect(200);
        found["items"][0].clone()
    };
    let site = record("SITE_CHANGED").await;
    assert_eq!(site["actorId"], me["id"]);
    let changed: Vec<&str> =
        site["details"]["changed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["name", "refundPolicy.percent", "refundPolicy.untilMinutes"] {
        assert!(changed.contains(&name), "{changed:?}");
    }
    assert!(!site.to_string().contains(NAME), "values are not in the audit: {site}");
    let rules = record("SHOWTIME_RULES_CHANGED").await;
    assert_eq!((&rules["actorId"], &rules["details"]["showtimeId"]), (&me["id"], &json!(cinema.showtime)));
    assert_eq!(rules["details"]["overrides"], json!({"salesCutoffs": {"webMinutes": 10}}));
    assert_eq!(rules["details"]["previousOverrides"], json!({}));
    cinema.close().await;
}

//! Every operation of the OpenAPI document: who may call it, and how it answers malformed requests.
//!
//! The tests read the document of the running gateway, so that they cover new operations by themselves. The roles are
//! listed below: a new operation has to be added to the matrix, and a removed one deleted.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::cinema::{Person, Plan, TestCinema};

/// The least role that an operation needs: anyone, a guest, a logged-in user, an admin, or the owner (SUPER_ADMIN).
const MATRIX: &str = "
anyone GET    /.well-known/jwks.json
owner  GET    /v1/admin/audit
admin  GET    /v1/admin/dead-letters
admin  GET    /v1/admin/dead-letters/{sequence}
owner  DELETE /v1/admin/dead-letters/{sequence}
owner  POST   /v1/admin/dead-letters/{sequence}/replay
owner  POST   /v1/admin/payments/{id}/resume
admin  GET    /v1/admin/events
admin  GET    /v1/admin/holds
admin  GET    /v1/admin/reports/occupancy
admin  GET    /v1/admin/reports/revenue
admin  GET    /v1/admin/reports/sales
admin  GET    /v1/admin/reports/tickets
admin  GET    /v1/admin/sagas
admin  GET    /v1/admin/sagas/{reservationId}
owner  POST   /v1/admin/sagas/{reservationId}/resume
admin  GET    /v1/admin/showtimes
admin  GET    /v1/admin/showtimes/{id}/cancellation
anyone GET    /v1/auditoriums
admin  POST   /v1/auditoriums
anyone GET    /v1/auditoriums/{id}
admin  PATCH  /v1/auditoriums/{id}
admin  DELETE /v1/auditoriums/{id}
anyone POST   /v1/auth/cookie/login
user   POST   /v1/auth/cookie/logout
anyone POST   /v1/auth/cookie/refresh
anyone POST   /v1/auth/cookie/register
anyone POST   /v1/auth/cookie/reset
anyone POST   /v1/auth/guest
anyone POST   /v1/auth/login
user   POST   /v1/auth/logout
user   POST   /v1/auth/logout-everywhere
anyone POST   /v1/auth/password/forgot
anyone POST   /v1/auth/password/reset
anyone POST   /v1/auth/refresh
anyone POST   /v1/auth/register
anyone POST   /v1/auth/verify
user   POST   /v1/auth/verify/resend
anyone GET    /v1/currencies
anyone GET    /v1/genres
admin  POST   /v1/genres
admin  PATCH  /v1/genres/{id}
admin  DELETE /v1/genres/{id}
user   GET    /v1/me
user   PATCH  /v1/me
guest  DELETE /v1/me
guest  GET    /v1/me/export
user   POST   /v1/me/password
anyone GET    /v1/movies
admin  POST   /v1/movies
anyone GET    /v1/movies/{id}
admin  PATCH  /v1/movies/{id}
admin  DELETE /v1/movies/{id}
admin  PUT    /v1/movies/{id}/poster
admin  PUT    /v1/movies/{id}/trailer
admin  GET    /v1/notifications
admin  GET    /v1/notifications/{id}
admin  POST   /v1/notifications/resend
admin  POST   /v1/notifications/{id}/resend
admin  GET    /v1/payments
guest  POST   /v1/payments
anyone POST   /v1/payments/webhook
guest  GET    /v1/payments/{id}
admin  POST   /v1/payments/{id}/refund
admin  GET    /v1/price-cards
admin  POST   /v1/price-cards
admin  GET    /v1/price-cards/match
admin  PUT    /v1/price-cards/{id}
admin  DELETE /v1/price-cards/{id}
anyone GET    /v1/programme
anyone GET    /v1/rating-schemes
guest  GET    /v1/reservations
guest  POST   /v1/reservations
guest  GET    /v1/reservations/{id}
guest  PATCH  /v1/reservations/{id}
guest  POST   /v1/reservations/{id}/cancel
guest  GET    /v1/reservations/{id}/cancellation
guest  PUT    /v1/reservations/{id}/customer
guest  GET    /v1/reservations/{id}/exchange
guest  POST   /v1/reservations/{id}/exchange
guest  POST   /v1/reservations/{id}/invoice
guest  GET    /v1/reservations/{id}/receipt
guest  GET    /v1/reservations/{id}/receipt.pdf
guest  GET    /v1/reservations/{id}/tickets
guest  GET    /v1/reservations/{id}/tickets.pdf
user   POST   /v1/reservations/merge
anyone GET    /v1/showtimes
admin  POST   /v1/showtimes
admin  POST   /v1/showtimes/bulk
admin  POST   /v1/showtimes/publish
anyone GET    /v1/showtimes/{id}
admin  PATCH  /v1/showtimes/{id}
admin  DELETE /v1/showtimes/{id}
admin  POST   /v1/showtimes/{id}/publish
anyone POST   /v1/showtimes/{id}/quote
anyone GET    /v1/showtimes/{id}/seats
anyone GET    /v1/showtimes/{id}/seats/best
anyone GET    /v1/showtimes/{id}/seats/events
anyone GET    /v1/showtimes/{id}/tariff
anyone GET    /v1/site
admin  GET    /v1/sites
admin  PUT    /v1/sites/{id}
admin  PUT    /v1/sites/{id}/logo
anyone GET    /v1/ticket-types
admin  POST   /v1/ticket-types
admin  PUT    /v1/ticket-types/{id}
admin  DELETE /v1/ticket-types/{id}
admin  GET    /v1/users
owner  PUT    /v1/users/{id}/disabled
admin  POST   /v1/users/{id}/erase
owner  PUT    /v1/users/{id}/role
";

/// An operation of the document.
struct Operation {
    verb: Method,
    path: String,
    spec: Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.verb, self.path)
    }

    /// The example of its JSON body; the webhook has none, since the provider defines its body.
    fn example(&self) -> Option<&Value> {
        self.spec["requestBody"]["content"]["application/json"].get("example")
    }

    /// A request to it, with ids that do not exist.
    fn request(&self, cinema: &TestCinema, who: Option<&Person>) -> RequestBuilder {
        let parts = self.path.split('/').map(|part| match part {
            "{sequence}" => "999999999".to_owned(),
            part if part.starts_with('{') => uuid::Uuid::now_v7().to_string(),
            part => part.to_owned(),
        });
        let url = format!("{}{}", cinema.url(), parts.collect::<Vec<_>>().join("/"));
        let builder = cinema
            .http
            .request(self.verb.clone(), url)
            .header("Idempotency-Key", uuid::Uuid::now_v7().to_string());
        match who {
            Some(person) => builder.bearer_auth(&person.token),
            None => builder,
        }
    }
}

async fn operations(cinema: &TestCinema) -> Vec<Operation> {
    let document = cinema.call(Method::GET, "/openapi.json", None, None).await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    let verbs = paths
        .iter()
        .flat_map(|(path, verbs)| verbs.as_object().unwrap().iter().map(move |verb| (path, verb)));
    verbs
        .map(|(path, (verb, spec))| Operation {
            verb: verb.to_uppercase().parse().unwrap(),
            path: path.clone(),
            spec: spec.clone(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_is_allowed_for_exactly_the_roles_of_the_matrix() {
    let cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let user = cinema.log_in("ada@marquee.example", "popcorn-2026").await;
    let admin = cinema.log_in("staff@marquee.example", "popcorn-2026").await;
    let owner = cinema.owner();
    let guest = cinema.guest().await;
    let people = [
        ("anyone", None),
        ("guest", Some(&guest)),
        ("user", Some(&user)),
        ("admin", Some(&admin)),
        ("owner", Some(&owner)),
    ];
    let rank = |name: &str| people.iter().position(|(person, _)| *person == name).unwrap();
    let matrix: BTreeMap<String, usize> = MATRIX
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let [who, verb, path] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
            (format!("{verb} {path}"), rank(who))
        })
        .collect();
    let mut operations = operations(&cinema).await;
    // Last, since it revokes the tokens of the other requests.
    operations.sort_by_key(|operation| operation.path == "/v1/auth/logout-everywhere");
    let names: BTreeSet<_> = operations.iter().map(Operation::name).collect();
    let listed: BTreeSet<_> = matrix.keys().cloned().collect();
    let missing: Vec<_> = names.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&names).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in the matrix: {missing:#?}; not in the document: {gone:#?}"
    );

    let mut wrong = Vec::new();
    for operation in &operations {
        let needed = matrix[&operation.name()];
        for (has, (name, person)) in people.iter().enumerate() {
            // Without a body, so that an allowed request is refused for that or for its unknown id.
            let status = operation.request(&cinema, *person).send().await.unwrap().status().as_u16();
            let expected = match (has < needed, has) {
                (true, 0) => status == 401,
                (true, _) => status == 403,
                (false, _) => status != 401 && status != 403 && status < 500,
            };
            if !expected {
                wrong.push(format!("{} answers {name} {status}", operation.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    cinema.close().await;
}

/// The status of an answer, the fields that the problem names, and its text.
async fn refusal(request: RequestBuilder) -> (u16, Vec<String>, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    if status >= 400 {
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{text}");
    }
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    (status, errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_a_body_refuses_unknown_fields() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    let mut operations = operations(&cinema).await;
    operations.sort_by_key(|operation| operation.path.contains("logout"));
    for operation in operations.iter().filter(|operation| operation.verb != Method::GET) {
        if operation.spec["requestBody"].is_object() {
            continue;
        }
        checked += 1;
        let send = |body: Value| refusal(operation.request(&cinema, Some(&owner)).json(&body));
        let (status, fields, text) = send(json!({"recipient": "ada@example.org"})).await;
        if status != 422 || fields != ["recipient"] {
            wrong.push(format!("{}: a field → {status} {text}", operation.name()));
        }
        let (status, _, text) = send(json!(["ada@example.org"])).await;
        if status != 422 {
            wrong.push(format!("{}: an array → {status} {text}", operation.name()));
        }
        let (status, _, text) = send(json!({})).await;
        if status == 422 {
            wrong.push(format!("{}: an empty object → {status} {text}", operation.name()));
        }
    }
    assert!(wrong.is_empty() && checked > 8, "{checked} operations: {wrong:#?}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_refuses_a_malformed_body_and_names_the_field() {
    let mut cinema = TestCinema::open().await;
    // The gateway closes a connection whose body it does not read, which a connection pool may notice too late.
    cinema.http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let owner = cinema.owner();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for operation in operations(&cinema).await {
        let Some(example) = operation.example() else { continue };
        let mut check = |what: &str,
                         expected: u16,
                         field: Option<&str>,
                         (status, fields, text): (u16, Vec<String>, String)| {
            checked += 1;
            let named = field.is_none_or(|field| fields.iter().any(|named| named.starts_with(field)));
            if status != expected || !named {
                wrong.push(format!("{}: {what} → {status} {text}", operation.name()));
            }
        };
        let request = || operation.request(&cinema, Some(&owner));
        let with = |body: &Value| refusal(request().json(body));

        let mut more = example.clone();
        more["zzz"] = json!("unknown");
        check("an unknown field", 422, Some("zzz"), with(&more).await);
        for (name, value) in example.as_object().unwrap() {
            let mut other = example.clone();
            other[name] = if value.is_object() { json!(7) } else { json!({"of": "another type"}) };
            check(&format!("{name} of another type"), 422, Some(name), with(&other).await);
        }
        check("an array", 422, None, with(&json!(["a", "b"])).await);
        let typed = || request().header(header::CONTENT_TYPE, "application/json");
        check("half of a JSON text", 400, None, refusal(typed().body("{")).await);
        check("more than one JSON text", 400, None, refusal(typed().body(format!("{example} 7"))).await);
        // Most bodies may have 16 KiB, that of a hall 256 KiB.
        let mut large = refusal(typed().body(" ".repeat(20 * 1024))).await;
        if large.0 != 413 {
            large = refusal(typed().body(" ".repeat(300 * 1024))).await;
        }
        check("too many bytes", 413, None, large);
        let plain = request().header(header::CONTENT_TYPE, "text/plain").body(example.to_string());
        check("another content type", 415, None, refusal(plain).await);
        let compressed = typed().header(header::CONTENT_ENCODING, "gzip").body(example.to_string());
        check("a compressed body", 415, None, refusal(compressed).await);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 100, "only {checked} bodies: the document has too few examples");
    cinema.close().await;
}

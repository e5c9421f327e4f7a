//! The link in an order's mails opens this order and its tickets without a login, pays, cancels and exchanges it, and nothing else.

use actors::auth::token::{Signer, generate_pem};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::auth::OrderClaims;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Person, Plan, TestCinema};

impl TestCinema {
    /// The token in the link of the order's last sent mail of a kind.
    pub async fn link(&self, order: &str, kind: &str) -> Person {
        let mail = self.read_mail(order, kind).await;
        let links = mail["html"]["links"].as_array().unwrap().iter().map(|link| link.as_str().unwrap());
        let start = format!("/reservations/{order}#token=");
        let token = links.into_iter().find_map(|link| link.split_once(&start)).map(|(_, token)| token);
        Person { token: token.unwrap_or_else(|| panic!("no link with a token: {mail}")).to_owned() }
    }

    /// Status and code of a request.
    pub async fn refused(&self, method: Method, path: &str, who: &Person) -> (u16, String) {
        let body = (method == Method::POST).then(|| json!({}));
        let answer = self.call(method, path, Some(who), body).await;
        (answer.status.as_u16(), answer.code().to_owned())
    }
}

fn claims(token: &str) -> OrderClaims {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mails_link_opens_its_order_and_nothing_else() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let (order, other) = (cinema.buy(&ada, &["A1", "A2"]).await, cinema.buy(&ada, &["B1"]).await);
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let path = format!("/v1/reservations/{order}");
    let opened = cinema.get(&path, &link).await.expect(200);
    assert_eq!((&opened["id"], &opened["status"]), (&json!(order), &json!("CONFIRMED")));
    let tickets = cinema.get(&format!("{path}/tickets"), &link).await.expect(200);
    assert_eq!(tickets, cinema.get(&format!("{path}/tickets"), &ada).await.expect(200));
    cinema.get(&format!("{path}?wait=1"), &link).await.expect(200);

    let another = format!("/v1/reservations/{other}");
    assert_eq!(cinema.get(&format!("{path}/tickets.pdf"), &link).await.status, 200);
    cinema.until_receipts(&ada, &order, 1).await;
    assert_eq!(
        cinema.get(&format!("{path}/receipt"), &link).await.expect(200)["receipts"][0]["kind"],
        "RECEIPT"
    );
    assert_eq!(cinema.get(&format!("{path}/receipt.pdf"), &link).await.status, 200);
    let hidden = ["", "/tickets", "/tickets.pdf", "/receipt", "/receipt.pdf", "?wait=1"]
        .map(|part| format!("{another}{part}"));
    for hidden in hidden {
        assert_eq!(cinema.refused(Method::GET, &hidden, &link).await.0, 404, "{hidden}");
    }
    let payment = opened["payment"]["id"].as_str().unwrap();
    assert_eq!(cinema.get(&format!("/v1/payments/{payment}"), &link).await.expect(200)["id"], payment);
    cinema.get(&format!("{path}/exchange?seats=A5,A6"), &link).await.expect(200);
    cinema.get(&format!("{path}/cancellation?seats=A2"), &link).await.expect(200);
    let others_payment = cinema.reservation(&ada, &other).await["payment"]["id"].as_str().unwrap().to_owned();
    for (method, path) in [
        (Method::GET, format!("/v1/payments/{others_payment}")),
        (Method::GET, format!("{another}/exchange?seats=A5")),
        (Method::GET, format!("{another}/cancellation?seats=B1")),
        (Method::POST, format!("{another}/cancel")),
    ] {
        assert_eq!(cinema.refused(method.clone(), &path, &link).await.0, 404, "{method} {path}");
    }
    let exchange = json!({"seats": ["A5"]});
    assert_eq!(cinema.post(&format!("{another}/exchange"), &link, exchange).await.status, 404);
    assert_eq!(cinema.pay(&link, &other, "pm_card_visa").await.status, 404);
    assert_eq!(cinema.seat("B1").await, "SOLD");
    let forbidden = [
        (Method::GET, "/v1/reservations".to_owned()),
        (Method::GET, "/v1/me".to_owned()),
        (Method::GET, "/v1/users".to_owned()),
        (Method::GET, "/v1/notifications".to_owned()),
        (Method::GET, format!("/v1/admin/sagas/{order}")),
        (Method::POST, format!("{path}/invoice")),
        (Method::POST, "/v1/reservations".to_owned()),
        (Method::POST, "/v1/reservations/merge".to_owned()),
        (Method::POST, "/v1/auth/logout-everywhere".to_owned()),
    ];
    for (method, path) in forbidden {
        assert_eq!(
            cinema.refused(method.clone(), &path, &link).await,
            (403, "role".to_owned()),
            "{method} {path}"
        );
    }
    // A ticket opens no order.
    let ticket = Person { token: tickets["tickets"][0]["token"].as_str().unwrap().to_owned() };
    assert_eq!(cinema.refused(Method::GET, &path, &ticket).await, (401, "token-invalid".to_owned()));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_by_time_by_a_corrected_address_and_was_never_forged() {
    let pem = generate_pem();
    let cinema = TestCinema::open_with(Plan::default().with("JWT_PRIVATE_KEY", &pem)).await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    let (link, path) =
        (cinema.link(&order, "RESERVATION_CONFIRMED").await, format!("/v1/reservations/{order}"));
    let good = claims(&link.token);
    let show: Value = cinema.get(&path, &ada).await.expect(200);
    let starts = time::OffsetDateTime::parse(
        show["startsAt"].as_str().unwrap(),
        &time::format_description::well_known::Rfc3339,
    );
    assert_eq!(good.exp, starts.unwrap().unix_timestamp() + 30 * 86_400, "30 days after the show");
    let signer = Signer::from_pem(&pem).unwrap();
    let signed = |claims: OrderClaims| Person { token: signer.sign_order(&claims).unwrap() };
    assert_eq!(signed(good.clone()).token, link.token, "the same link in every mail");
    let foreign = Signer::from_pem(&generate_pem()).unwrap().sign_order(&good).unwrap();
    let (start, signature) = link.token.rsplit_once('.').unwrap();
    let tampered = format!("{start}.{}", signature.chars().rev().collect::<String>());
    let no_typ = link.token.split_once('.').unwrap().1;
    let as_access = format!("{}.{no_typ}", ada.token.split_once('.').unwrap().0);
    for (forged, code) in [
        (signed(OrderClaims { exp: 1_700_000_000, ..good.clone() }), "token-expired"),
        (signed(OrderClaims { access: good.access + 1, ..good.clone() }), "token-revoked"),
        (signed(OrderClaims { iss: "https://other.example".into(), ..good.clone() }), "token-invalid"),
        (signed(OrderClaims { aud: "https://other.example".into(), ..good.clone() }), "token-invalid"),
        (Person { token: foreign }, "token-invalid"),
        (Person { token: tampered }, "token-invalid"),
        (Person { token: as_access }, "token-invalid"),
    ] {
        assert_eq!(cinema.refused(Method::GET, &path, &forged).await, (401, code.to_owned()));
    }
    // A reader of the mail at the wrong address has a link to nothing; the mail to the right one opens the order.
    let address = json!({"email": "right@example.org"});
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(address)).await.expect(202);
    let revoked = (401, "token-revoked".to_owned());
    cinema
        .until("the link is void", async || cinema.refused(Method::GET, &path, &link).await == revoked)
        .await;
    for part in ["tickets", "tickets.pdf", "receipt", "receipt.pdf"] {
        assert_eq!(cinema.refused(Method::GET, &format!("{path}/{part}"), &link).await, revoked, "{part}");
    }
    cinema.get(&path, &signed(OrderClaims { access: good.access + 1, ..good })).await.expect(200);
    cinema.close().await;
}

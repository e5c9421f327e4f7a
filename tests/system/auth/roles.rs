//! Roles: who may change them, and that a change takes effect at once and everywhere.

use std::time::{Duration, Instant};

use bus::contract::Request;
use bus::contract::auth::{KeySet, Role, SetRole};
use bus::contract::movie::CreateGenre;
use bus::contract::reservation::ListReservations;
use bus::contract::{Paging, payment::GetPayment};
use bus::service::Ask;
use bus::token::Verifier;
use bus::{Context, Problem};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{Account, set_role};
use crate::cinema::{Person, TestCinema};
use crate::harness::{PASSWORD, TestSystem};

/// Sends a request to a host directly, without the gateway.
async fn ask<R: Request>(cinema: &TestCinema, request: &R, token: &str) -> Option<Problem> {
    let ask = Ask { token: Some(token.to_owned()), ..Ask::new(Context::new()) };
    cinema.cinema().bus.ask(request, &ask).await.err()
}

/// The problem code with which each host answers a token; `fine` where it accepts it.
async fn codes_of_hosts(cinema: &TestCinema, token: &str) -> Vec<String> {
    let genre = CreateGenre { name: format!("Genre {}", Uuid::now_v7()) };
    let reservations = ListReservations {
        status: None,
        user_id: None,
        showtime_id: None,
        when: None,
        code: None,
        paging: Paging::default(),
    };
    let answers = [
        ask(cinema, &genre, token).await,
        ask(cinema, &reservations, token).await,
        ask(cinema, &GetPayment { id: Uuid::now_v7() }, token).await,
        ask(cinema, &bus::contract::auth::Me {}, token).await,
    ];
    answers.into_iter().map(|problem| problem.map_or_else(|| "fine".into(), |p| p.code)).collect()
}

async fn until_revoked_at_every_host(cinema: &TestCinema, token: &str) {
    let began = Instant::now();
    loop {
        let codes = codes_of_hosts(cinema, token).await;
        if codes.iter().all(|code| code == "token-revoked") {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "accepted for more than a second: {codes:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_change_takes_effect_within_a_second_at_the_gateway_and_every_host() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let ada = Account::register(&cinema, "ada@example.org").await;
    let genre = async |who: &Person| {
        let body = json!({"name": format!("Genre {}", Uuid::now_v7())});
        cinema.call(Method::POST, "/v1/genres", Some(who), Some(body)).await
    };
    assert_eq!(genre(&ada.person).await.expect(403)["code"], "role");
    // The gateway and the hosts have cached the token by now.
    assert_eq!(codes_of_hosts(&cinema, &ada.person.token).await, ["role", "fine", "not-found", "fine"]);

    let promoted = set_role(&cinema, &owner, &ada.id, "ADMIN").await.expect(200);
    assert_eq!((&promoted["role"], &promoted["id"]), (&json!("ADMIN"), &json!(ada.id)));
    ada.until_revoked(&cinema).await;
    until_revoked_at_every_host(&cinema, &ada.person.token).await;
    let admin = ada.refresh(&cinema).await;
    assert_eq!(admin.role, "ADMIN");
    genre(&admin.person).await.expect(201);

    set_role(&cinema, &owner, &ada.id, "USER").await.expect(200);
    admin.until_revoked(&cinema).await;
    until_revoked_at_every_host(&cinema, &admin.person.token).await;
    let user = admin.refresh(&cinema).await;
    genre(&user.person).await.expect(403);

    // The same role again changes nothing and publishes nothing.
    set_role(&cinema, &owner, &ada.id, "USER").await.expect(200);
    user.me(&cinema).await.expect(200);
    let events = cinema.events("user.role_changed").await;
    let roles: Vec<&Value> = events.iter().map(|event| &event["role"]).collect();
    assert_eq!(roles, ["ADMIN", "USER"]);
    assert!(events.iter().all(|e| e["userId"] == json!(ada.id) && e["by"].is_string()), "{events:?}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_super_admin_sets_roles_and_the_last_one_cannot_be_demoted() {
    let cinema = TestCinema::open().await;
    let owner = Account::log_in(&cinema, "owner@marquee.example", "the first of all").await;
    let (ada, eve) =
        (Account::register(&cinema, "ada@x.org").await, Account::register(&cinema, "eve@x.org").await);
    let refused = set_role(&cinema, &owner.person, &owner.id, "ADMIN").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "last-super-admin"));
    owner.me(&cinema).await.expect(200);

    set_role(&cinema, &owner.person, &ada.id, "ADMIN").await.expect(200);
    let ada = ada.refresh(&cinema).await;
    for role in ["SUPER_ADMIN", "ADMIN", "USER"] {
        set_role(&cinema, &ada.person, &eve.id, role).await.expect(403);
        set_role(&cinema, &ada.person, &ada.id, role).await.expect(403);
    }
    set_role(&cinema, &owner.person, &Uuid::now_v7().to_string(), "ADMIN").await.expect(404);
    set_role(&cinema, &owner.person, &eve.id, "ROOT").await.expect(422);

    set_role(&cinema, &owner.person, &ada.id, "SUPER_ADMIN").await.expect(200);
    set_role(&cinema, &owner.person, &owner.id, "USER").await.expect(200);
    owner.until_revoked(&cinema).await;
    let ada = ada.refresh(&cinema).await;
    let refused = set_role(&cinema, &ada.person, &ada.id, "USER").await;
    assert_eq!(refused.code(), "last-super-admin", "Ada is the last one now");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_super_admins_who_demote_each_other_at_once_leave_one_super_admin() {
    let system = TestSystem::start().await.with_auth().await.with_auth().await;
    for round in 0..5 {
        let root = system.super_admin().await;
        let ada = system.register(&format!("ada{round}@example.org")).await;
        let root_id = system.ask(&bus::contract::auth::Me {}, Some(&root)).await.unwrap().id;
        let promote = SetRole { id: ada.user.id, role: Role::SuperAdmin };
        system.ask(&promote, Some(&root)).await.unwrap();
        let refresh = bus::contract::auth::Refresh { refresh_token: ada.refresh_token.clone() };
        let ada_token = system.ask(&refresh, None).await.unwrap().access_token;
        let demote = |id| SetRole { id, role: Role::User };
        let (one, other) = (demote(ada.user.id), demote(root_id));
        let done = join_all([system.ask(&one, Some(&root)), system.ask(&other, Some(&ada_token))]).await;
        let left: i64 = sqlx::query_scalar("select count(*) from auth.users where role = 'SUPER_ADMIN'")
            .fetch_one(&system.database)
            .await
            .unwrap();
        assert_eq!(left, 1, "round {round}: {done:?}");
        // The next round starts with the first one as SUPER_ADMIN again.
        sqlx::query("update auth.users set role = case when id = $1 then 'SUPER_ADMIN' else 'USER' end")
            .bind(root_id)
            .execute(&system.database)
            .await
            .unwrap();
    }
    system.finish().await;
}

#[tokio::test]
async fn a_verifier_that_starts_later_loads_earlier_revocations() {
    let system = TestSystem::start().await.with_auth().await;
    let ada = system.register("ada@example.org").await;
    let root = system.super_admin().await;
    system.ask(&SetRole { id: ada.user.id, role: Role::Admin }, Some(&root)).await.unwrap();
    let late = Verifier::new(system.bus.clone(), &KeySet::default());
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match late.verify(&ada.access_token).await {
            Err(problem) => break assert_eq!(problem.code, "token-revoked"),
            Ok(_) => assert!(Instant::now() < deadline, "the verifier has not loaded the revocations"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    system.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_find_users_by_part_of_email_or_name() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let ada = Account::register(&cinema, "Ada@Example.org").await;
    Account::register(&cinema, "bob@example.org").await;
    let body = json!({"name": "Ada Lovelace"});
    let renamed = cinema.call(Method::PATCH, "/v1/me", Some(&ada.person), Some(body)).await.expect(200);
    assert_eq!(renamed["name"], "Ada Lovelace");
    assert_eq!(ada.me(&cinema).await.expect(200)["name"], "Ada Lovelace");
    for bad in
        [json!({}), json!({"name": " "}), json!({"role": "ADMIN"}), json!({"name": "x", "role": "ADMIN"})]
    {
        cinema.call(Method::PATCH, "/v1/me", Some(&ada.person), Some(bad)).await.expect(422);
    }

    let find = async |query: &str| {
        cinema.call(Method::GET, &format!("/v1/users{query}"), Some(&owner), None).await.expect(200)
    };
    let mails = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|u| u["email"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(mails(&find("?email=EXAMPLE.org").await), ["Ada@Example.org", "bob@example.org"]);
    assert_eq!(mails(&find("?email=lovel").await), ["Ada@Example.org"]);
    assert_eq!(mails(&find("?email=%25").await), Vec::<String>::new(), "the search text is not a pattern");
    let second = find("?email=example.org&page=2&pageSize=1").await;
    assert_eq!((mails(&second), &second["total"]), (vec!["bob@example.org".to_owned()], &json!(2)));
    assert!(second["items"][0].get("passwordHash").is_none());
    cinema.call(Method::GET, "/v1/users", Some(&ada.person), None).await.expect(403);
    cinema.call(Method::GET, "/v1/users?pageSize=101", Some(&owner), None).await.expect(422);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_everywhere_ends_every_login_at_once() {
    let cinema = TestCinema::open().await;
    let phone = Account::register(&cinema, "ada@example.org").await;
    let laptop = Account::log_in(&cinema, "ada@example.org", PASSWORD).await;
    let eve = Account::register(&cinema, "eve@example.org").await;
    cinema.call(Method::POST, "/v1/auth/logout-everywhere", Some(&phone.person), None).await.expect(204);
    for login in [&phone, &laptop] {
        login.until_revoked(&cinema).await;
        assert_eq!(login.try_refresh(&cinema).await.expect(401)["code"], "refresh-token");
    }
    Account::log_in(&cinema, &phone.email, PASSWORD).await.me(&cinema).await.expect(200);
    eve.me(&cinema).await.expect(200);
    cinema.close().await;
}

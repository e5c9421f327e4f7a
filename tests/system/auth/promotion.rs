//! A user who creates a movie becomes an ADMIN: which events do that, and which must not.

use std::time::{Duration, Instant};

use actors::config::{AuthSettings, Promotes};
use bus::Context;
use bus::contract::Timestamp;
use bus::contract::auth::{Role, Session, SetRole, UserRoleChanged};
use bus::contract::movie::MovieCreated;
use bus::event::Outgoing;
use uuid::Uuid;

use crate::harness::TestSystem;

/// Publishes that a user created a movie, and waits until the auth host has handled it.
async fn create_movie(system: &TestSystem, by: Uuid, source: &str, at: Timestamp) {
    let (title, genres) = ("The Long Night".to_owned(), vec![]);
    let event = MovieCreated { movie_id: Uuid::now_v7(), title, genres, created_by: by };
    let outgoing = Outgoing::new(source, &event, at, &Context::new());
    // Twice, as a relay may.
    let mut sequence = 0;
    for _ in 0..2 {
        sequence = outgoing.send(&system.bus).await.unwrap().await.unwrap().sequence;
    }
    system.until_handled("auth", sequence).await;
}

async fn role(system: &TestSystem, of: &Session) -> String {
    sqlx::query_scalar("select role from auth.users where id = $1")
        .bind(of.user.id)
        .fetch_one(&system.database)
        .await
        .unwrap()
}

/// Waits until the access token is refused as revoked, no longer than the promised second.
async fn until_revoked(system: &TestSystem, login: &Session) {
    let began = Instant::now();
    loop {
        match system.ask(&bus::contract::auth::Me {}, Some(&login.access_token)).await {
            Err(problem) => return assert_eq!(problem.code, "token-revoked"),
            Ok(_) => assert!(began.elapsed() < Duration::from_secs(1), "accepted for more than a second"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_user_who_creates_a_movie_becomes_an_admin_at_once_and_higher_roles_stay() {
    let promotes = |settings: &mut AuthSettings| settings.promotes = Promotes::MovieAndBridge;
    let system = TestSystem::start().await.with_auth_as(promotes).await;
    let root = system.super_admin().await;
    let ada = system.register("ada@example.org").await;
    create_movie(&system, ada.user.id, "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &ada).await, "ADMIN");
    until_revoked(&system, &ada).await;
    let events = system.events::<UserRoleChanged>(1).await;
    assert_eq!((events[0].user_id, events[0].role, events[0].by), (ada.user.id, Role::Admin, None));
    let record: (String, serde_json::Value) = sqlx::query_as(
        "select kind, details from auth.audit where user_id = $1 and kind = 'ROLE_CHANGED' and actor_id is null",
    )
    .bind(ada.user.id)
    .fetch_one(&system.database)
    .await
    .unwrap();
    assert_eq!(
        (&record.1["from"], &record.1["to"], &record.1["source"]),
        (&serde_json::json!("USER"), &serde_json::json!("ADMIN"), &serde_json::json!("/marquee/movie"),)
    );

    // An ADMIN stays one, and so does a SUPER_ADMIN.
    create_movie(&system, ada.user.id, "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &ada).await, "ADMIN");
    system.ask(&SetRole { id: ada.user.id, role: Role::SuperAdmin }, Some(&root)).await.unwrap();
    create_movie(&system, ada.user.id, "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &ada).await, "SUPER_ADMIN");

    // The bridge may publish it too, where that is switched on.
    let bob = system.register("bob@example.org").await;
    create_movie(&system, bob.user.id, "bridge", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &bob).await, "ADMIN");
    // A movie created before the role was removed does not restore it; one created afterwards does.
    let before = Timestamp::wall_clock();
    system.ask(&SetRole { id: bob.user.id, role: Role::User }, Some(&root)).await.unwrap();
    create_movie(&system, bob.user.id, "movie", before).await;
    assert_eq!(role(&system, &bob).await, "USER");
    create_movie(&system, bob.user.id, "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &bob).await, "ADMIN");
    system.finish().await;
}

#[tokio::test]
async fn an_event_from_another_source_promotes_nobody_and_promotion_can_be_switched_off() {
    let system = TestSystem::start().await.with_auth().await;
    let ada = system.register("ada@example.org").await;
    for source in ["notification", "payment", "movie/else", ""] {
        create_movie(&system, ada.user.id, source, Timestamp::wall_clock()).await;
    }
    // Services on RabbitMQ promote nobody unless that is switched on.
    create_movie(&system, ada.user.id, "bridge", Timestamp::wall_clock()).await;
    // The creator may be unknown.
    create_movie(&system, Uuid::now_v7(), "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &ada).await, "USER");
    system.finish().await;

    let system =
        TestSystem::start().await.with_auth_as(|settings| settings.promotes = Promotes::Nobody).await;
    let ada = system.register("ada@example.org").await;
    create_movie(&system, ada.user.id, "movie", Timestamp::wall_clock()).await;
    assert_eq!(role(&system, &ada).await, "USER");
    system.finish().await;
}

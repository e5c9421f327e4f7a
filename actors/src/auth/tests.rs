//! Auth's rules without any server.

use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::auth::ACCESS_LIFETIME;
use bus::contract::auth::{Rejection, Role, User};
use uuid::Uuid;

use super::model::{
    Presented, REFRESH, RefreshToken, Secret, Standing, Worth, claims, email_key, may_publish_movies,
    promotes, role_name, role_named, secret_hash, worth,
};

/// Three months.
const LOGIN_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

fn user(now: Timestamp) -> User {
    User {
        id: Uuid::now_v7(),
        email: "Ada@example.org".into(),
        name: "Ada".into(),
        role: Role::Admin,
        email_verified: false,
        disabled: false,
        created_at: now,
    }
}

fn presented(now: Timestamp) -> Presented {
    let token = RefreshToken::new(Uuid::now_v7(), &Secret::new(), now, now.plus(LOGIN_MAX));
    Presented { token, spent: false, family_ended: false, started_at: now, user: user(now), epoch: 0 }
}

#[test]
fn an_unspent_refresh_token_buys_a_pair_until_it_expires() {
    let now = Timestamp::wall_clock();
    let token = presented(now);
    let moment = Duration::from_micros(1);
    assert_eq!(worth(&token, LOGIN_MAX, now.plus(REFRESH).minus(moment)), Ok(Worth::Pair));
    assert_eq!(worth(&token, LOGIN_MAX, now.plus(REFRESH)), Err(Rejection::RefreshToken));
}

#[test]
fn a_login_ends_after_three_months_however_often_it_is_refreshed() {
    let now = Timestamp::wall_clock();
    let day = |day: u64| now.plus(Duration::from_secs(day * 24 * 60 * 60));
    let refreshed = |on: u64| RefreshToken::new(Uuid::now_v7(), &Secret::new(), day(on), now.plus(LOGIN_MAX));
    assert_eq!(refreshed(59).expires_at, day(89));
    let last = Presented { token: refreshed(80), ..presented(now) };
    assert_eq!(last.token.expires_at, day(90));
    assert_eq!(worth(&last, LOGIN_MAX, day(89)), Ok(Worth::Pair));
    // Of before there was an end.
    let endless = RefreshToken { expires_at: day(100), ..last.token.clone() };
    let last = Presented { token: endless, ..last };
    assert_eq!(worth(&last, LOGIN_MAX, day(90)), Err(Rejection::RefreshToken));
}

#[test]
fn a_spent_refresh_token_buys_the_end_of_its_family_once() {
    let now = Timestamp::wall_clock();
    let spent = Presented { spent: true, ..presented(now) };
    assert_eq!(worth(&spent, LOGIN_MAX, now), Ok(Worth::End));
    let ended = Presented { family_ended: true, ..spent.clone() };
    assert_eq!(worth(&ended, LOGIN_MAX, now), Err(Rejection::RefreshToken));
    assert_eq!(
        worth(&spent, LOGIN_MAX, now.plus(REFRESH)),
        Err(Rejection::RefreshToken),
        "it has expired by then"
    );
}

#[test]
fn no_token_of_an_ended_family_buys_anything() {
    let now = Timestamp::wall_clock();
    let token = Presented { family_ended: true, ..presented(now) };
    assert_eq!(worth(&token, LOGIN_MAX, now), Err(Rejection::RefreshToken));
}

#[test]
fn a_secret_is_long_fresh_and_kept_only_as_its_hash() {
    let (one, other) = (Secret::new(), Secret::new());
    assert_eq!(one.text.len(), 43, "32 bytes in base64url");
    assert_ne!(one.text, other.text);
    assert_eq!(one.hash, secret_hash(&one.text));
    let token = RefreshToken::new(Uuid::now_v7(), &one, Timestamp::wall_clock(), Timestamp::wall_clock());
    assert_eq!(token.hash, one.hash);
    assert!(!format!("{token:?}").contains(&one.text));
}

#[test]
fn claims_name_the_login_and_last_fifteen_minutes() {
    let now = Timestamp::wall_clock();
    let (user, family) = (user(now), Uuid::now_v7());
    let claims = claims("https://kino.example", &user, 7, family, now);
    assert_eq!((claims.sub, claims.sid, claims.role, claims.epoch), (user.id, family, Role::Admin, 7));
    assert_eq!(claims.exp - claims.iat, ACCESS_LIFETIME.as_secs() as i64);
    assert_eq!([claims.iss, claims.aud], ["https://kino.example"; 2]);
}

#[test]
fn emails_are_compared_without_case_in_any_script() {
    assert_eq!(email_key(" Ada@Example.ORG "), "ada@example.org");
    assert_eq!(email_key("JÖRG@exämple.de"), email_key("jörg@EXÄMPLE.de"));
}

#[test]
fn roles_are_kept_as_the_contract_spells_them() {
    for role in [Role::User, Role::Admin, Role::SuperAdmin] {
        assert_eq!(serde_json::to_value(role).unwrap(), role_name(role));
        assert_eq!(role_named(role_name(role)), Some(role));
    }
    assert_eq!(role_named("ROOT"), None);
}

#[test]
fn a_movie_makes_a_user_an_admin_and_nobody_anything_else() {
    let now = Timestamp::wall_clock();
    let moment = Duration::from_micros(1);
    let creator =
        |role, role_changed_at| Standing { user: User { role, ..user(now) }, epoch: 0, role_changed_at };
    assert!(promotes(&creator(Role::User, None), now));
    assert!(promotes(&creator(Role::User, Some(now.minus(moment))), now));
    assert!(!promotes(&creator(Role::User, Some(now)), now), "somebody has decided otherwise since");
    assert!(!promotes(&creator(Role::Admin, None), now));
    assert!(!promotes(&creator(Role::SuperAdmin, None), now));
    assert!(may_publish_movies("/marquee/movie") && may_publish_movies("/marquee/bridge"));
    assert!(!may_publish_movies("/marquee/notification") && !may_publish_movies(""));
}

//! The auth domain on real servers: logins and tokens here, everything else about accounts in the folder.

mod account;
mod audit;
mod cookies;
mod disabled;
mod email_verification;
mod passwords;
mod promotion;
mod revocation;
mod roles;
mod throttling;

use bus::contract::Timestamp;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actors::auth::token::{self, Signer};
use actors::config::AuthSettings;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::auth::{Claims, GetKeys, Logout, Me, Refresh, Register, Role, Session, UserRegistered};
use futures::future::join_all;

use crate::harness::{PASSWORD, TestSystem};

fn refresh(session: &Session) -> Refresh {
    Refresh { refresh_token: session.refresh_token.clone() }
}

#[tokio::test]
async fn a_new_account_is_logged_in_and_published() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("Ada@Example.org").await;
    assert_eq!((session.user.role, session.expires_in), (Role::User, 900));
    let me = system.ask(&Me {}, Some(&session.access_token)).await.unwrap();
    assert_eq!(me, session.user);
    let events = system.events::<UserRegistered>(2).await;
    assert!(
        events.iter().any(|e| e.user_id == me.id && e.email == "Ada@Example.org" && e.role == Role::User)
    );

    let again = Register {
        email: "aDA@example.ORG".into(),
        password: PASSWORD.into(),
        name: "Eve".into(),
        order_token: None,
    };
    let taken = system.ask(&again, None).await.unwrap_err();
    assert_eq!((taken.status, taken.code.as_str()), (409, "email-taken"));
    let session = system.log_in("ADA@example.org", PASSWORD).await.unwrap();
    assert_eq!(session.user, me);
    system.finish().await;
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_and_its_reuse_ends_the_token_family() {
    let system = TestSystem::start().await.with_auth().await;
    let first = system.register("ada@example.org").await;
    let other_login = system.log_in("ada@example.org", PASSWORD).await.unwrap();
    let second = system.ask(&refresh(&first), None).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_eq!(second.user, first.user);
    system.ask(&Me {}, Some(&second.access_token)).await.unwrap();
    let third = system.ask(&refresh(&second), None).await.unwrap();

    for session in [&first, &third, &second] {
        let refused = system.ask(&refresh(session), None).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (401, "refresh-token"));
    }
    system.ask(&refresh(&other_login), None).await.expect("another login of the same user is still valid");
    let families: i64 = sqlx::query_scalar("select count(*) from auth.families where end_reason = 'REUSE'")
        .fetch_one(&system.database)
        .await
        .unwrap();
    assert_eq!(families, 1);
    system.finish().await;
}

#[tokio::test]
async fn of_concurrent_refreshes_on_two_hosts_one_succeeds_and_the_others_end_the_token_family() {
    let system = TestSystem::start().await.with_auth().await.with_auth().await;
    for round in 0..10 {
        let session = system.register(&format!("ada{round}@example.org")).await;
        let request = refresh(&session);
        let answers = join_all((0..4).map(|_| system.ask(&request, None))).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 3), "round {round}");
        for refused in lost {
            assert_eq!(refused.unwrap_err().code, "refresh-token");
        }
        let next = won.into_iter().next().unwrap().unwrap();
        let refused = system.ask(&refresh(&next), None).await.unwrap_err();
        assert_eq!(refused.status, 401, "the family has ended, round {round}");
    }
    system.finish().await;
}

#[tokio::test]
async fn an_expired_refresh_token_is_refused_and_deleted() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("ada@example.org").await;
    for table in ["auth.refresh_tokens", "auth.families"] {
        let update = format!("update {table} set expires_at = now() - interval '1 second'");
        sqlx::query(sqlx::AssertSqlSafe(update)).execute(&system.database).await.unwrap();
    }
    let refused = system.ask(&refresh(&session), None).await.unwrap_err();
    assert_eq!(refused.status, 401);
    // A host deletes expired logins when it starts.
    let system = system.with_auth().await;
    system
        .until("expired logins are deleted", async |db| {
            let left: i64 = sqlx::query_scalar(
                "select (select count(*) from auth.families) + (select count(*) from auth.refresh_tokens)",
            )
            .fetch_one(db)
            .await
            .unwrap();
            left == 0
        })
        .await;
    system.finish().await;
}

#[tokio::test]
async fn a_logout_ends_the_callers_own_login_and_no_other() {
    let system = TestSystem::start().await.with_auth().await;
    let (ada, eve) = (system.register("ada@example.org").await, system.register("eve@example.org").await);
    let logout = |session: &Session| Logout { refresh_token: session.refresh_token.clone() };
    assert_eq!(system.ask(&logout(&ada), None).await.unwrap_err().status, 401);
    system.ask(&logout(&ada), Some(&eve.access_token)).await.unwrap();
    let ada = system.ask(&refresh(&ada), None).await.expect("only ada ends her login");

    system.ask(&logout(&ada), Some(&ada.access_token)).await.unwrap();
    system.ask(&logout(&ada), Some(&ada.access_token)).await.expect("twice is fine");
    assert_eq!(system.ask(&refresh(&ada), None).await.unwrap_err().status, 401);
    system.ask(&refresh(&eve), None).await.unwrap();
    system.finish().await;
}

#[tokio::test]
async fn an_unknown_email_and_a_wrong_password_get_the_same_answer_after_the_same_time() {
    let system = TestSystem::start().await.with_auth().await;
    system.register("ada@example.org").await;
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        for (email, times) in [("ada@example.org", &mut wrong), ("nobody@example.org", &mut unknown)] {
            let started = Instant::now();
            let mut refused = system.log_in(email, "not the password").await.unwrap_err();
            times.push((started.elapsed(), {
                refused.request_id.clear();
                refused
            }));
        }
    }
    assert!(wrong.iter().zip(&unknown).all(|((_, a), (_, b))| a == b));
    assert_eq!((wrong[0].1.status, wrong[0].1.code.as_str()), (401, "credentials"));
    // Without the dummy hash the unknown e-mail would be answered some twenty times faster.
    let median = |times: &mut Vec<(Duration, _)>| {
        times.sort_by_key(|(time, _)| *time);
        times[times.len() / 2].0
    };
    let (wrong, unknown) = (median(&mut wrong), median(&mut unknown));
    assert!(unknown * 3 > wrong && wrong * 3 > unknown, "wrong {wrong:?}, unknown {unknown:?}");
    system.finish().await;
}

#[tokio::test]
async fn expired_and_forged_tokens_are_refused() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("ada@example.org").await;
    let refused = async |token: &str| system.ask(&Me {}, Some(token)).await.unwrap_err();
    let now = Timestamp::wall_clock().unix_seconds();
    let claims = Claims {
        iss: "marquee".into(),
        aud: "marquee".into(),
        sub: session.user.id,
        sid: session.user.id,
        email: session.user.email.clone(),
        name: session.user.name.clone(),
        role: Role::SuperAdmin,
        email_verified: true,
        epoch: 0,
        iat: now - 901,
        exp: now - 1,
    };
    let ours = Signer::from_pem(&system.jwt_private_key).unwrap();
    let problem = refused(&ours.sign(&claims).unwrap()).await;
    assert_eq!((problem.status, problem.code.as_str()), (401, "token-expired"));

    let valid = Claims { exp: now + 900, ..claims };
    system
        .ask(&Me {}, Some(&ours.sign(&valid).unwrap()))
        .await
        .expect("the claims are valid with the right signature");
    let theirs = Signer::from_pem(&token::generate_pem()).unwrap().sign(&valid).unwrap();
    let part = |token: &str, n: usize| token.split('.').nth(n).unwrap().to_owned();
    let theirs_as_ours = [part(&session.access_token, 0), part(&theirs, 1), part(&theirs, 2)].join(".");
    let other_claims =
        [part(&session.access_token, 0), part(&theirs, 1), part(&session.access_token, 2)].join(".");
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#), part(&theirs, 1));
    let foreign = ours.sign(&Claims { iss: "https://elsewhere.example".into(), ..valid.clone() }).unwrap();
    let not_for_us = ours.sign(&Claims { aud: "https://elsewhere.example".into(), ..valid }).unwrap();
    for forged in [theirs, theirs_as_ours, other_claims, unsigned, foreign, not_for_us, "nonsense".into()] {
        let problem = refused(&forged).await;
        assert_eq!((problem.status, problem.code.as_str()), (401, "token-invalid"), "{forged}");
    }
    assert_eq!(system.ask(&Me {}, None).await.unwrap_err().code, "token-missing");
    let keys = system.ask(&GetKeys {}, None).await.unwrap();
    assert_eq!(keys, *ours.keys());
    system.finish().await;
}

#[tokio::test]
async fn a_token_signed_for_another_use_is_not_an_access_token() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("ada@example.org").await;
    let claims = session.access_token.split('.').nth(1).unwrap();
    let signer = Signer::from_pem(&system.jwt_private_key).unwrap();
    let pem: String = system.jwt_private_key.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
    let key = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    let token = |typ: Option<&str>| {
        let mut header = serde_json::json!({"alg": "EdDSA", "kid": signer.keys().keys[0].kid});
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
    };
    system.ask(&Me {}, Some(&token(Some("JWT")))).await.expect("a token made like an access token is valid");
    for typ in [Some("ticket+jwt"), Some(""), None] {
        let refused = system.ask(&Me {}, Some(&token(typ))).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (401, "token-invalid"), "{typ:?}");
    }
    system.finish().await;
}

#[tokio::test]
async fn an_imported_account_logs_in_with_its_bcrypt_hash_which_is_then_replaced() {
    // A test vector of jBCrypt.
    const PASSWORD: &str = "abcdefghijklmnopqrstuvwxyz";
    const BCRYPT: &str = "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC";
    let system = TestSystem::start().await.with_auth().await;
    sqlx::query(
        "insert into auth.users (id, email, email_key, name, role, password_hash, created_at, updated_at)
         values (gen_random_uuid(), 'Old@example.org', 'old@example.org', 'Old', 'USER', $1, now(), now())",
    )
    .bind(BCRYPT)
    .execute(&system.database)
    .await
    .unwrap();
    assert_eq!(system.log_in("old@example.org", "not this one").await.unwrap_err().code, "credentials");
    // Two at once: both match the old hash, one of them replaces it.
    let both = join_all((0..2).map(|_| system.log_in("old@example.org", PASSWORD))).await;
    both.into_iter().for_each(|session| drop(session.unwrap()));
    let hash: String =
        sqlx::query_scalar("select password_hash from auth.users where email_key = 'old@example.org'")
            .fetch_one(&system.database)
            .await
            .unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    system.log_in("old@example.org", PASSWORD).await.unwrap();
    assert_eq!(system.log_in("old@example.org", "not this one").await.unwrap_err().code, "credentials");
    system.finish().await;
}

#[tokio::test]
async fn a_refreshed_token_has_the_current_role_and_the_database_stores_no_secret() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("ada@example.org").await;
    sqlx::query("update auth.users set role = 'ADMIN' where id = $1")
        .bind(session.user.id)
        .execute(&system.database)
        .await
        .unwrap();
    let refreshed = system.ask(&refresh(&session), None).await.unwrap();
    assert_eq!(refreshed.user.role, Role::Admin);
    let payload = URL_SAFE_NO_PAD.decode(refreshed.access_token.split('.').nth(1).unwrap()).unwrap();
    let claims: Claims = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims.role, Role::Admin);

    let rows: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(t)::text from auth.refresh_tokens t union all select to_jsonb(u)::text from auth.users u
         union all select events::text from auth.outbox",
    )
    .fetch_all(&system.database)
    .await
    .unwrap();
    for secret in [&session.refresh_token, &refreshed.refresh_token, PASSWORD] {
        assert!(rows.iter().all(|row| !row.contains(secret)));
    }
    assert!(rows.iter().any(|row| row.contains("$argon2id$v=19$m=19456,t=2,p=1$")));
    system.finish().await;
}

#[tokio::test]
async fn concurrent_logins_are_bounded_and_do_not_block_other_requests() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("ada@example.org").await;
    let unanswered = AtomicUsize::new(200);
    let logins = join_all((0..200).map(|_| async {
        let answer = system.log_in("ada@example.org", PASSWORD).await;
        unanswered.fetch_sub(1, Ordering::SeqCst);
        answer
    }));
    let others = async {
        // By then the queue is full and the surplus has been refused.
        while unanswered.load(Ordering::SeqCst) > 66 {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            system.ask(&Me {}, Some(&session.access_token)).await.unwrap();
        }
        unanswered.load(Ordering::SeqCst)
    };
    let (answers, left) = tokio::join!(logins, others);
    assert!(left > 0, "the other requests waited until all logins were answered");
    let (ok, busy): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(ok.len() >= 64, "only {} logins succeeded", ok.len());
    for refused in &busy {
        let problem = refused.as_ref().unwrap_err();
        assert_eq!((problem.status, problem.retry_after), (503, Some(1)));
    }
    assert!(!busy.is_empty(), "no login was refused");
    system.log_in("ada@example.org", PASSWORD).await.expect("a login works again afterwards");
    system.finish().await;
}

#[tokio::test]
async fn hosts_that_start_together_create_one_super_admin() {
    let system = TestSystem::start().await;
    let pem = system.jwt_private_key.clone();
    let settings = |email: &str, password: &str| AuthSettings {
        jwt_private_key: pem.clone(),
        super_admin: Some((email.to_owned(), password.to_owned())),
        issuer: bus::token::ISSUER.to_owned(),
        login_max: Duration::from_secs(90 * 24 * 60 * 60),
        throttle: None,
        is_shared: false,
        promotes: actors::config::Promotes::Movie,
        retention: None,
    };
    let spawn =
        async |settings: AuthSettings| actors::auth::spawn(system.builder("auth").await, settings).await;
    let unusable = spawn(settings("root", "short")).await.err().unwrap().to_string();
    assert!(unusable.contains("SUPER_ADMIN") && unusable.contains("password must have"), "{unusable}");

    let emails: Vec<String> = (0..4).map(|n| format!("root{n}@marquee.example")).collect();
    let hosts = join_all(emails.iter().map(|email| spawn(settings(email, PASSWORD)))).await;
    let rows: Vec<(String, String)> =
        sqlx::query_as("select email, role from auth.users").fetch_all(&system.database).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, "SUPER_ADMIN");
    assert_eq!(system.log_in(&rows[0].0, PASSWORD).await.unwrap().user.role, Role::SuperAdmin);
    assert_eq!(system.events::<UserRegistered>(1).await.len(), 1);
    for host in hosts {
        host.unwrap().stop().await;
    }
    system.finish().await;
}

#[tokio::test]
async fn a_host_answers_again_after_nats_was_killed_and_loses_no_event() {
    let mut system = TestSystem::start().await.with_auth().await;
    system.register("ada@example.org").await;
    system.nats.kill().await;
    system.nats.start_again().await.unwrap();
    let session = system.log_in("ada@example.org", PASSWORD).await.unwrap();
    system.ask(&Me {}, Some(&session.access_token)).await.unwrap();
    let emails: Vec<_> = system.events::<UserRegistered>(2).await.into_iter().map(|e| e.email).collect();
    assert!(emails.contains(&"ada@example.org".to_owned()), "{emails:?}");
    system.finish().await;
}

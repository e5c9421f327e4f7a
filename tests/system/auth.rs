//! The auth domain on real servers.

use bus::contract::Timestamp;
use bus::contract::auth::{
    Claims, GetKeys, Login, Logout, Me, Refresh, Register, Role, Session, UserRegistered,
};
use futures::future::join_all;

use crate::harness::{PASSWORD, SUPER_ADMIN, TestSystem};

fn refresh(session: &Session) -> Refresh {
    Refresh { refresh_token: session.refresh_token.clone() }
}

#[tokio::test]
async fn who_registers_is_logged_in_and_heard_of() {
    let system = TestSystem::start().await.with_auth().await;
    let session = system.register("Ada@Example.org").await;
    assert_eq!((session.user.role, session.expires_in), (Role::User, 900));
    let me = system.ask(&Me {}, Some(&session.access_token)).await.unwrap();
    assert_eq!(me, session.user);
    let events = system.events::<UserRegistered>(2).await;
    assert!(
        events.iter().any(|e| e.user_id == me.id && e.email == "Ada@Example.org" && e.role == Role::User)
    );

    let again = Register { email: "aDA@example.ORG".into(), password: PASSWORD.into(), name: "Eve".into() };
    let taken = system.ask(&again, None).await.unwrap_err();
    assert_eq!((taken.status, taken.code.as_str()), (409, "email-taken"));
    let session = system.log_in("ADA@example.org", PASSWORD).await.unwrap();
    assert_eq!(session.user, me);
    system.finish().await;
}

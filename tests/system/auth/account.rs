//! An account and what its user does through REST. Each login is an [`Account`] of its own.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, TestCinema};
use crate::harness::PASSWORD;

/// One login of an account.
pub struct Account {
    pub id: String,
    pub email: String,
    pub role: String,
    pub person: Person,
    pub refresh_token: String,
}

impl Account {
    /// Registers a new account.
    pub async fn register(cinema: &TestCinema, email: &str) -> Self {
        let body = json!({"email": email, "password": PASSWORD, "name": format!("Name of {email}")});
        Self::of(cinema.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201))
    }

    /// Logs in to an existing account.
    pub async fn log_in(cinema: &TestCinema, email: &str, password: &str) -> Self {
        Self::of(try_log_in(cinema, email, password).await.expect(200))
    }

    fn of(session: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&session["user"]["id"]),
            email: text(&session["user"]["email"]),
            role: text(&session["user"]["role"]),
            person: Person { token: text(&session["accessToken"]) },
            refresh_token: text(&session["refreshToken"]),
        }
    }

    pub async fn try_refresh(&self, cinema: &TestCinema) -> Answer {
        let body = json!({"refreshToken": self.refresh_token});
        cinema.call(Method::POST, "/v1/auth/refresh", None, Some(body)).await
    }

    pub async fn refresh(&self, cinema: &TestCinema) -> Self {
        Self::of(self.try_refresh(cinema).await.expect(200))
    }

    pub async fn me(&self, cinema: &TestCinema) -> Answer {
        cinema.call(Method::GET, "/v1/me", Some(&self.person), None).await
    }

    /// Waits until the access token is refused as revoked, no longer than the promised second.
    pub async fn until_revoked(&self, cinema: &TestCinema) {
        let began = Instant::now();
        loop {
            let answer = self.me(cinema).await;
            if answer.status == 401 {
                assert_eq!(answer.code(), "token-revoked", "{}", answer.text);
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.contains("invalid_token"), "{challenge}");
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "accepted for more than a second: {}",
                answer.text
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub async fn try_log_in(cinema: &TestCinema, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    cinema.call(Method::POST, "/v1/auth/login", None, Some(body)).await
}

pub async fn set_role(cinema: &TestCinema, by: &Person, id: &str, role: &str) -> Answer {
    let path = format!("/v1/users/{id}/role");
    cinema.call(Method::PUT, &path, Some(by), Some(json!({"role": role}))).await
}

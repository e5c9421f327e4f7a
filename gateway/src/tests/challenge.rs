//! Where a challenge is asked.

use bus::contract::Problem;
use bus::contract::auth::{Login, Register};
use bus::contract::reservation::CreateReservation;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;

use super::{Gateway, problem};
use crate::challenge::{Challenge, Challenged};
use crate::routes::ROWS;

/// Lets requests pass that have the header `X-Solution`.
struct Riddle;

impl Challenge for Riddle {
    fn check<'a>(&'a self, request: Challenged<'a>) -> BoxFuture<'a, Result<(), Problem>> {
        let solved = request.headers.contains_key("X-Solution");
        let known = request.user_id.is_some() == (request.operation == "createReservation");
        let passes =
            (solved && known).then_some(()).ok_or_else(|| Problem::new(403, "challenge", "Solve it."));
        async move { passes }.boxed()
    }
}

#[tokio::test]
async fn a_challenge_is_asked_before_registering_and_ordering_and_nowhere_else() {
    let gateway = Gateway::new();
    assert!(gateway.house.challenge.set(Box::new(Riddle)).is_ok());
    gateway.tell::<Login>("{}").tell::<Register>("{}").tell::<CreateReservation>("{}");
    let account = json!({"email": "ada@example.org", "password": "correct horse", "name": "Ada"});
    let showtime = "01890a5d-ac96-774b-bcce-b302099a8057";
    let register = || gateway.post("/v1/auth/register").json(account.clone());
    let order = || {
        let order = gateway.post("/v1/reservations").token("user").header("Idempotency-Key", "k");
        order.json(json!({"showtimeId": showtime, "seats": ["C5"]}))
    };
    assert_eq!(register().problem().await, problem(403, "challenge"));
    assert_eq!(order().problem().await, problem(403, "challenge"));
    assert!(gateway.asked().is_empty(), "no host was asked");
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    assert_eq!(gateway.post("/v1/auth/login").json(login).answer().await.status, 200);
    register().header("X-Solution", "42").answer().await;
    order().header("X-Solution", "42").answer().await;
    assert_eq!(gateway.asked().len(), 3);
    let mut rows: Vec<&str> = ROWS.iter().filter(|row| row.is_challenged).map(|row| row.operation).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["createReservation", "register", "registerPage"]);
}

//! Which requests need a challenge.

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
        let has_expected_user = request.user_id.is_some() == (request.operation == "createReservation");
        let passes = (solved && has_expected_user)
            .then_some(())
            .ok_or_else(|| Problem::new(403, "challenge", "Solve it."));
        async move { passes }.boxed()
    }
}

#[tokio::test]
async fn only_registering_and_ordering_need_the_challenge() {
    let gateway = Gateway::challenged(Riddle);
    gateway.set_answer::<Login>("{}").set_answer::<Register>("{}").set_answer::<CreateReservation>("{}");
    let account = json!({"email": "ada@example.org", "password": "correct horse", "name": "Ada"});
    let showtime = "01890a5d-ac96-774b-bcce-b302099a8057";
    let register = || gateway.post("/v1/auth/register").json(account.clone());
    let order = || {
        let order = gateway.post("/v1/reservations").token("user").header("Idempotency-Key", "k");
        order.json(json!({"showtimeId": showtime, "seats": ["C5"]}))
    };
    assert_eq!(register().problem().await, problem(403, "challenge"));
    assert_eq!(order().problem().await, problem(403, "challenge"));
    assert!(gateway.received().is_empty(), "no host received a request");
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    assert_eq!(gateway.post("/v1/auth/login").json(login).answer().await.status, 200);
    register().header("X-Solution", "42").answer().await;
    order().header("X-Solution", "42").answer().await;
    assert_eq!(gateway.received().len(), 3);
    let mut rows: Vec<&str> = ROWS.iter().filter(|row| row.is_challenged).map(|row| row.operation).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["createReservation", "register", "registerPage"]);
}

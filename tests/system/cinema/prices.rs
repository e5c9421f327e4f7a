//! What staff do with prices: they create ticket types and price cards, and schedule showtimes by a card.

use reqwest::Method;
use serde_json::{Value, json};

use super::TestCinema;

/// The ticket types of the tests, in their order: code, name, the German name, prices of a standard seat and of the other kinds.
const TYPES: [(&str, &str, &str, i64, i64); 5] = [
    ("ADULT", "Adult", "Erwachsene", 1200, 1500),
    ("CHILD", "Child", "Kind", 800, 1000),
    ("STUDENT", "Student", "Studierende", 900, 1100),
    ("DISABLED", "Disabled", "Mit Behinderung", 800, 800),
    ("COMPANION", "Companion", "Begleitung", 0, 0),
];

impl TestCinema {
    pub async fn create_ticket_type(&self, fields: Value) -> Value {
        self.call(Method::POST, "/v1/ticket-types", Some(&self.owner()), Some(fields)).await.expect(201)
    }

    pub async fn create_price_card(&self, fields: Value) -> Value {
        self.call(Method::POST, "/v1/price-cards", Some(&self.owner()), Some(fields)).await.expect(201)
    }

    /// Creates five ticket types and a card that always applies: adults €12.00, children €8.00, students €9.00 with a student
    /// card, disabled visitors €8.00 with a free companion each; €2.00 more in 3D; a booking fee of €0.50 a ticket; 7 % tax on
    /// tickets and 19 % on fees. Returns the card.
    pub async fn create_prices(&self) -> Value {
        for (position, (code, name, german, ..)) in TYPES.into_iter().enumerate() {
            let mut fields = json!({"code": code, "name": {"en": name, "de": german}, "channels": ["WEB", "BOX_OFFICE"],
                "position": position, "active": true, "reportedAs": if position == 0 { "FULL" } else { "REDUCED" }});
            if code == "STUDENT" {
                fields["proof"] = json!({"en": "student card", "de": "Studierendenausweis"});
            }
            if code == "COMPANION" {
                fields["accompanies"] = json!("DISABLED");
                fields["reportedAs"] = json!("FREE");
            }
            self.create_ticket_type(fields).await;
        }
        self.create_price_card(card_fields()).await
    }

    /// A hall with these rows (`S` standard, `W` wheelchair, `-` gap) and a showtime in it, `seconds` from now, at the prices of
    /// the card that applies; returns the id of the showtime.
    pub async fn schedule_by_card(&self, rows: &[&str], seconds: i64) -> String {
        let plain = self.schedule(rows, seconds).await;
        let path = format!("/v1/showtimes/{plain}");
        let cards = self.call(Method::GET, "/v1/price-cards", Some(&self.owner()), None).await.expect(200);
        let body = json!({"priceCardId": cards["items"][0]["id"]});
        self.call(Method::PATCH, &path, Some(&self.owner()), Some(body)).await.expect(200);
        self.until_on_sale(&plain).await;
        plain
    }

    /// Waits until reservation sells the showtime at the version that movie has.
    pub async fn until_on_sale(&self, showtime: &str) {
        let sql = format!(
            "select count(*) from reservation.showtimes join movie.showtimes as theirs using (id, version) where id = '{showtime}'"
        );
        self.until_sql(&sql, 1).await;
    }
}

/// The card of [`TestCinema::create_prices`].
pub fn card_fields() -> Value {
    let kinds = |standard: i64, other: i64| json!({"STANDARD": standard, "WHEELCHAIR": other, "COMPANION": other, "LOVESEAT": other});
    let prices: Value =
        TYPES.into_iter().map(|(code, _, _, standard, other)| (code, kinds(standard, other))).collect();
    json!({
        "name": "Every day", "currency": "EUR", "prices": prices,
        "surcharges": [{"code": "3D", "name": {"en": "3D", "de": "3D"}, "amount": 200}],
        "fees": [{"code": "BOOKING", "name": {"en": "Booking fee", "de": "Buchungsgebühr"}, "amount": 50, "per": "TICKET",
                  "channels": ["WEB"], "refundable": false}],
        "tax": {"tickets": 7000, "fees": 19000, "included": true}, "position": 10,
    })
}

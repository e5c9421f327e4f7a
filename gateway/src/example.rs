//! An example body for each endpoint that takes JSON: in the document, from which Swagger UI and the Postman collection take
//! it, and in the tests, which make it invalid field by field.
//!
//! Values that a schema does not contain, such as a realistic price, are set here; every other value is generated from the
//! schema, so a new endpoint has an example at once.

use serde_json::{Map, Value, json};

/// A valid id that no resource has.
const ID: &str = "01920000-0000-7000-8000-000000000001";
/// References deeper than this are omitted: no body is nested this far.
const DEPTH_MAX: usize = 8;

/// Adds an example to every JSON body of a document.
pub fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let Some(body) = operation.pointer_mut("/requestBody/content/application~1json") else { continue };
        let generated = of(&body["schema"], &schemas, DEPTH_MAX);
        if generated.as_object().is_some_and(|fields| !fields.is_empty()) {
            body["example"] = realistic(&id, generated);
        }
    }
}

/// A realistic example where there is one for the operation.
fn realistic(operation: &str, generated: Value) -> Value {
    let price = json!({"amount": 1200, "currency": "EUR"});
    match operation {
        "register" | "registerPage" => {
            json!({"email": "grace@example.org", "password": "correct horse", "name": "Grace Hopper"})
        }
        "login" | "loginPage" => json!({"email": "ada@marquee.example", "password": "popcorn-2026"}),
        "eraseMe" => json!({"password": "popcorn-2026"}),
        "eraseUser" => json!({"reason": "asked by letter of 4 May"}),
        "createMovie" => json!({
            "title": "The Long Night", "synopsis": "Nobody sleeps.", "durationMinutes": 96, "rating": "12",
            "releaseDate": "2026-05-01", "language": "en", "genreIds": [],
        }),
        "createAuditorium" => json!({
            "name": "Hall 1", "timeZone": "Europe/Berlin",
            "rows": [{"label": "A", "seats": [
                {"number": 2, "column": 1, "kind": "STANDARD"}, {"number": 1, "column": 3, "kind": "WHEELCHAIR"},
            ]}],
        }),
        "createShowtime" => json!({
            "movieId": ID, "auditoriumId": ID, "startsAt": "2030-05-01T18:30:00Z", "prices": {"STANDARD": price},
        }),
        "createShowtimes" => json!({
            "movieId": ID, "auditoriumId": ID, "from": "2030-05-01", "to": "2030-05-07", "times": ["17:30", "20:15"],
            "weekdays": ["TUESDAY", "SATURDAY"], "surcharges": ["3D"],
        }),
        "updateShowtime" => {
            json!({"startsAt": "2030-05-01T18:30:00Z", "priceCardId": ID, "surcharges": ["3D"]})
        }
        "createTicketType" => student(),
        "updateTicketType" => with_version(student()),
        "createPriceCard" => cheap_tuesday(),
        "updatePriceCard" => with_version(cheap_tuesday()),
        "updateSite" => with_version(kino()),
        "quoteTickets" => json!({
            "tickets": [{"seat": "C5", "type": "ADULT"}, {"seat": "C6", "type": "STUDENT"}], "locale": "en",
        }),
        "createReservation" => json!({"showtimeId": ID, "seats": ["C5", "C6"]}),
        "cancelReservation" => json!({"seats": ["C6"], "reason": "one of us is ill", "version": 4}),
        "exchangeReservation" => json!({"showtimeId": ID, "seats": ["C5", "C6"], "version": 4}),
        "createPayment" => json!({"reservationId": ID, "paymentMethod": "pm_card_visa"}),
        "setBuyer" => json!({
            "name": "Example GmbH", "address": ["Lindenallee 5", "50667 Köln"], "taxId": "DE123456789",
        }),
        _ => generated,
    }
}

fn student() -> Value {
    json!({
        "code": "STUDENT", "name": {"en": "Student", "de": "Studierende"},
        "proof": {"en": "student card", "de": "Studienausweis"}, "reportedAs": "REDUCED", "seatKinds": ["STANDARD"],
        "channels": ["WEB", "BOX_OFFICE"], "mostPerOrder": 4, "position": 2, "active": true,
    })
}

fn kino() -> Value {
    json!({
        "slug": "main", "name": "Lichtspiele Köln",
        "legal": {"company": "Lichtspiele Köln GmbH", "address": "Lindenallee 5, 50667 Köln", "vatId": "DE123456789"},
        "country": "DE", "timeZone": "Europe/Berlin", "currency": "EUR", "languages": ["de", "en"],
        "theme": {"colours": {
            "header": "#102030", "onHeader": "#ffffff", "button": "#f4ae33", "onButton": "#261803",
        }},
        "contact": {"email": "hallo@kino.example"}, "refundPolicy": {"untilMinutes": 120, "percent": 100},
        "salesCutoffs": {"webMinutes": 10}, "links": {"imprint": "https://kino.example/impressum"},
    })
}

fn cheap_tuesday() -> Value {
    json!({
        "name": "Cheap Tuesday", "currency": "EUR",
        "prices": {"ADULT": {"STANDARD": 900, "WHEELCHAIR": 900}, "STUDENT": {"STANDARD": 700}},
        "surcharges": [{"code": "3D", "name": {"en": "3D"}, "amount": 150}],
        "fees": [{
            "code": "BOOKING", "name": {"en": "Booking fee"}, "amount": 50, "per": "TICKET", "channels": ["WEB"],
            "refundable": false,
        }],
        "tax": {"tickets": 7000, "fees": 19000, "included": true}, "weekdays": ["TUESDAY"], "from": "10:00",
        "until": "23:00", "position": 0,
    })
}

fn with_version(mut fields: Value) -> Value {
    fields["version"] = json!(1);
    fields
}

/// A value that the schema allows.
fn of(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return if depth == 0 { Value::Null } else { of(&schemas[name], schemas, depth - 1) };
    }
    if let Some(first) = ["allOf", "oneOf", "anyOf"].iter().find_map(|keyword| schema[keyword].get(0)) {
        return of(first, schemas, depth);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(
                properties
                    .map(|(name, schema)| (name.clone(), of(schema, schemas, depth)))
                    .collect::<Map<_, _>>(),
            )
        }
        Some("array") => json!([of(&schema["items"], schemas, depth)]),
        Some("integer" | "number") => {
            schema.get("minimum").filter(|least| **least != json!(0)).cloned().unwrap_or(json!(1))
        }
        Some("boolean") => json!(true),
        Some("string") => text(schema),
        _ => Value::Null,
    }
}

fn text(schema: &Value) -> Value {
    match schema["format"].as_str() {
        Some("uuid") => json!(ID),
        Some("date-time") => json!("2030-05-01T18:30:00Z"),
        Some("date") => json!("2030-05-01"),
        Some("email") => json!("grace@example.org"),
        Some("uri") => json!("https://example.org/"),
        _ => json!("x".repeat(schema["minLength"].as_u64().unwrap_or(4) as usize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::documents;
    use crate::routes::{Body, ROWS};

    #[test]
    fn every_endpoint_that_takes_json_has_an_example() {
        let document = &documents()[0].1;
        for row in ROWS.iter().filter(|row| matches!(row.body, Body::Json(_))) {
            let operation = &document["paths"][row.path][row.verb.method().as_str().to_lowercase()];
            let content = &operation["requestBody"]["content"]["application/json"];
            assert!(content["example"].is_object(), "{}: {content}", row.operation);
        }
    }

    #[test]
    fn a_value_is_generated_for_each_kind_of_schema() {
        let schemas = json!({"Kind": {"type": "string", "enum": ["A", "B"]}});
        let schema = json!({"type": "object", "properties": {
            "kind": {"allOf": [{"$ref": "#/components/schemas/Kind"}], "nullable": true},
            "ids": {"type": "array", "items": {"type": "string", "format": "uuid"}},
            "count": {"type": "integer", "minimum": 1}, "name": {"type": "string", "minLength": 2},
        }});
        let made = of(&schema, &schemas, DEPTH_MAX);
        assert_eq!(made, json!({"kind": "A", "ids": [ID], "count": 1, "name": "xx"}));
    }
}

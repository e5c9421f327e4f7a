//! Documents for developers of other services, generated from the contract: the Postman collection from the OpenAPI
//! document, the AsyncAPI document from the events' schemas and the domains' registration, the table of events and their
//! TypeScript types from the same.
//!
//! Invariant: the files in `docs/` and `examples/nest/events.d.ts` are what these functions return; tests compare them, and write the files with
//! `INSTA_UPDATE=always`.

mod asyncapi;
mod events;
mod postman;
#[cfg(test)]
mod tests;
mod typescript;
mod yaml;

/// `docs/asyncapi.yaml`: every event, which domain publishes it and which consumers handle it.
pub fn asyncapi() -> String {
    yaml::write(&asyncapi::document())
}

/// `docs/events.md`: when each event is published, and one payload.
pub fn events() -> String {
    events::page()
}

/// `examples/nest/events.d.ts`: the payloads as TypeScript types.
pub fn typescript() -> String {
    typescript::types(&asyncapi::document())
}

/// `docs/marquee.postman_collection.json`: every endpoint, and a sequence of requests from a showtime to a ticket with its own tests.
pub fn postman() -> String {
    let mut text =
        serde_json::to_string_pretty(&postman::collection(&gateway::openapi())).unwrap_or_default();
    text.push('\n');
    text
}

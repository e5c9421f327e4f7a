//! Documents for developers of other services, generated from the contract: the Postman collection from the OpenAPI
//! document, the AsyncAPI document from the events' schemas and the domains' registration.
//!
//! Invariant: the files in `docs/` are what these functions return; tests compare them, and write the files with
//! `INSTA_UPDATE=always`.

mod asyncapi;
mod postman;
#[cfg(test)]
mod tests;
mod yaml;

/// `docs/asyncapi.yaml`: every event, which domain publishes it and which consumers handle it.
pub fn asyncapi() -> String {
    yaml::write(&asyncapi::document())
}

/// `docs/marquee.postman_collection.json`: every endpoint, and a sequence of requests from a showtime to a ticket with its own tests.
pub fn postman() -> String {
    let mut text =
        serde_json::to_string_pretty(&postman::collection(&gateway::openapi())).unwrap_or_default();
    text.push('\n');
    text
}

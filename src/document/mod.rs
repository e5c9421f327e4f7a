//! Documents for whoever builds on the house, made from the contract and never by hand: the Postman collection from the
//! OpenAPI document, the AsyncAPI document from the events' schemas.
//!
//! Invariant: what is in `docs/` is what these write; tests compare, and write it anew with `INSTA_UPDATE=always`.

mod asyncapi;
mod postman;
#[cfg(test)]
mod tests;
mod yaml;

/// `docs/asyncapi.yaml`: every event, who says it and who hears it.
pub fn asyncapi() -> String {
    yaml::write(&asyncapi::document())
}

/// `docs/marquee.postman_collection.json`: every endpoint, and a walk from a showtime to a ticket that tests itself.
pub fn postman() -> String {
    let mut text =
        serde_json::to_string_pretty(&postman::collection(&gateway::openapi())).unwrap_or_default();
    text.push('\n');
    text
}

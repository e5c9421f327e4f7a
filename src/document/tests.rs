//! The documents in `docs/` are what the code makes; `INSTA_UPDATE=always` writes them anew, as it does snapshots.

use serde_json::Value;

use super::{asyncapi, postman};

#[track_caller]
fn assert_is(file: &str, text: &str) {
    let path = format!("{}/docs/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(kept, made)| kept != made);
    let again = "INSTA_UPDATE=always cargo test --workspace --lib only_on_purpose";
    assert!(
        kept == text,
        "docs/{file} is out of date (line {:?}); make it anew: {again}",
        differs.map(|line| line + 1)
    );
}

#[test]
fn the_postman_collection_changes_only_on_purpose() {
    assert_is("marquee.postman_collection.json", &postman());
}

#[test]
fn the_asyncapi_document_changes_only_on_purpose() {
    assert_is("asyncapi.yaml", &asyncapi());
}

#[test]
fn every_endpoint_is_in_the_collection_once_outside_of_the_walk() {
    let collection: Value = serde_json::from_str(&postman()).unwrap();
    let folders = collection["item"].as_array().unwrap();
    let requests: usize = folders[1..].iter().map(|folder| folder["item"].as_array().unwrap().len()).sum();
    let document = gateway::openapi();
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|verbs| verbs.as_object().unwrap().len()).sum();
    assert_eq!(requests, operations);
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    let document = super::asyncapi::document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let reference = reference.split('"').next().unwrap();
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

//! A server that accepts uploads as Cloudinary does, and checks each signature as its official libraries compute it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::{Data, Json, Multipart, Path};
use poem::{EndpointExt, IntoResponse, Response, Route, Server, handler, post};
use serde_json::json;

const SECRET: &str = "s3cret";

pub struct CloudinaryStandIn {
    uploads: Arc<Uploads>,
    addr: String,
    algorithm: &'static str,
    server: tokio::task::JoinHandle<()>,
}

struct Uploads {
    /// Type and public id of each stored file.
    stored: Mutex<BTreeSet<String>>,
    failing: AtomicU32,
    algorithm: &'static ring::digest::Algorithm,
}

impl CloudinaryStandIn {
    pub async fn start(algorithm: &'static str) -> Self {
        let digest = match algorithm {
            "sha256" => &ring::digest::SHA256,
            _ => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        };
        let uploads =
            Arc::new(Uploads { stored: Mutex::default(), failing: AtomicU32::new(0), algorithm: digest });
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let addr = acceptor.local_addr()[0].as_socket_addr().unwrap().to_string();
        let routes = Route::new().at("/v1_1/demo/:kind/:action", post(take)).data(uploads.clone());
        let server =
            tokio::spawn(async move { Server::new_with_acceptor(acceptor).run(routes).await.unwrap() });
        Self { uploads, addr, algorithm, server }
    }

    /// The `CLOUDINARY_URL` of this server.
    pub fn account(&self) -> String {
        let (addr, algorithm) = (&self.addr, self.algorithm);
        format!("cloudinary://key:{SECRET}@demo?upload_prefix=http://{addr}&signature_algorithm={algorithm}")
    }

    /// Answers the next calls with 500.
    pub fn fail_next(&self, calls: u32) {
        self.uploads.failing.store(calls, Ordering::Relaxed);
    }

    pub fn ids(&self) -> Vec<String> {
        self.uploads.stored.lock().unwrap().iter().cloned().collect()
    }
}

impl Drop for CloudinaryStandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[handler]
async fn take(
    Path((kind, action)): Path<(String, String)>,
    Data(uploads): Data<&Arc<Uploads>>,
    mut form: Multipart,
) -> Response {
    let mut fields = BTreeMap::new();
    let mut file = None;
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        if name == "file" {
            file = Some(field.bytes().await.unwrap());
        } else {
            fields.insert(name, field.text().await.unwrap());
        }
    }
    let failing =
        uploads.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if failing.is_ok() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let given = fields.remove("signature").unwrap_or_default();
    let key = fields.remove("api_key").unwrap_or_default();
    // As `api_sign_request` of the official libraries: all but file, api_key and the type, sorted, joined, and the secret.
    let signed: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let digest = ring::digest::digest(uploads.algorithm, format!("{}{SECRET}", signed.join("&")).as_bytes());
    if key != "key" || given != hex::encode(digest.as_ref()) {
        let answer = Json(json!({"error": {"message": format!("Invalid Signature {given}")}}));
        return answer.with_status(StatusCode::UNAUTHORIZED).into_response();
    }
    let id = fields["public_id"].clone();
    let named = format!("{kind}/{id}");
    let mut stored = uploads.stored.lock().unwrap();
    if action == "destroy" {
        let result = if stored.remove(&named) { "ok" } else { "not found" };
        return Json(json!({"result": result})).into_response();
    }
    stored.insert(named.clone());
    let bytes = file.map_or(0, |file| file.len());
    let url = format!("https://res.cloudinary.com/demo/{kind}/upload/v1/{id}");
    Json(json!({"public_id": id, "secure_url": url, "bytes": bytes, "width": 50, "height": 50}))
        .into_response()
}

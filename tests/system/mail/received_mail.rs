//! Mails as their recipients get them: read from files with another library than the one that wrote them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mail_parser::{MessageParser, MimeHeaders};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

pub struct ReceivedMail {
    pub to: String,
    pub subject: String,
    pub message_id: String,
    pub text: String,
    pub html: String,
    /// Name and content.
    pub attachments: Vec<(String, Vec<u8>)>,
}

/// Every mail of a folder, by file name.
pub fn read_folder(folder: &Path) -> Vec<ReceivedMail> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    paths.sort();
    paths.iter().map(|path| read(&std::fs::read(path).unwrap())).collect()
}

fn read(raw: &[u8]) -> ReceivedMail {
    let message = MessageParser::default().parse(raw).unwrap();
    let attachments = message
        .attachments()
        .map(|part| (part.attachment_name().unwrap_or_default().to_owned(), part.contents().to_vec()));
    ReceivedMail {
        to: message.to().unwrap().first().unwrap().address().unwrap().to_owned(),
        subject: message.subject().unwrap().to_owned(),
        message_id: message.message_id().unwrap().to_owned(),
        text: message.body_text(0).unwrap().into_owned(),
        html: message.body_html(0).unwrap().into_owned(),
        attachments: attachments.collect(),
    }
}

impl ReceivedMail {
    pub fn attachment(&self, name: &str) -> &[u8] {
        let found = self.attachments.iter().find(|(attached, _)| attached == name);
        let names: Vec<_> = self.attachments.iter().map(|(name, _)| name).collect();
        &found.unwrap_or_else(|| panic!("no {name} in {names:?}")).1
    }
}

/// Verifies a ticket as the device at a door does, with the public keys and without a network. Returns header and claims.
pub fn verify_ticket(ticket: &str, keys: &Value) -> (Value, Value) {
    let parts: Vec<&str> = ticket.split('.').collect();
    assert_eq!(parts.len(), 3, "{ticket}");
    let json =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, claims) = (json(parts[0]), json(parts[1]));
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let key = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature).unwrap();
    (header, claims)
}

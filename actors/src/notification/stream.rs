//! The content of a PDF's stream, compressed (`FlateDecode`).

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

pub fn compressed(content: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), level);
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    written.expect("memory takes every byte")
}

//! What is in `deploy` and `scripts` for those who install: the image, the manifests, the unit.

mod confined;
mod image;
mod killed;
mod manifest;
mod resources;
mod unit;

use std::fs::read_to_string;
use std::path::PathBuf;

use serde_json::Value;

/// A file of the repository.
pub fn repository(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

/// What a file of `deploy` is about: the last object in it.
pub fn document(file: &str) -> Value {
    let text = read_to_string(repository("deploy").join(file)).unwrap();
    let document = text.rsplit("\n---\n").next().unwrap();
    serde_saphyr::from_str(document).unwrap()
}

//! What is in `deploy` and `scripts` for those who install: the image, the manifests, the unit.

mod confined;
mod image;
mod killed;
mod resources;
mod unit;

use std::path::PathBuf;

/// A file of the repository.
pub fn repository(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

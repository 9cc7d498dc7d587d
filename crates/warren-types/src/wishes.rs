//! What a pod asks of the address management. Whoever follows the pods' annotations writes it before
//! the pod starts; the plugin looks for it with every pod that has a name.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::file;

/// A pod's wishes. Where they cannot be met the pod does not start, so that nobody relies on an
/// address that another one has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wishes {
    /// The very addresses that it is to have: at most one of a family.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Where its addresses are to come from: blocks of the node that lie in one of these. Empty:
    /// from any.
    #[serde(default)]
    pub pools: Vec<IpNetwork>,
}

/// Why wishes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read the pod's wishes {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not say what addresses a pod asks for: {source}; remove it, or mend it")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong in it.
        source: serde_json::Error,
    },
}

impl Wishes {
    /// Reads them; without a file a pod has none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let text = match file::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text,
        };
        let path = path.display().to_string();
        let text = text.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| ReadError::Malformed { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_a_file_has_no_wishes_and_a_torn_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("default.web-0");
        assert_eq!(Wishes::read(&path).unwrap(), Wishes::default());
        std::fs::write(&path, r#"{"addresses":["10.0.0.5","fd00::5"]}"#).unwrap();
        let wishes = Wishes::read(&path).unwrap();
        assert_eq!((wishes.addresses.len(), wishes.pools.len()), (2, 0));
        for text in ["{", r#"{"address":"10.0.0.5"}"#, r#"{"pools":["x"]}"#] {
            std::fs::write(&path, text).unwrap();
            let error = Wishes::read(&path).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        }
    }
}

//! Kernel parameters, by their path under /proc/sys.
//!
//! The kernel shows each thread the parameters of that thread's own network namespace under
//! `/proc/sys/net`, so these functions act where they are called, with no way to name another
//! namespace. Keys are written with slashes, which sysctl(8) takes as well: an interface's name may
//! contain a dot.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A parameter that could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("cannot read sysctl {key}: {source}")]
    Read {
        /// The parameter.
        key: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Setting failed.
    #[error("cannot set sysctl {key} to {value}: {source}")]
    Write {
        /// The parameter.
        key: String,
        /// What it was to become.
        value: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the kernel has no such parameter: the interface is not there, or the feature is not
    /// (no IPv6).
    pub fn is_missing(&self) -> bool {
        let (Self::Read { source, .. } | Self::Write { source, .. }) = self;
        source.kind() == io::ErrorKind::NotFound
    }
}

/// The parameter's value, without the line's end.
///
/// # Errors
/// When the kernel has no such parameter or does not let us read it.
pub fn read(key: &str) -> Result<String, Error> {
    fs::read_to_string(path(key))
        .map(|value| value.trim_end().to_string())
        .map_err(|source| Error::Read { key: key.to_string(), source })
}

/// Sets the parameter.
///
/// # Errors
/// When the kernel has no such parameter, refuses the value, or /proc/sys is read-only here.
pub fn write(key: &str, value: &str) -> Result<(), Error> {
    // Not fs::write: that would try to create what is missing, and blame permissions for it.
    OpenOptions::new()
        .write(true)
        .open(path(key))
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Error::Write { key: key.to_string(), value: value.to_string(), source })
}

fn path(key: &str) -> impl AsRef<Path> {
    format!("/proc/sys/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated;

    #[test]
    fn what_was_written_is_read_back_in_this_namespace_only() {
        let key = "net/ipv4/conf/lo/proxy_arp";
        isolated(|| {
            assert_eq!(read(key).unwrap(), "0");
            write(key, "1").unwrap();
            assert_eq!(read(key).unwrap(), "1");
            isolated(|| assert_eq!(read(key).unwrap(), "0"));
        });
    }

    #[test]
    fn a_missing_parameter_is_told_from_a_refused_value() {
        isolated(|| {
            let missing = write("net/ipv4/conf/absent/proxy_arp", "1").unwrap_err();
            assert!(missing.is_missing());
            assert_eq!(
                missing.to_string(),
                "cannot set sysctl net/ipv4/conf/absent/proxy_arp to 1: \
                 No such file or directory (os error 2)"
            );
            assert!(!write("net/ipv4/conf/lo/proxy_arp", "many").unwrap_err().is_missing());
            assert!(read("net/ipv4/conf/absent/proxy_arp").unwrap_err().is_missing());
        });
    }
}

//! Who can have an address.

use std::fmt;

/// The longest container ID that is accepted, in bytes. The specification sets no limit; a record's
/// name has to fit into `NAME_MAX` (255) together with an IPv6 address (39), two interface names
/// (15 each) and three separators. Runtimes use 64.
pub const CONTAINER_ID_MAX: usize = 180;

/// The longest interface name that the kernel takes, in bytes: `IFNAMSIZ` less its NUL.
pub const IFNAME_MAX: usize = 15;

/// An attachment: one interface of one container. Both parts were checked against the CNI
/// specification, so that they are safe in a file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    // Whoever fills them in has asked `check`.
    pub(crate) container_id: String,
    pub(crate) ifname: String,
}

/// Why something cannot be an [`Owner`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// The container ID breaks the specification's rule.
    #[error(
        "container ID {0:?} is not valid: it has to begin with a letter or digit, followed by \
         letters, digits, '_', '.' or '-' only"
    )]
    ContainerId(String),
    /// The container ID is longer than [`CONTAINER_ID_MAX`].
    #[error("container ID of {0} bytes is too long: at most {CONTAINER_ID_MAX} are supported")]
    ContainerIdLength(usize),
    /// The kernel would not take the interface name.
    #[error(
        "interface name {0:?} is not valid: 1 to {IFNAME_MAX} bytes, neither \".\" nor \"..\", \
         without '/', ':', '%' or white space"
    )]
    Ifname(String),
}

impl Owner {
    /// The attachment of the interface `ifname` of the container `container_id`.
    ///
    /// # Errors
    /// See [`OwnerError`].
    pub fn new(container_id: &str, ifname: &str) -> Result<Self, OwnerError> {
        check(container_id, ifname)?;
        Ok(Self { container_id: container_id.to_owned(), ifname: ifname.to_owned() })
    }

    /// The container's ID.
    pub fn container_id(&self) -> &str {
        &self.container_id
    }

    /// The interface's name inside the container.
    pub fn ifname(&self) -> &str {
        &self.ifname
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {}", self.ifname, self.container_id)
    }
}

/// Whether there can be such an [`Owner`].
pub(crate) fn check(container_id: &str, ifname: &str) -> Result<(), OwnerError> {
    if !is_identifier(container_id) {
        return Err(OwnerError::ContainerId(container_id.to_owned()));
    }
    if container_id.len() > CONTAINER_ID_MAX {
        return Err(OwnerError::ContainerIdLength(container_id.len()));
    }
    if !is_ifname(ifname) {
        return Err(OwnerError::Ifname(ifname.to_owned()));
    }
    Ok(())
}

/// The rule that the CNI specification has for container IDs and for network names.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'))
}

/// Whether the kernel takes `text` as an interface's name and leaves it as it is ('%' makes it a
/// template). Control characters are refused besides, because the name appears in logs.
pub fn is_ifname(text: &str) -> bool {
    (1..=IFNAME_MAX).contains(&text.len())
        && text != "."
        && text != ".."
        && !text
            .contains(|c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_allows_is_accepted() {
        for id in ["a", "0_.-", &"f".repeat(CONTAINER_ID_MAX)] {
            assert!(Owner::new(id, "eth0").is_ok(), "{id}");
        }
        for ifname in ["eth0", "net@1", "...", &"x".repeat(IFNAME_MAX), "é"] {
            assert!(Owner::new("a", ifname).is_ok(), "{ifname}");
        }
    }

    #[test]
    fn what_could_leave_the_directory_or_confuse_it_is_refused() {
        for id in ["", ".", "..", "-a", "a/b", "a@b", "a b", "é", "a\n"] {
            assert!(matches!(Owner::new(id, "eth0"), Err(OwnerError::ContainerId(_))), "{id}");
        }
        let long = "f".repeat(CONTAINER_ID_MAX + 1);
        assert_eq!(Owner::new(&long, "eth0"), Err(OwnerError::ContainerIdLength(181)));
        for ifname in
            ["", ".", "..", "a/b", "a:b", "a b", "a\0", "eth%d", &"x".repeat(IFNAME_MAX + 1)]
        {
            assert!(matches!(Owner::new("a", ifname), Err(OwnerError::Ifname(_))), "{ifname:?}");
        }
    }
}

//! How the host end of a pod's veth pair is called.

use sha1::{Digest, Sha1};

/// What every host end's name begins with.
pub const PREFIX: &str = "cali";

/// The name of the host end for a pod that Kubernetes named: `cali` and the first 11 hexadecimal
/// digits of sha1("<namespace>.<pod>"), as Calico computes it, so that operators and their tools
/// find the interface where they look for it.
pub fn for_pod(namespace: &str, pod: &str) -> String {
    hashed(&format!("{namespace}.{pod}"))
}

/// The name of the host end where the runtime gave no pod name: the same over the container ID.
pub fn for_container(container_id: &str) -> String {
    hashed(container_id)
}

fn hashed(key: &str) -> String {
    let digest = Sha1::digest(key.as_bytes());
    let mut name = String::from(PREFIX);
    for byte in digest.iter().take(6) {
        name.push_str(&format!("{byte:02x}"));
    }
    name.truncate(PREFIX.len() + 11);
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_what_sha1sum_says() {
        // printf default.nginx | sha1sum
        assert_eq!(super::for_pod("default", "nginx"), "calic440f455693");
    }

    #[test]
    fn fits_the_kernels_interface_name() {
        assert_eq!(super::for_container(&"f".repeat(64)).len(), 15);
    }
}

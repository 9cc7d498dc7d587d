//! This machine: what lets pods' packets through, and what has the runtime call the plugin.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use warren_net::rules::forward_droppers;

use super::Finding;
use crate::commands::install::{PLUGIN, plugin_version};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Whether the node carries packets between its devices at all.
pub fn forwarding() -> Finding {
    match fs::read_to_string(FORWARDING) {
        Ok(value) if value.trim() == "1" => Finding::ok("forwarding", "net.ipv4.ip_forward is 1"),
        Ok(value) => {
            Finding::problem("forwarding", format!("net.ipv4.ip_forward is {}", value.trim()))
                .advise("sysctl -w net.ipv4.ip_forward=1, and a file in /etc/sysctl.d")
        }
        Err(error) => Finding::warning("forwarding", format!("cannot read {FORWARDING}: {error}")),
    }
}

/// The packet filters of others.
pub fn filters() -> Vec<Finding> {
    let mut findings = match forward_droppers() {
        Ok(chains) => chains
            .iter()
            .map(|chain| {
                Finding::warning(
                    "filters",
                    format!("nftables chain {chain} drops what no rule of its own accepts"),
                )
                .advise(format!("see that it accepts the pools: nft list chain {chain}"))
            })
            .collect(),
        Err(error) => vec![Finding::warning("filters", error.to_string())],
    };
    if findings.is_empty() {
        findings.push(Finding::ok("filters", "no other filter drops what is forwarded by default"));
    }
    findings
}

/// Whether the runtime finds the network configuration at `conflist` before any other.
pub fn configuration(conflist: &Path) -> Finding {
    let subject = "runtime";
    let directory = conflist.parent().unwrap_or(Path::new("/"));
    match first(directory) {
        Ok(Some(first)) if first == conflist => {
            Finding::ok(subject, format!("takes {}", conflist.display()))
        }
        Ok(Some(other)) if conflist.exists() => Finding::problem(
            subject,
            format!("takes {} instead of {}", other.display(), conflist.display()),
        )
        .advise("remove it if its network plugin is gone; the first by name wins"),
        Ok(_) => Finding::problem(subject, format!("{} is not there", conflist.display()))
            .advise("the agent writes it once the node can carry pods; see its readiness"),
        Err(error) => {
            Finding::warning(subject, format!("cannot read {}: {error}", directory.display()))
        }
    }
}

/// The first file by name that a runtime takes for a network configuration.
fn first(directory: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        files.push(entry?.path());
    }
    files.retain(|file| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("conf" | "conflist" | "json"))
    });
    Ok(files.into_iter().min())
}

/// Whether the plugin is there. Nothing is said where the directory cannot be seen, as from within the
/// agent's container.
pub fn plugin(directory: &Path) -> Option<Finding> {
    let subject = "plugin";
    if !directory.is_dir() {
        return None;
    }
    let plugin = directory.join(PLUGIN);
    let name = plugin.display();
    let advice = format!("agent install --cni-bin-dir {}", directory.display());
    Some(match fs::read(&plugin) {
        Err(error) => {
            Finding::problem(subject, format!("cannot read {name}: {error}")).advise(advice)
        }
        Ok(content) => match plugin_version(&content) {
            None => Finding::problem(subject, format!("{name} is another program")).advise(advice),
            Some(_) if !is_executable(&plugin) => {
                Finding::problem(subject, format!("{name} is not executable")).advise(advice)
            }
            Some(version) => Finding::ok(subject, format!("{name} is version {version}")),
        },
    })
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn the_runtime_takes_the_first_configuration_by_name_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let conflist = directory.path().join("10-warren.conflist");
        let put = |name: &str| fs::write(directory.path().join(name), "{}").unwrap();
        put("00-notes.txt");
        put("20-later.conf");
        let missing = configuration(&conflist);
        assert_eq!(missing.verdict, Verdict::Problem);
        assert!(missing.finding.ends_with("is not there"), "{missing:?}");
        put("10-warren.conflist");
        assert_eq!(configuration(&conflist).verdict, Verdict::Ok);
        put("05-calico.conflist");
        let other = configuration(&conflist);
        assert_eq!(other.verdict, Verdict::Problem);
        assert!(other.finding.contains("05-calico.conflist instead of"), "{other:?}");
    }

    #[test]
    fn a_plugin_must_be_warrens_and_executable() {
        let directory = tempfile::tempdir().unwrap();
        let found = || plugin(directory.path()).unwrap();
        assert!(found().finding.contains("cannot read"), "{:?}", found());
        let file = directory.path().join(PLUGIN);
        fs::write(&file, "something else").unwrap();
        assert!(found().finding.contains("is another program"), "{:?}", found());
        fs::write(&file, "warren 1.2.3 is a CNI plugin").unwrap();
        assert!(found().finding.contains("is not executable"), "{:?}", found());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(found().finding.ends_with("is version 1.2.3"), "{:?}", found());
        assert_eq!(plugin(&directory.path().join("nowhere")), None);
    }
}

//! `agent install`: what a node needs before the agent runs. It may be run at any time, and again
//! after it was killed at any moment.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use warren_net::ipip;

use crate::durable;

/// The plugin's file name, which is its type in a network configuration.
pub const PLUGIN: &str = "warren";

/// The plugin says this of itself to a person who runs it: `warren 0.1.0 is a CNI plugin`. The text
/// is in the executable, so its version can be told without running what somebody put there.
const BEFORE_VERSION: &[u8] = b"warren ";
const AFTER_VERSION: &[u8] = b" is a CNI plugin";

/// The kernel parameter without which a node carries nothing between its devices.
const FORWARDING: &str = "net/ipv4/ip_forward";

/// What to install, and where.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The directory where the container runtime looks for plugins.
    #[arg(long, value_name = "DIR")]
    cni_bin_dir: PathBuf,
    /// The plugin to put there; default `warren` beside this program.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Have the kernel load its ipip module, so that tunl0 is there.
    #[arg(long)]
    tunnel: bool,
    /// Let the node forward, by this view of its /proc/sys: a container's own is read-only.
    #[arg(long, value_name = "DIR")]
    proc_sys: Option<PathBuf>,
}

/// Does what `options` ask for; what was done, a line each.
///
/// # Errors
/// The plugin is none or cannot be put in place, or forwarding cannot be set. A kernel without ipip
/// is no error here: the agent says so for as long as a pool needs it.
pub fn install(options: &Options) -> anyhow::Result<String> {
    let source = match &options.plugin {
        Some(plugin) => plugin.clone(),
        None => beside_this_program()?,
    };
    let mut lines = vec![plugin(&source, &options.cni_bin_dir.join(PLUGIN))?];
    if options.tunnel {
        lines.push(match ipip::make_tunnel() {
            Ok(true) => "tunl0: made".to_owned(),
            Ok(false) => "tunl0: there already".to_owned(),
            Err(error) => format!("tunl0: not there: {error}; load the ipip kernel module"),
        });
    }
    if let Some(proc_sys) = &options.proc_sys {
        lines.push(forward(&proc_sys.join(FORWARDING))?);
    }
    Ok(lines.join("\n"))
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find out where this program lies")?;
    Ok(own.with_file_name(PLUGIN))
}

fn plugin(source: &Path, target: &Path) -> anyhow::Result<String> {
    let content = std::fs::read(source)
        .with_context(|| format!("cannot read the plugin {}", source.display()))?;
    let Some(version) = version(&content) else {
        bail!("{} is not Warren's plugin; --plugin names another file", source.display());
    };
    let name = target.display();
    match installed(target).with_context(|| format!("cannot read {name}"))? {
        Some((there, executable)) if executable && there == content => {
            return Ok(format!("{name}: is version {version} already"));
        }
        Some((there, _)) => match self::version(&there) {
            Some(newer) if newer > version => {
                return Ok(format!(
                    "{name}: left alone, its version {newer} is newer than {version}"
                ));
            }
            _ => {}
        },
        None => {}
    }
    durable::replace(target, &content, 0o755)?;
    Ok(format!("{name}: version {version} installed"))
}

/// What is at `target`, and whether all may execute it.
fn installed(target: &Path) -> io::Result<Option<(Vec<u8>, bool)>> {
    match std::fs::read(target) {
        Ok(content) => {
            let mode = std::fs::metadata(target)?.permissions().mode();
            Ok(Some((content, mode & 0o111 == 0o111)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A version in the order of age. What follows a hyphen is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u64; 3]);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl Version {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let numbers = text.split_once('-').map_or(text, |(numbers, _)| numbers);
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version = Self([parts.next()??, parts.next()??, parts.next()??]);
        parts.next().is_none().then_some(version)
    }
}

/// Which version of the plugin this executable is, in words; none if it is another program.
pub fn plugin_version(executable: &[u8]) -> Option<String> {
    version(executable).map(|version| version.to_string())
}

/// Which version of the plugin this executable is; none if it is another program.
fn version(executable: &[u8]) -> Option<Version> {
    let mut rest = executable;
    while let Some(at) = find(rest, AFTER_VERSION) {
        let (before, after) = rest.split_at(at);
        let word = before.iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
        let (lead, word) = before.split_at(word);
        if lead.ends_with(BEFORE_VERSION)
            && let Some(version) = Version::parse(word)
        {
            return Some(version);
        }
        rest = after.get(AFTER_VERSION.len()..)?;
    }
    None
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn forward(parameter: &Path) -> anyhow::Result<String> {
    let name = parameter.display();
    let value =
        std::fs::read_to_string(parameter).with_context(|| format!("cannot read {name}"))?;
    if value.trim_end() == "1" {
        return Ok(format!("{name}: is 1 already"));
    }
    std::fs::write(parameter, "1").with_context(|| format!("cannot set {name} to 1"))?;
    Ok(format!("{name}: set to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(version: &str, build: &str) -> Vec<u8> {
        format!("\x7fELF {build}\0warren {version} is a CNI plugin: a container\0").into_bytes()
    }

    struct Node {
        directory: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn options(&self, source: &[u8]) -> Options {
            let plugin = self.directory.path().join("image-warren");
            std::fs::write(&plugin, source).unwrap();
            Options {
                cni_bin_dir: self.directory.path().join("bin"),
                plugin: Some(plugin),
                tunnel: false,
                proc_sys: None,
            }
        }

        fn install(&self, source: &[u8]) -> String {
            install(&self.options(source)).unwrap()
        }

        fn target(&self) -> PathBuf {
            self.directory.path().join("bin/warren")
        }
    }

    #[test]
    fn the_plugin_is_put_in_place_executable_and_the_second_time_left_as_it_is() {
        let node = Node::new();
        assert!(node.install(&executable("0.1.0", "a")).ends_with("version 0.1.0 installed"));
        let mode = std::fs::metadata(node.target()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        let before = std::fs::metadata(node.target()).unwrap().modified().unwrap();
        assert!(node.install(&executable("0.1.0", "a")).ends_with("already"));
        assert_eq!(std::fs::metadata(node.target()).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn an_older_plugin_and_another_build_of_the_same_version_are_replaced() {
        let node = Node::new();
        node.install(&executable("0.9.0", "a"));
        assert!(node.install(&executable("0.10.0", "a")).ends_with("version 0.10.0 installed"));
        assert!(node.install(&executable("0.10.0", "b")).ends_with("version 0.10.0 installed"));
        assert_eq!(std::fs::read(node.target()).unwrap(), executable("0.10.0", "b"));
    }

    #[test]
    fn a_newer_plugin_is_left_alone() {
        let node = Node::new();
        node.install(&executable("0.10.0", "a"));
        let said = node.install(&executable("0.9.0", "a"));
        assert!(said.contains("0.10.0 is newer than 0.9.0"), "{said}");
        assert_eq!(std::fs::read(node.target()).unwrap(), executable("0.10.0", "a"));
    }

    #[test]
    fn a_plugin_that_is_torn_or_not_executable_is_replaced() {
        let node = Node::new();
        node.install(&executable("0.1.0", "a"));
        std::fs::write(node.target(), b"\x7fELF").unwrap();
        assert!(node.install(&executable("0.1.0", "a")).ends_with("installed"));
        std::fs::set_permissions(node.target(), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(node.install(&executable("0.1.0", "a")).ends_with("installed"));
        assert_eq!(std::fs::read(node.target()).unwrap(), executable("0.1.0", "a"));
    }

    #[test]
    fn what_is_not_the_plugin_is_not_installed() {
        let node = Node::new();
        let error = install(&node.options(b"\x7fELF another program")).unwrap_err().to_string();
        assert!(error.contains("is not Warren's plugin"), "{error}");
        assert!(!node.target().exists());
    }

    #[test]
    fn the_version_is_read_from_what_the_plugin_says_of_itself() {
        for (text, expected) in [
            ("warren 1.2.3 is a CNI plugin", Some(Version([1, 2, 3]))),
            ("warren 1.2.3-rc.1 is a CNI plugin", Some(Version([1, 2, 3]))),
            ("that is a CNI plugin\0warren 0.1.0 is a CNI plugin", Some(Version([0, 1, 0]))),
            ("warren 1.2 is a CNI plugin", None),
            ("bridge 1.2.3 is a CNI plugin", None),
            (" is a CNI plugin", None),
            ("", None),
        ] {
            assert_eq!(version(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn forwarding_is_set_only_where_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let parameter = directory.path().join("ip_forward");
        std::fs::write(&parameter, "0\n").unwrap();
        assert!(forward(&parameter).unwrap().ends_with("set to 1"));
        assert!(forward(&parameter).unwrap().ends_with("is 1 already"));
    }
}

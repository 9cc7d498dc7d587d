//! The network configuration by which the container runtime finds the plugin.
//!
//! A node without one is NotReady for kubelet and gets no pods. So it is written when the node can
//! carry pods, and not before; once it is there it stays, for pods that run must be able to stop.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;
use warren_types::run_dir::{self, RunDir};

use crate::commands::install::PLUGIN;
use crate::config::CniConfig;
use crate::durable;

/// The file's name. Runtimes take the first of their directory.
pub const NAME: &str = "10-warren.conflist";

/// What is written where nothing else is configured.
const DEFAULT: &str = include_str!("../../deploy/10-warren.conflist");

/// The file that the agent keeps there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflist {
    path: PathBuf,
    content: Vec<u8>,
}

impl Conflist {
    /// What `config` asks for, for the node whose run directory this is.
    ///
    /// # Errors
    /// The configured content cannot be read, or is no configuration list that uses the plugin.
    pub fn new(config: &CniConfig, run_dir: &RunDir) -> anyhow::Result<Self> {
        let (name, text) = match &config.conflist {
            None => ("the default conflist".to_owned(), DEFAULT.to_owned()),
            Some(file) => {
                let name = format!("cni: conflist {}", file.display());
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
                (name, text)
            }
        };
        let mut list: Value =
            serde_json::from_str(&text).with_context(|| format!("{name} is no JSON"))?;
        if own_plugins(&mut list).next().is_none() {
            bail!("{name} has no plugin of type {PLUGIN}");
        }
        let path = config.conf_dir.join(NAME);
        if run_dir.path() == Path::new(run_dir::DEFAULT) {
            return Ok(Self { path, content: text.into_bytes() });
        }
        // Two nodes on one machine: the plugin must ask the right one.
        let directory = run_dir.path().display().to_string();
        for plugin in own_plugins(&mut list) {
            plugin.entry("runDir").or_insert_with(|| directory.clone().into());
        }
        let mut content = serde_json::to_vec_pretty(&list)?;
        content.push(b'\n');
        Ok(Self { path, content })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place, unless it is there as it should be; tells whether it was not.
    ///
    /// # Errors
    /// Any I/O error, with the path in its text.
    pub fn keep(&self) -> anyhow::Result<bool> {
        if std::fs::read(&self.path).is_ok_and(|there| there == self.content) {
            return Ok(false);
        }
        durable::replace(&self.path, &self.content, 0o644)?;
        Ok(true)
    }
}

/// Whether a network configuration of this content uses the plugin.
pub fn is_ours(content: &[u8]) -> bool {
    serde_json::from_slice(content).is_ok_and(|mut list| own_plugins(&mut list).next().is_some())
}

fn own_plugins(list: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    list.get_mut("plugins")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .filter(|plugin| plugin.get("type").is_some_and(|kind| kind == PLUGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path) -> CniConfig {
        CniConfig { conf_dir: directory.join("net.d"), conflist: None }
    }

    #[test]
    fn it_is_written_once_and_again_when_somebody_changed_or_deleted_it() {
        let directory = tempfile::tempdir().unwrap();
        let conflist = Conflist::new(&config(directory.path()), &RunDir::default()).unwrap();
        assert!(conflist.keep().unwrap());
        assert_eq!(std::fs::read_to_string(conflist.path()).unwrap(), DEFAULT);
        assert!(!conflist.keep().unwrap());
        std::fs::write(conflist.path(), "{").unwrap();
        assert!(conflist.keep().unwrap());
        std::fs::remove_file(conflist.path()).unwrap();
        assert!(conflist.keep().unwrap());
        assert!(is_ours(&std::fs::read(conflist.path()).unwrap()));
    }

    #[test]
    fn the_plugin_is_told_of_a_run_directory_that_is_not_the_usual_one() {
        let directory = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new("/run/warren-node2");
        let conflist = Conflist::new(&config(directory.path()), &run_dir).unwrap();
        let list: Value = serde_json::from_slice(&conflist.content).unwrap();
        assert_eq!(list["plugins"][0]["runDir"], "/run/warren-node2");
        assert_eq!(list["plugins"][1]["type"], "portmap");
        assert_eq!(list["plugins"][1].get("runDir"), None);
    }

    #[test]
    fn a_content_without_the_plugin_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mine.conflist");
        let config = CniConfig { conflist: Some(file.clone()), ..config(directory.path()) };
        for (content, expected) in [
            (r#"{"name": "a", "plugins": [{"type": "ptp"}]}"#, "has no plugin of type warren"),
            ("{", "is no JSON"),
        ] {
            std::fs::write(&file, content).unwrap();
            let error = Conflist::new(&config, &RunDir::default()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(expected) && error.contains("mine.conflist"), "{error}");
        }
    }

    #[test]
    fn the_configuration_of_another_network_is_not_ours() {
        assert!(!is_ours(br#"{"name": "k8s", "plugins": [{"type": "calico"}]}"#));
        assert!(!is_ours(b"no JSON"));
    }
}

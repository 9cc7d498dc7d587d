//! CNI plugins called as a runtime calls them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::pods::Sandbox;
use crate::statistics::Sample;

/// Where Debian's containernetworking-plugins are.
const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// A plugin and the configuration that it is called with.
pub struct Contestant {
    name: &'static str,
    reference: bool,
    program: PathBuf,
    netconf: String,
}

/// What one plugin took.
pub struct Outcome {
    /// The plugin.
    pub name: &'static str,
    /// Whether the others are compared with it.
    pub reference: bool,
    /// The times of its ADDs.
    pub add: Sample,
    /// The times of its DELs.
    pub del: Sample,
}

/// Who is measured: our plugin first, then those that a node would have without it.
///
/// # Errors
/// An executable is missing.
pub fn contestants(target: &Path, state: &Path) -> Result<Vec<Contestant>> {
    let host_local = json!({
        "type": "host-local",
        "dataDir": state.join("host-local"),
        "ranges": [[{"subnet": "172.17.52.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let reference = |plugin: &str| Path::new(REFERENCE_PLUGINS).join(plugin);
    let all = vec![
        Contestant {
            name: "warren",
            reference: false,
            program: target.join("warren"),
            netconf: json!({
                "cniVersion": "1.0.0", "name": "warren", "type": "warren",
                "runDir": state.join("run"), "logLevel": "error",
            })
            .to_string(),
        },
        Contestant {
            name: "ptp + host-local",
            reference: true,
            program: reference("ptp"),
            netconf: json!({
                "cniVersion": "1.0.0", "name": "ptp", "type": "ptp", "mtu": 1480, "ipam": host_local,
            })
            .to_string(),
        },
        Contestant {
            name: "bridge + host-local",
            reference: false,
            program: reference("bridge"),
            netconf: json!({
                "cniVersion": "1.0.0", "name": "bridge", "type": "bridge", "bridge": "cni0",
                "isGateway": true, "mtu": 1480, "ipam": host_local,
            })
            .to_string(),
        },
    ];
    for contestant in &all {
        let program = contestant.program.display();
        ensure!(contestant.program.is_file(), "there is no executable {program}; run: make bench");
    }
    Ok(all)
}

impl Contestant {
    /// Connects a pod; how long the process took.
    ///
    /// # Errors
    /// The plugin's own, whole.
    pub fn add(&self, container: &str, sandbox: &Sandbox) -> Result<Duration> {
        self.call("ADD", container, sandbox)
    }

    fn call(&self, verb: &str, container: &str, sandbox: &Sandbox) -> Result<Duration> {
        let start = Instant::now();
        let mut child = Command::new(&self.program)
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", sandbox.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", REFERENCE_PLUGINS)
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        child.stdin.take().context("no standard input")?.write_all(self.netconf.as_bytes())?;
        let output = child.wait_with_output()?;
        let took = start.elapsed();
        ensure!(
            output.status.success(),
            "{} {verb} failed: {}{}",
            self.name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    }
}

/// Adds and deletes one pod with every plugin in turn, `rounds` times.
///
/// # Errors
/// A plugin failed.
pub fn measure(contestants: &[Contestant], rounds: usize) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = contestants
        .iter()
        .map(|contestant| Outcome {
            name: contestant.name,
            reference: contestant.reference,
            add: Sample::default(),
            del: Sample::default(),
        })
        .collect();
    for round in 0..rounds {
        for (contestant, outcome) in contestants.iter().zip(&mut outcomes) {
            let sandbox = Sandbox::new()?;
            let container = format!("round{round}");
            outcome.add.push(contestant.add(&container, &sandbox)?);
            outcome.del.push(contestant.call("DEL", &container, &sandbox)?);
        }
    }
    Ok(outcomes)
}

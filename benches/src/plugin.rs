//! CNI plugins called as a runtime calls them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::nodes::{Namespace, Node};

/// Where Debian's containernetworking-plugins are.
const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// Whom the others are compared with.
pub const REFERENCE: &str = "ptp + host-local";

/// A plugin, the configuration that it is called with, and a node of its own.
pub struct Contestant {
    /// What the tables call it.
    pub name: &'static str,
    /// The executables that an ADD needs.
    pub programs: Vec<PathBuf>,
    /// The node that it works on.
    pub node: Node,
    netconf: String,
}

/// One call of a plugin.
pub struct Call<'c> {
    /// Its number, from which container and address follow.
    pub number: usize,
    /// `ADD` or `DEL`.
    pub verb: &'c str,
    /// The pod's namespace.
    pub pod: &'c Namespace,
}

/// Who is measured: our plugin, those that a node would have without it, and what none of them can
/// do without. `target` is the directory of our executables.
///
/// # Errors
/// An executable is missing.
pub fn contestants(target: &Path) -> Result<Vec<Contestant>> {
    let reference = |plugin: &str| Path::new(REFERENCE_PLUGINS).join(plugin);
    let with_host_local = |node: &Node, mut conf: Value| {
        conf["ipam"] = json!({
            "type": "host-local",
            "dataDir": node.directory().join("host-local"),
            "ranges": [[{"subnet": "172.17.52.0/23"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        });
        conf
    };
    let contestant = |name, programs, conf: &dyn Fn(&Node) -> Value| -> Result<Contestant> {
        let node = Node::new()?;
        let mut netconf = json!({"cniVersion": "1.0.0", "name": "bench", "mtu": 1480});
        if let (Value::Object(all), Value::Object(own)) = (&mut netconf, conf(&node)) {
            all.extend(own);
        }
        Ok(Contestant { name, programs, node, netconf: netconf.to_string() })
    };
    let all = vec![
        contestant(
            "warren",
            vec![target.join("warren")],
            &|node| json!({"type": "warren", "runDir": node.directory().join("run"), "logLevel": "error"}),
        )?,
        contestant(REFERENCE, vec![reference("ptp"), reference("host-local")], &|node| {
            with_host_local(node, json!({"type": "ptp"}))
        })?,
        contestant(
            "bridge + host-local",
            vec![reference("bridge"), reference("host-local")],
            &|node| {
                let conf = json!({"type": "bridge", "bridge": "cni0", "isGateway": true});
                with_host_local(node, conf)
            },
        )?,
        contestant("floor", vec![target.join("floor")], &|_| json!({"type": "floor"}))?,
    ];
    for program in all.iter().flat_map(|contestant| &contestant.programs) {
        let name = program.display();
        ensure!(program.is_file(), "there is no executable {name}; run: make bench");
    }
    Ok(all)
}

impl Contestant {
    /// Calls the plugin; how long the process took.
    ///
    /// # Errors
    /// The plugin's own, whole.
    pub fn call(&self, call: &Call<'_>) -> Result<Duration> {
        self.node.within(|| self.run(Command::new(&self.programs[0]), call))
    }

    /// Calls the plugin under strace, which writes what it sees to `trace`.
    ///
    /// # Errors
    /// The plugin's own, or that strace cannot trace.
    pub fn traced(&self, call: &Call<'_>, trace: &Path) -> Result<()> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(trace).arg(&self.programs[0]);
        self.node.within(|| self.run(strace, call)).map(drop)
    }

    fn run(&self, mut command: Command, call: &Call<'_>) -> Result<Duration> {
        let Call { number, verb, pod } = call;
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("c{number}"))
            .env("CNI_NETNS", pod.path())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", REFERENCE_PLUGINS)
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=c{number}"),
            )
            .env("FLOOR_ADDRESS", format!("172.18.{}.{}", number / 256, number % 256))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        // The floor does not read it, and may have ended by now.
        let _ = child.stdin.take().context("no standard input")?.write_all(self.netconf.as_bytes());
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

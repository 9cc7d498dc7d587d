//! Who takes the routes into the kernel: the agent, BIRD and FRR, each configured for no more than
//! that.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::feeder::AS_NUMBER;
use super::{CONTESTANT, FEEDER};

/// A program that speaks BGP, and its helpers.
pub struct Contestant {
    /// What it is called.
    pub name: &'static str,
    /// Starts it in the calling thread's network namespace, with files of its own in a directory.
    start: fn(&Path, &Path) -> Result<Vec<Command>>,
}

/// All of them; the agent is among those in `target`.
pub const CONTESTANTS: [Contestant; 3] = [
    Contestant { name: "agent", start: agent },
    Contestant { name: "BIRD", start: bird },
    Contestant { name: "FRR", start: frr },
];

/// The processes of a contestant. They end with this value.
pub struct Running(Vec<Child>);

impl Contestant {
    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or its files cannot be written.
    pub fn start(&self, target: &Path, directory: &Path) -> Result<Running> {
        let mut running = Running(Vec::new());
        for mut command in (self.start)(target, directory)? {
            let log = File::create(directory.join(format!("log{}", running.0.len())))?;
            let child = command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| format!("cannot start {command:?}"))?;
            running.0.push(child);
        }
        Ok(running)
    }
}

impl Running {
    /// The processes' numbers.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(Child::id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself; then there is nothing to do.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn agent(target: &Path, directory: &Path) -> Result<Vec<Command>> {
    let file = directory.join("agent.yaml");
    let text = format!(
        "node: {{name: node1, address: {CONTESTANT}}}\n\
         runDir: {}\n\
         asNumber: {AS_NUMBER}\n\
         pools: [{{cidr: 10.0.0.0/8, encapsulation: None}}]\n\
         peers: [{{address: {FEEDER}}}]\n",
        directory.join("run").display()
    );
    fs::write(&file, text)?;
    let mut command = Command::new(target.join("agent"));
    command.arg("run").arg("--config").arg(file);
    Ok(vec![command])
}

/// As Calico's, without what it has besides: next hops are looked up among the node's own networks
/// only (`gateway direct`), which is what costs it least.
fn bird(_: &Path, directory: &Path) -> Result<Vec<Command>> {
    let file = directory.join("bird.conf");
    let text = format!(
        "log stderr {{ warning, error, fatal, bug }};\n\
         router id {CONTESTANT};\n\
         protocol device {{ }}\n\
         protocol kernel {{ ipv4 {{ import none; export all; }}; }}\n\
         protocol bgp feeder {{\n\
         local {CONTESTANT} as {AS_NUMBER}; neighbor {FEEDER} as {AS_NUMBER}; direct;\n\
         connect delay time 1;\n\
         ipv4 {{ import all; export none; gateway direct; }};\n\
         }}\n"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(file).arg("-s").arg(directory.join("bird.ctl"));
    Ok(vec![command])
}

/// Its daemons give up root for a user of their own, who needs the directory too.
fn frr(_: &Path, directory: &Path) -> Result<Vec<Command>> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))?;
    let daemon = |name: &str, configuration: String| -> Result<Command> {
        let file = directory.join(format!("{name}.conf"));
        fs::write(&file, configuration)?;
        let mut command = Command::new(PathBuf::from("/usr/lib/frr").join(name));
        command.args(["-A", "127.0.0.1", "--log", "stdout"]);
        command.arg("-f").arg(file).arg("-i").arg(directory.join(format!("{name}.pid")));
        command.arg("-z").arg(directory.join("zserv.api")).arg("--vty_socket").arg(directory);
        Ok(command)
    };
    let zebra = daemon("zebra", "log stdout errors\n".into())?;
    let bgpd = daemon(
        "bgpd",
        format!(
            "log stdout errors\n\
             router bgp {AS_NUMBER}\n\
             bgp router-id {CONTESTANT}\n\
             neighbor {FEEDER} remote-as {AS_NUMBER}\n\
             neighbor {FEEDER} timers connect 1\n"
        ),
    )?;
    Ok(vec![zebra, bgpd])
}

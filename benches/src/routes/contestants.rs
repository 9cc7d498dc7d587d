//! Who takes the routes into the kernel: the agent, BIRD and FRR, each configured for no more than
//! that, and so without BFD.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::CONTESTANT;
use super::feeder::AS_NUMBER;

/// A program that speaks BGP, and its helpers.
pub struct Contestant {
    /// What it is called.
    pub name: &'static str,
    /// Starts it in the calling thread's network namespace, with files of its own in a directory and
    /// with these peers.
    start: fn(&Path, &Path, &[Ipv4Addr]) -> Result<Vec<Command>>,
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
    pub fn start(&self, target: &Path, directory: &Path, peers: &[Ipv4Addr]) -> Result<Running> {
        let mut running = Running(Vec::new());
        for mut command in (self.start)(target, directory, peers)? {
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

fn agent(target: &Path, directory: &Path, peers: &[Ipv4Addr]) -> Result<Vec<Command>> {
    let file = directory.join("agent.yaml");
    let mut text = format!(
        "node: {{name: node1, address: {CONTESTANT}}}\n\
         runDir: {}\n\
         asNumber: {AS_NUMBER}\n\
         pools: [{{cidr: 10.0.0.0/8, encapsulation: None}}]\n\
         blocks: [10.255.0.0/26]\n\
         bfd: {{enabled: false}}\n\
         peers:\n",
        directory.join("run").display()
    );
    for peer in peers {
        writeln!(text, "- {{address: {peer}}}")?;
    }
    fs::write(&file, text)?;
    let mut command = Command::new(target.join("agent"));
    command.arg("run").arg("--config").arg(file);
    Ok(vec![command])
}

/// As Calico's, without what it has besides: next hops are looked up among the node's own networks
/// only (`gateway direct`), which is what costs it least.
fn bird(_: &Path, directory: &Path, peers: &[Ipv4Addr]) -> Result<Vec<Command>> {
    let file = directory.join("bird.conf");
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\n\
         router id {CONTESTANT};\n\
         protocol device {{ }}\n\
         protocol kernel {{ ipv4 {{ import none; export all; }}; }}\n\
         template bgp mesh {{\n\
         local {CONTESTANT} as {AS_NUMBER}; direct;\n\
         connect delay time 1;\n\
         ipv4 {{ import all; export none; gateway direct; }};\n\
         }}\n"
    );
    for peer in peers {
        writeln!(text, "protocol bgp from mesh {{ neighbor {peer} as {AS_NUMBER}; }}")?;
    }
    fs::write(&file, text)?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(file).arg("-s").arg(directory.join("bird.ctl"));
    Ok(vec![command])
}

fn frr(_: &Path, directory: &Path, peers: &[Ipv4Addr]) -> Result<Vec<Command>> {
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
    let mut text =
        format!("log stdout errors\nrouter bgp {AS_NUMBER}\nbgp router-id {CONTESTANT}\n");
    for peer in peers {
        writeln!(text, "neighbor {peer} remote-as {AS_NUMBER}\nneighbor {peer} timers connect 1")?;
    }
    let bgpd = daemon("bgpd", text)?;
    // The user that they change to: they refuse to stay root.
    let mut own = Command::new("chown");
    let status = own.args(["-R", "frr:frr"]).arg(directory).status();
    ensure!(status.context("cannot run chown")?.success(), "cannot give files to FRR's user");
    Ok(vec![zebra, bgpd])
}

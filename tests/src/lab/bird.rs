//! A node run by BIRD, configured as Calico configures its own BIRD for IPIP: the oracle that the lab
//! itself is right, and the speaker that our agent has to get on with.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::AS_NUMBER;
use super::command::{Process, run, within};
use super::node::Node;
use super::wait::{SOON, eventually};

impl Node {
    /// Starts BIRD, with all other nodes as peers and this node's block to announce, on a node with
    /// tunl0 and forwarding as Calico's other half would have set them up.
    ///
    /// # Errors
    /// When BIRD does not start, with what it said.
    pub fn start_bird(&self) -> Result<()> {
        self.start_bird_that_claims(&[])
    }

    /// Starts BIRD after it was killed: it takes over what the kernel has, as Calico's does.
    ///
    /// # Errors
    /// As [`start_bird`](Self::start_bird).
    pub fn start_bird_again(&self) -> Result<()> {
        self.run_bird(&["-R"])
    }

    /// The same with a BIRD that announces these prefixes too, which are not its own.
    ///
    /// # Errors
    /// As [`start_bird`](Self::start_bird).
    pub fn start_bird_that_claims(&self, claims: &[&str]) -> Result<()> {
        self.sysctl("net.ipv4.ip_forward", "1")?;
        self.ip("link set tunl0 up mtu 1480")?;
        self.ip(&format!("address replace {}/32 dev tunl0", self.block().network()))?;
        let file = self.directory().join("bird.conf");
        fs::write(&file, self.bird_configuration(claims))
            .with_context(|| format!("cannot write {}", file.display()))?;
        self.run_bird(&[])
    }

    fn run_bird(&self, options: &[&str]) -> Result<()> {
        let file = self.directory().join("bird.conf");
        let mut command = within(self.namespace(), "bird");
        command.args(options).arg("-f").arg("-c").arg(&file).arg("-s").arg(self.bird_socket());
        let mut process = Process::start(&mut command, &self.directory().join("bird.log"))?;
        eventually("bird answers", SOON, || {
            process.check()?;
            self.birdc(&["show", "status"])?.contains("Daemon is up").then_some(()).context("no")
        })?;
        self.state(|state| state.speaker = Some(process));
        Ok(())
    }

    /// Asks the node's BIRD.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn birdc(&self, question: &[&str]) -> Result<String> {
        let mut command = within(self.namespace(), "birdc");
        command.arg("-s").arg(self.bird_socket()).args(question);
        run(&mut command, "")?.ok()
    }

    /// That BIRD's session with this peer is Established.
    ///
    /// # Errors
    /// When it is not; with what BIRD says.
    pub fn expect_bird_established(&self, peer: &Self) -> Result<()> {
        let said = self.birdc(&["show", "protocols", peer.name()])?;
        ensure!(said.contains("Established"), "{said}");
        Ok(())
    }

    fn bird_socket(&self) -> PathBuf {
        self.directory().join("bird.ctl")
    }

    fn bird_configuration(&self, claims: &[&str]) -> String {
        let claims: String = claims.iter().map(|it| format!("route {it} unreachable; ")).collect();
        // The order in `via_tunnel` matters: setting gw or ifname resets what was set before.
        let mut text = format!(
            r#"router id {address};
log stderr all;
protocol device {{ scan time 2; }}
protocol static own_block {{ ipv4; route {block} blackhole; }}
protocol static claims {{ ipv4; {claims} }}
filter via_tunnel {{
    if net !~ [ {pool}+ ] then reject;
    onlink = true;
    ifname = "tunl0";
    gw = bgp_next_hop;
    accept;
}}
protocol kernel {{
    scan time 2;
    metric 0;
    persist;
    graceful restart;
    ipv4 {{ import none; export where proto != "claims"; }};
}}
template bgp mesh {{
    local {address} as {AS_NUMBER};
    direct;
    connect delay time 2;
    graceful restart;
    ipv4 {{
        gateway direct;
        next hop self;
        import filter via_tunnel;
        export where source = RTS_STATIC;
    }};
}}
"#,
            address = self.address(),
            block = self.block(),
            pool = super::POOL,
        );
        for peer in self.others() {
            let _ = writeln!(
                text,
                "protocol bgp {} from mesh {{ neighbor {} as {AS_NUMBER}; }}",
                peer.name(),
                peer.address()
            );
        }
        text
    }
}

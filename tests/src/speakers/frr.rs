//! FRR: its bgpd, with the zebra that tells it which next hops are there, and the bfdd that tells it
//! which neighbours are.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{Session, Speaker, expect_words, is_ipv6, json};
use crate::lab::command::{Process, run, within};
use crate::lab::wait::{SOON, eventually};
use crate::wire::{THEM, Wire};

/// The daemons that run.
pub struct Frr {
    bgpd: Process,
    _zebra: Process,
    _bfdd: Option<Process>,
    namespace: String,
    directory: PathBuf,
    their_as: u32,
    us: &'static str,
}

impl Frr {
    /// Starts them.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start(wire: &Wire, session: &Session) -> Result<Self> {
        let (namespace, directory) = (wire.them(), wire.directory().to_owned());
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))
        };
        write("zebra.conf", "")?;
        write("bfdd.conf", "")?;
        write("bgpd.conf", &configuration(session))?;
        // The user that the daemons change to.
        run(std::process::Command::new("chown").args(["-R", "frr:frr"]).arg(&directory), "")?
            .ok()?;
        let zebra = daemon(&namespace, &directory, "zebra", &[])?;
        let socket = directory.join("zserv.api");
        eventually("zebra listens", SOON, || {
            ensure!(socket.exists(), "there is no {}: {}", socket.display(), zebra.output());
            Ok(())
        })?;
        let control = directory.join("bfdd.sock").display().to_string();
        let start_bfdd = || daemon(&namespace, &directory, "bfdd", &["--bfdctl", &control]);
        let bfdd = session.bfd.then(start_bfdd).transpose()?;
        let bgpd = daemon(&namespace, &directory, "bgpd", &[])?;
        let mut frr = Self {
            bgpd,
            _zebra: zebra,
            _bfdd: bfdd,
            namespace,
            directory,
            their_as: session.their_as,
            us: session.us(),
        };
        frr.answers()?;
        Ok(frr)
    }

    fn answers(&mut self) -> Result<()> {
        eventually("bgpd answers", SOON, || {
            self.bgpd.check()?;
            self.ask(&["show bgp summary"]).map(drop)
        })
    }

    fn ask(&self, commands: &[&str]) -> Result<String> {
        let mut command = within(&self.namespace, "vtysh");
        command.arg("--vty_socket").arg(&self.directory).args(["-d", "bgpd"]);
        for it in commands {
            command.args(["-c", it]);
        }
        run(&mut command, "")?.ok()
    }

    fn family(&self) -> &'static str {
        family(self.us)
    }
}

fn family(address: &str) -> &'static str {
    if is_ipv6(address) { "ipv6 unicast" } else { "ipv4 unicast" }
}

fn daemon(namespace: &str, directory: &Path, name: &str, options: &[&str]) -> Result<Process> {
    let mut command = within(namespace, format!("/usr/lib/frr/{name}"));
    command.arg("-f").arg(directory.join(format!("{name}.conf")));
    command.arg("-i").arg(directory.join(format!("{name}.pid")));
    command.arg("-z").arg(directory.join("zserv.api"));
    command.arg("--vty_socket").arg(directory).args(["-P", "0"]).args(options);
    // What it logs goes to its standard output.
    command.args(["--log", "stdout", "--log-level", "debugging"]);
    Process::start(&mut command, &directory.join(format!("{name}.log")))
}

fn configuration(session: &Session) -> String {
    let mut text = format!(
        "debug bgp neighbor-events\nrouter bgp {}\n bgp router-id {THEM}\n \
         no bgp ebgp-requires-policy\n no bgp network import-check\n bgp log-neighbor-changes\n",
        session.their_as
    );
    if let Some(time) = session.restart_time {
        let _ = writeln!(text, " bgp graceful-restart\n bgp graceful-restart preserve-fw-state");
        let _ = writeln!(text, " bgp graceful-restart restart-time {time}");
        let _ = writeln!(text, " bgp graceful-restart select-defer-time 5");
    }
    if let Some(time) = session.long_lived {
        let _ = writeln!(text, " bgp long-lived-graceful-restart stale-time {time}");
    }
    let mut family = format!(" address-family {}\n", family(session.us()));
    for us in &session.neighbors {
        let Session { our_as, hold_time, .. } = session;
        let mut option = |words: String| {
            let _ = writeln!(text, " neighbor {us} {words}");
        };
        option(format!("remote-as {our_as}"));
        option(format!("timers {} {hold_time}", hold_time / 3));
        option("timers connect 2".to_owned());
        option("advertisement-interval 0".to_owned());
        if session.passive {
            option("passive".to_owned());
        }
        if let Some(role) = session.role {
            option(format!("local-role {role} strict-mode"));
        }
        if session.bfd {
            option("bfd".to_owned());
        }
        if session.ttl_security {
            option("ttl-security hops 1".to_owned());
        }
        if let Some(password) = session.password {
            option(format!("password {password}"));
        }
        let mut option = |words: String| {
            let _ = writeln!(family, "  neighbor {us} {words}");
        };
        option("activate".to_owned());
        if session.communities > 0 {
            option("route-map MARKED out".to_owned());
        }
        if session.clients {
            option("route-reflector-client".to_owned());
        }
        if session.add_paths {
            option("addpath-tx-all-paths".to_owned());
        }
        if let Some(limit) = session.max_prefixes {
            option(format!("maximum-prefix {limit}"));
        }
    }
    for prefix in &session.announce {
        let _ = writeln!(family, "  network {prefix}");
    }
    text + &family + " exit-address-family\n" + &marks(session)
}

/// The route map that adds the communities, so many at once as a line has room for.
fn marks(session: &Session) -> String {
    const AT_ONCE: usize = 250;
    let mut text = String::from("exit\n");
    let all: Vec<String> =
        (1..=session.communities).map(|n| format!("{}:{n}", session.their_as)).collect();
    for (n, some) in (1..).zip(all.chunks(AT_ONCE)) {
        let _ = writeln!(text, "route-map MARKED permit {n}");
        let _ = writeln!(text, " set community {} additive\n on-match next\nexit", some.join(" "));
    }
    text + "route-map MARKED permit 9999\nexit\n"
}

impl Speaker for Frr {
    fn expect_established(&mut self) -> Result<()> {
        self.bgpd.check()?;
        let said = self.ask(&[&format!("show bgp neighbors {} json", self.us)])?;
        expect_words(&said, "\"bgpState\":\"Established\"")
    }

    fn routes(&mut self) -> Result<BTreeSet<String>> {
        let said = self.ask(&[&format!("show bgp {} json", self.family())])?;
        let said = json(&said)?;
        let Some(routes) = said["routes"].as_object() else { return Ok(BTreeSet::new()) };
        // Of all that it knows, what our first address announced and what can be used.
        let is_ours = |paths: &serde_json::Value| {
            paths.as_array().into_iter().flatten().any(|path| {
                path["peerId"] == self.us && path["valid"] == serde_json::Value::Bool(true)
            })
        };
        Ok(routes.iter().filter(|(_, paths)| is_ours(paths)).map(|(it, _)| it.clone()).collect())
    }

    fn route(&mut self, prefix: &str) -> Result<String> {
        self.ask(&[&format!("show bgp {} {prefix}", self.family())])
    }

    fn refresh(&mut self) -> Result<()> {
        self.ask(&[&format!("clear bgp {} {} soft in", self.family(), self.us)]).map(drop)
    }

    fn shut_down(&mut self, words: &str) -> Result<()> {
        let router = format!("router bgp {}", self.their_as);
        let shutdown = format!("neighbor {} shutdown message {words}", self.us);
        self.ask(&["configure terminal", &router, &shutdown]).map(drop)
    }

    fn crash(&mut self) -> Result<()> {
        self.bgpd.end(Signal::SIGKILL).map(drop)
    }

    fn start_again(&mut self) -> Result<()> {
        self.bgpd = daemon(&self.namespace, &self.directory, "bgpd", &[])?;
        self.answers()
    }

    fn log(&self) -> String {
        self.bgpd.output()
    }
}

//! GoBGP.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Session, Speaker, expect_words, is_ipv6, json};
use crate::lab::command::{Process, run, within};
use crate::lab::wait::{SOON, eventually};
use crate::wire::{THEM, THEM6, Wire};

/// A gobgpd that runs.
pub struct GoBgp {
    process: Process,
    namespace: String,
    directory: PathBuf,
    session: Session,
}

impl GoBgp {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(wire: &Wire, session: &Session) -> Result<Self> {
        let (namespace, directory) = (wire.them(), wire.directory().to_owned());
        fs::write(directory.join("gobgpd.toml"), configuration(session))
            .context("cannot write gobgpd's configuration")?;
        let process = process(&namespace, &directory, &[])?;
        let mut gobgp = Self { process, namespace, directory, session: session.clone() };
        gobgp.announce()?;
        Ok(gobgp)
    }

    /// Waits until it takes commands, and has it announce what it is to.
    fn announce(&mut self) -> Result<()> {
        eventually("gobgpd answers", SOON, || {
            self.process.check()?;
            self.ask(&["neighbor"]).map(drop)
        })?;
        for prefix in &self.session.announce {
            self.ask(&["global", "rib", "add", prefix, "-a", self.family()])?;
        }
        Ok(())
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        run(within(&self.namespace, "gobgp").args(words), "")?.ok()
    }

    fn family(&self) -> &'static str {
        if self.session.is_ipv6() { "ipv6" } else { "ipv4" }
    }
}

fn process(namespace: &str, directory: &Path, options: &[&str]) -> Result<Process> {
    let mut command = within(namespace, "gobgpd");
    // Its interface for commands is on localhost, which is the namespace's own.
    command.args(["--log-level", "debug", "--log-plain", "--pprof-disable"]).args(options);
    command.arg("-f").arg(directory.join("gobgpd.toml"));
    Process::start(&mut command, &directory.join("gobgpd.log"))
}

fn configuration(session: &Session) -> String {
    let Session { their_as, our_as, hold_time, passive, .. } = session;
    let mut text = format!(
        "[global.config]\nas = {their_as}\nrouter-id = \"{THEM}\"\n\
         local-address-list = [\"{THEM}\", \"{THEM6}\"]\n"
    );
    for us in &session.neighbors {
        let _ = writeln!(
            text,
            "[[neighbors]]
[neighbors.config]
neighbor-address = \"{us}\"
peer-as = {our_as}"
        );
        if let Some(password) = session.password {
            let _ = writeln!(text, "auth-password = \"{password}\"");
        }
        let _ = writeln!(
            text,
            "[neighbors.timers.config]
connect-retry = 2
idle-hold-time-after-reset = 1
hold-time = {hold_time}
keepalive-interval = {keepalive}
[neighbors.transport.config]
passive-mode = {passive}",
            keepalive = hold_time / 3
        );
        if session.ttl_security {
            text.push_str("[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n");
        }
        if session.clients {
            let _ = writeln!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = \"{THEM}\""
            );
        }
        if let Some(time) = session.restart_time {
            let _ = writeln!(
                text,
                "[neighbors.graceful-restart.config]\nenabled = true\nrestart-time = {time}\n\
                 deferral-time = 5"
            );
        }
        if session.long_lived.is_some() {
            text.push_str("long-lived-enabled = true\n");
        }
        let family = if is_ipv6(us) { "ipv6-unicast" } else { "ipv4-unicast" };
        let _ = writeln!(
            text,
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\""
        );
        if session.restart_time.is_some() {
            text.push_str("[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
        }
        if let Some(time) = session.long_lived {
            let _ = writeln!(
                text,
                "[neighbors.afi-safis.long-lived-graceful-restart.config]\nenabled = true\n\
                 restart-time = {time}"
            );
        }
        if session.add_paths {
            text.push_str("[neighbors.afi-safis.add-paths.config]\nsend-max = 8\n");
        }
        if let Some(limit) = session.max_prefixes {
            let _ =
                writeln!(text, "[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = {limit}");
        }
    }
    text
}

impl Speaker for GoBgp {
    fn expect_established(&mut self) -> Result<()> {
        self.process.check()?;
        expect_words(&self.ask(&["neighbor", self.session.us()])?, "BGP state = ESTABLISHED")
    }

    fn routes(&mut self) -> Result<BTreeSet<String>> {
        let said = self.ask(&["global", "rib", "-a", self.family(), "-j"])?;
        // It says so in words where there are none.
        let Ok(said) = json(&said) else { return Ok(BTreeSet::new()) };
        // Of all that it knows, what our first address announced.
        let us = self.session.us();
        let is_ours = |paths: &serde_json::Value| {
            paths.as_array().into_iter().flatten().any(|path| path["neighbor-ip"] == us)
        };
        let routes = said.as_object().into_iter().flatten();
        Ok(routes.filter(|(_, paths)| is_ours(paths)).map(|(it, _)| it.clone()).collect())
    }

    fn route(&mut self, prefix: &str) -> Result<String> {
        self.ask(&["global", "rib", prefix, "-a", self.family(), "-j"])
    }

    fn refresh(&mut self) -> Result<()> {
        self.ask(&["neighbor", self.session.us(), "softresetin"]).map(drop)
    }

    fn shut_down(&mut self, words: &str) -> Result<()> {
        self.ask(&["neighbor", self.session.us(), "shutdown", "--reason", words]).map(drop)
    }

    fn crash(&mut self) -> Result<()> {
        self.process.end(Signal::SIGKILL).map(drop)
    }

    fn start_again(&mut self) -> Result<()> {
        self.process = process(&self.namespace, &self.directory, &["--graceful-restart"])?;
        self.announce()
    }

    fn log(&self) -> String {
        self.process.output()
    }
}

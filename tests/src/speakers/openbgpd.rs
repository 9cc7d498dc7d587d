//! OpenBGPD.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Session, Speaker, expect_words, json};
use crate::lab::command::{Process, run, within};
use crate::lab::wait::{SOON, eventually};
use crate::wire::{THEM, THEM6, Wire};

const HOME: &str = "/run/openbgpd";

/// A bgpd that runs.
pub struct OpenBgpd {
    process: Process,
    namespace: String,
    directory: PathBuf,
    us: &'static str,
}

impl OpenBgpd {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(wire: &Wire, session: &Session) -> Result<Self> {
        let (namespace, directory) = (wire.them(), wire.directory().to_owned());
        let file = directory.join("bgpd.conf");
        let socket = socket(&directory);
        let text = format!("socket \"{}\"\n{}", socket.display(), configuration(session));
        fs::write(&file, text).context("cannot write bgpd's configuration")?;
        // It insists: there could be passwords in it.
        fs::set_permissions(&file, Permissions::from_mode(0o600)).context("cannot close a file")?;
        // What its parts shut themselves in: the home of the package's user.
        fs::create_dir_all(HOME).with_context(|| format!("cannot make {HOME}"))?;
        let process = process(&namespace, &directory)?;
        let mut openbgpd = Self { process, namespace, directory, us: session.us() };
        openbgpd.answers()?;
        Ok(openbgpd)
    }

    fn answers(&mut self) -> Result<()> {
        eventually("bgpd answers", SOON, || {
            self.process.check()?;
            self.ask(&["show"]).map(drop)
        })
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = within(&self.namespace, "bgpctl");
        run(command.arg("-s").arg(socket(&self.directory)).args(words), "")?.ok()
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("bgpd.sock")
}

fn process(namespace: &str, directory: &Path) -> Result<Process> {
    let mut command = within(namespace, "/usr/sbin/bgpd");
    command.args(["-d", "-v", "-f"]).arg(directory.join("bgpd.conf"));
    Process::start(&mut command, &directory.join("bgpd.log"))
}

fn configuration(session: &Session) -> String {
    let Session { their_as, our_as, hold_time, .. } = session;
    let mut text = format!(
        "AS {their_as}\nrouter-id {THEM}\nfib-update no\nlisten on {THEM}\nlisten on {THEM6}\n\
         nexthop qualify via default\nconnect-retry 2\n"
    );
    for prefix in &session.announce {
        let _ = writeln!(text, "network {prefix}");
    }
    let family = if session.is_ipv6() { "IPv6" } else { "IPv4" };
    for us in &session.neighbors {
        let _ = writeln!(text, "neighbor {us} {{");
        let mut option = |words: String| {
            let _ = writeln!(text, "    {words}");
        };
        option(format!("remote-as {our_as}"));
        option(format!("holdtime {hold_time}"));
        option("holdtime min 3".to_owned());
        option("announce IPv4 none".to_owned());
        option(format!("announce {family} unicast"));
        if session.enhanced_refresh {
            option("announce enhanced refresh yes".to_owned());
        }
        if session.add_paths {
            option("announce add-path send all".to_owned());
        }
        if let Some(role) = session.role {
            option(format!("announce policy {role} enforce"));
        }
        if session.passive {
            option("passive".to_owned());
        }
        if session.clients {
            option("route-reflector".to_owned());
        }
        if session.ttl_security {
            option("ttl-security yes".to_owned());
        }
        if let Some(password) = session.password {
            option(format!("tcp md5sig password {password}"));
        }
        if let Some(limit) = session.max_prefixes {
            option(format!("max-prefix {limit}"));
        }
        text.push_str("}\n");
    }
    text + "allow from any\nallow to any\n"
}

impl Speaker for OpenBgpd {
    fn expect_established(&mut self) -> Result<()> {
        self.process.check()?;
        expect_words(&self.ask(&["show", "neighbor", self.us])?, "BGP state = Established")
    }

    fn routes(&mut self) -> Result<BTreeSet<String>> {
        let said = json(&self.ask(&["-j", "show", "rib", "neighbor", self.us, "in"])?)?;
        let routes = said["rib"].as_array().into_iter().flatten();
        Ok(routes.filter_map(|it| it["prefix"].as_str()).map(str::to_owned).collect())
    }

    fn route(&mut self, prefix: &str) -> Result<String> {
        self.ask(&["show", "rib", "detail", prefix])
    }

    fn refresh(&mut self) -> Result<()> {
        self.ask(&["neighbor", self.us, "refresh"]).map(drop)
    }

    fn shut_down(&mut self, words: &str) -> Result<()> {
        self.ask(&["neighbor", self.us, "down", words]).map(drop)
    }

    fn crash(&mut self) -> Result<()> {
        self.process.end(Signal::SIGKILL).map(drop)
    }

    fn start_again(&mut self) -> Result<()> {
        self.process = process(&self.namespace, &self.directory)?;
        self.answers()
    }

    fn log(&self) -> String {
        self.process.output()
    }
}

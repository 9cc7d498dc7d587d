//! BIRD.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Session, Speaker, expect_words};
use crate::lab::command::{Process, run, within};
use crate::lab::wait::{SOON, eventually};
use crate::wire::{THEM, THEM6, Wire};

/// A BIRD that runs. Its session with our nth address is called `us<n>`.
pub struct Bird {
    process: Process,
    namespace: String,
    directory: PathBuf,
}

impl Bird {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(wire: &Wire, session: &Session) -> Result<Self> {
        let (namespace, directory) = (wire.them(), wire.directory().to_owned());
        fs::write(directory.join("bird.conf"), configuration(session))
            .context("cannot write BIRD's configuration")?;
        let process = process(&namespace, &directory, &[])?;
        let mut bird = Self { process, namespace, directory };
        bird.answers()?;
        Ok(bird)
    }

    fn answers(&mut self) -> Result<()> {
        eventually("bird answers", SOON, || {
            self.process.check()?;
            expect_words(&self.ask(&["show", "status"])?, "Daemon is up")
        })
    }

    fn ask(&self, question: &[&str]) -> Result<String> {
        let mut command = within(&self.namespace, "birdc");
        command.arg("-s").arg(self.directory.join("bird.ctl")).args(question);
        run(&mut command, "")?.ok()
    }
}

fn process(namespace: &str, directory: &std::path::Path, options: &[&str]) -> Result<Process> {
    let mut command = within(namespace, "bird");
    command.args(options).arg("-f").arg("-c").arg(directory.join("bird.conf"));
    command.arg("-s").arg(directory.join("bird.ctl"));
    Process::start(&mut command, &directory.join("bird.log"))
}

fn configuration(session: &Session) -> String {
    let (family, them) = if session.is_ipv6() { ("ipv6", THEM6) } else { ("ipv4", THEM) };
    let communities: String = (1..=session.communities)
        .map(|n| format!(" bgp_community.add(({}, {n}));", session.their_as))
        .collect();
    let routes: String = session
        .announce
        .iter()
        .map(|it| format!("    route {it} blackhole {{{communities} }};\n"))
        .collect();
    let mut text = format!(
        "router id {THEM};\nlog stderr all;\ndebug protocols {{ states, events }};\n\
         protocol device {{}}\nprotocol static {{\n    {family};\n{routes}}}\n"
    );
    if session.bfd {
        text.push_str("protocol bfd {}\n");
    }
    for (n, us) in session.neighbors.iter().enumerate() {
        let mut options = String::new();
        let mut option = |is_on: bool, words: String| {
            if is_on {
                options.push_str(&words);
            }
        };
        if let Some(role) = session.role {
            option(true, format!("local role {role}; require roles on; "));
        }
        option(session.communities > 0, "enable extended messages on; ".to_owned());
        option(session.passive, "passive on; ".to_owned());
        option(session.clients, "rr client; ".to_owned());
        // Without the word a planned end of BFD costs the routes that a restart would keep.
        let graceful = if session.restart_time.is_some() { "graceful" } else { "on" };
        option(session.bfd, format!("bfd {graceful}; "));
        option(session.ttl_security, "ttl security on; ".to_owned());
        match session.restart_time {
            Some(time) => {
                option(true, format!("graceful restart on; graceful restart time {time}; "));
            }
            None => option(true, "graceful restart off; ".to_owned()),
        }
        if let Some(time) = session.long_lived {
            option(true, format!("long lived graceful restart on; long lived stale time {time}; "));
        }
        if let Some(password) = session.password {
            option(true, format!("password \"{password}\"; "));
        }
        let limit = session
            .max_prefixes
            .map_or_else(String::new, |limit| format!("import limit {limit} action disable;"));
        let paths = if session.add_paths { "add paths tx;" } else { "" };
        let export = if session.clients { "all" } else { "where source = RTS_STATIC" };
        let _ = writeln!(
            text,
            "protocol bgp us{n} {{
    local {them} as {their_as};
    neighbor {us} as {our_as};
    direct;
    hold time {hold_time};
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 2;
    {options}
    {family} {{ import all; export {export}; next hop {next_hop}; {limit}{paths} }};
}}",
            their_as = session.their_as,
            our_as = session.our_as,
            hold_time = session.hold_time,
            // A reflector leaves the next hop of others as it is.
            next_hop = if session.clients { "keep" } else { "self" },
        );
    }
    text
}

impl Speaker for Bird {
    fn expect_established(&mut self) -> Result<()> {
        self.process.check()?;
        expect_words(&self.ask(&["show", "protocols", "us0"])?, "Established")
    }

    fn routes(&mut self) -> Result<BTreeSet<String>> {
        let said = self.ask(&["show", "route", "protocol", "us0"])?;
        let prefixes = said.lines().filter_map(|line| line.split_whitespace().next());
        Ok(prefixes.filter(|word| word.contains('/')).map(str::to_owned).collect())
    }

    fn route(&mut self, prefix: &str) -> Result<String> {
        self.ask(&["show", "route", "all", "protocol", "us0", "for", prefix])
    }

    fn refresh(&mut self) -> Result<()> {
        self.ask(&["reload", "in", "us0"]).map(drop)
    }

    fn announce_again(&mut self) -> Result<()> {
        self.ask(&["reload", "out", "us0"]).map(drop)
    }

    fn shut_down(&mut self, words: &str) -> Result<()> {
        self.ask(&["disable", "us0", &format!("\"{words}\"")]).map(drop)
    }

    fn crash(&mut self) -> Result<()> {
        self.process.end(Signal::SIGKILL).map(drop)
    }

    fn start_again(&mut self) -> Result<()> {
        self.process = process(&self.namespace, &self.directory, &["-R"])?;
        self.answers()
    }

    fn log(&self) -> String {
        self.process.output()
    }
}

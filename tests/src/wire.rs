//! Two network namespaces with one cable between them: this project's BGP speaker at one end, another
//! one at the other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::environment::isolation::LABS;
use crate::lab::capture::Capture;
use crate::lab::command::{Outcome, ip, namespace_path, run, within};

/// Our end's addresses: a second one is for a second speaker.
pub const US: [&str; 2] = ["10.0.0.1", "10.0.0.3"];

/// The other end's address.
pub const THEM: &str = "10.0.0.2";

/// Our end's IPv6 address.
pub const US6: &str = "2001:db8::1";

/// The other end's IPv6 address.
pub const THEM6: &str = "2001:db8::2";

/// The name of the interface at either end.
pub const INTERFACE: &str = "wire";

/// The cable, its ends and a directory for files.
#[derive(Debug)]
pub struct Wire {
    name: String,
    directory: PathBuf,
}

impl Wire {
    /// A new one, with all addresses ready for use.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("wire{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(LABS).join(&name);
        fs::create_dir_all(&directory).context("cannot make a directory for a wire")?;
        let wire = Self { name, directory };
        let (us, them) = (wire.us(), wire.them());
        let mut commands = vec![format!("netns add {us}"), format!("netns add {them}")];
        commands.push(format!(
            "link add {INTERFACE} netns {us} type veth peer name {INTERFACE} netns {them}"
        ));
        ip(None, &commands)?;
        for (namespace, v4, v6) in [(us, &US[..], US6), (them, &[THEM], THEM6)] {
            let mut commands = vec!["link set lo up".to_owned()];
            commands.extend(v4.iter().map(|it| format!("address add {it}/24 dev {INTERFACE}")));
            commands.push(format!("address add {v6}/64 dev {INTERFACE} nodad"));
            commands.push(format!("link set {INTERFACE} up"));
            ip(Some(&namespace), &commands)?;
        }
        Ok(wire)
    }

    /// Our end's namespace.
    pub fn us(&self) -> String {
        format!("{}-us", self.name)
    }

    /// The other end's namespace.
    pub fn them(&self) -> String {
        format!("{}-them", self.name)
    }

    /// For files of whatever runs here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a program at the other end, to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Outcome> {
        run(within(&self.them(), program).args(arguments), "")
    }

    /// Starts a thread at our end: its sockets are there.
    ///
    /// # Errors
    /// When there is no such namespace.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let path = namespace_path(&self.us());
        let namespace = File::open(&path).context("cannot open a namespace")?;
        let (entered, has_entered) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let outcome = setns(namespace, CloneFlags::CLONE_NEWNET);
            let is_there = outcome.is_ok();
            // Whoever waits for it is there as long as this lasts.
            let _ = entered.send(outcome);
            if is_there {
                work();
            }
        });
        has_entered.recv()?.with_context(|| format!("cannot enter {}", path.display()))
    }

    /// What each end sends gets lost on the way, without either noticing.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn cut(&self) -> Result<()> {
        self.neighbors("replace", "lladdr 02:00:00:00:00:99 nud permanent")
    }

    /// The opposite of [`cut`](Self::cut).
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn mend(&self) -> Result<()> {
        self.neighbors("del", "")
    }

    fn neighbors(&self, verb: &str, how: &str) -> Result<()> {
        for (namespace, others) in
            [(self.us(), vec![THEM, THEM6]), (self.them(), vec![US[0], US[1], US6])]
        {
            let commands: Vec<String> = others
                .iter()
                .map(|other| format!("neigh {verb} {other} {how} dev {INTERFACE}"))
                .collect();
            ip(Some(&namespace), &commands)?;
        }
        Ok(())
    }

    /// Captures what goes over the wire on the ports of BGP and of BFD over one hop.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self) -> Result<Capture> {
        Capture::start(&self.us(), INTERFACE, "tcp port 179 or udp port 3784", &self.directory)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The namespaces go with the last process that is in them; their names need not stay.
        let commands = [self.us(), self.them()].map(|name| format!("netns del {name}"));
        let _ = ip(None, &commands);
    }
}

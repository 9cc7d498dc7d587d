//! What is fed with arbitrary octets, and what must hold whatever they are. That nothing panics and
//! nothing takes long goes without saying.
//!
//! `make fuzz` lets libFuzzer look for octets that break something (`fuzz_targets/`); what it has
//! found worth keeping is in `corpus/`, which `tests/corpus.rs` goes through at every `make test`.

#![expect(dead_code, reason = "of the programs' modules only what reads is used")]

mod bfd;
mod bgp;
mod documents;
mod session;

// The programs are no libraries: of each, the modules that read what others wrote are compiled here
// once more.
#[path = "../../node-agent/src/config/mod.rs"]
mod config;
#[path = "../../cni-plugin/src/error.rs"]
mod error;
#[path = "../../cni-plugin/src/log.rs"]
mod log;
#[path = "../../cni-plugin/src/netconf.rs"]
mod netconf;
#[path = "../../cni-plugin/src/result.rs"]
mod result;
#[path = "../../cni-plugin/src/version.rs"]
mod version;

/// A reader of octets.
pub type Target = fn(&[u8]);

/// Everything that is fed, under the names of `fuzz_targets/` and `corpus/`.
pub const TARGETS: [(&str, Target); 12] = [
    ("agent_config", documents::agent_config),
    ("bfd_engine", bfd::engine),
    ("bgp_notification", bgp::notification),
    ("bgp_open", bgp::open),
    ("bgp_refresh", bgp::refresh),
    ("bgp_session", session::session),
    ("bgp_stream", bgp::stream),
    ("bgp_update", bgp::update),
    ("cni_netconf", documents::cni_netconf),
    ("control", documents::control),
    ("ipam_record", documents::ipam_record),
    ("node_description", documents::node_description),
];

/// Feeds the target of that name.
///
/// # Panics
/// When what must hold does not, or there is no such target.
pub fn run(name: &str, octets: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| target);
    match target {
        Some(target) => target(octets),
        None => unreachable!("there is no target {name}"),
    }
}

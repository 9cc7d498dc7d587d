//! What tshark makes of the messages that we sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::lab::command::run;
use tests::wire::{US, US6};

/// The fields that our messages may have, as tshark names them; those of BGP without `bgp.`. What is not here is
/// something that we never meant to send.
const EXPECTED: &[&str] = &[
    "bfd.desired_min_tx_interval",
    "bfd.detect_time_multiplier",
    "bfd.diag",
    "bfd.flags",
    "bfd.flags.a",
    "bfd.flags.c",
    "bfd.flags.d",
    "bfd.flags.f",
    "bfd.flags.m",
    "bfd.flags.p",
    "bfd.message_length",
    "bfd.my_discriminator",
    "bfd.required_min_echo_interval",
    "bfd.required_min_rx_interval",
    "bfd.sta",
    "bfd.version",
    "bfd.your_discriminator",
    "cap",
    "cap.4as",
    "cap.ap.afi",
    "cap.ap.safi",
    "cap.ap.sendreceive",
    "cap.gr.afi",
    "cap.gr.flag",
    "cap.gr.flag.pfs",
    "cap.gr.safi",
    "cap.gr.timers",
    "cap.gr.timers.notification_flag",
    "cap.gr.timers.restart_flag",
    "cap.gr.timers.restart_time",
    "cap.length",
    "cap.mp.afi",
    "cap.mp.safi",
    "cap.reserved",
    "cap.type",
    "length",
    "marker",
    "mp_reach_nlri_ipv6_prefix",
    "mp_unreach_nlri_ipv6_prefix",
    "nlri_prefix",
    "notify.communication",
    "notify.communication_length",
    "notify.major_error",
    "notify.minor_data",
    "notify.minor_error_cease",
    "notify.minor_error_expired",
    "open.holdtime",
    "open.identifier",
    "open.myas",
    "open.opt",
    "open.opt.len",
    "open.opt.param",
    "open.opt.param.len",
    "open.opt.param.type",
    "open.version",
    "path_attribute.cluster_id",
    "path_attribute.cluster_list",
    "prefix_length",
    "route_refresh.afi",
    "route_refresh.safi",
    "route_refresh.subtype",
    "type",
    "update.nlri",
    "update.path_attribute",
    "update.path_attribute.as_path_segment",
    "update.path_attribute.as_path_segment.as4",
    "update.path_attribute.as_path_segment.length",
    "update.path_attribute.as_path_segment.type",
    "update.path_attribute.flags",
    "update.path_attribute.flags.extended_length",
    "update.path_attribute.flags.optional",
    "update.path_attribute.flags.partial",
    "update.path_attribute.flags.transitive",
    "update.path_attribute.flags.unused",
    "update.path_attribute.length",
    "update.path_attribute.local_pref",
    "update.path_attribute.mp_reach_nlri",
    "update.path_attribute.mp_reach_nlri.afi",
    "update.path_attribute.mp_reach_nlri.nbr_snpa",
    "update.path_attribute.mp_reach_nlri.next_hop",
    "update.path_attribute.mp_reach_nlri.next_hop.ipv6",
    "update.path_attribute.mp_reach_nlri.safi",
    "update.path_attribute.mp_unreach_nlri",
    "update.path_attribute.mp_unreach_nlri.afi",
    "update.path_attribute.mp_unreach_nlri.safi",
    "update.path_attribute.next_hop",
    "update.path_attribute.origin",
    "update.path_attribute.originator_id",
    "update.path_attribute.type_code",
    "update.path_attributes",
    "update.path_attributes.length",
    "update.withdrawn_routes",
    "update.withdrawn_routes.length",
    "withdrawn_prefix",
];

/// What tshark 4.0 has no name for where there are roles (RFC 9234): the capability, OTC, and the
/// subcode of the error.
pub const OF_ROLES: &[&str] =
    &["cap.unknown", "notify.minor_error_open", "update.path_attributes.unknown"];

/// And where there is long-lived graceful restart (RFC 9494): the capability's tuples.
pub const OF_LONG_LIVED: &[&str] = &["cap.unknown"];

/// That tshark finds nothing malformed and nothing unexpected in our messages, and that there are
/// some, unless nothing was to be said; what has no name is expected only where it is listed.
pub fn expect_clean(capture: &Path, is_silent: bool, unnamed: &[&str]) -> Result<()> {
    // An extended message (RFC 8654) is malformed in the eyes of tshark 4.0.
    let ours = format!(
        "(bgp || bfd) && !(bgp.length > 4096) && (ip.src in {{{}}} || ipv6.src == {US6})",
        US.join(", ")
    );
    let mut tshark = Command::new("tshark");
    tshark.arg("-n").args(["-T", "pdml", "-Y", &ours, "-r"]).arg(capture);
    let said = run(&mut tshark, "")?.ok()?;
    let seen = Seen::of(&said);
    ensure!(
        (seen.messages == 0) == is_silent,
        "tshark finds {} messages of ours in {}",
        seen.messages,
        capture.display()
    );
    ensure!(seen.complaints.is_empty(), "tshark says of ours: {:#?}", seen.complaints);
    let expected: BTreeSet<&str> = EXPECTED.iter().chain(unnamed).copied().collect();
    let unexpected: Vec<_> =
        seen.fields.iter().filter(|(it, _)| !expected.contains(it.as_str())).collect();
    ensure!(unexpected.is_empty(), "nobody meant to send {unexpected:?}");
    Ok(())
}

/// What there is in its XML.
#[derive(Debug, Default)]
struct Seen {
    messages: usize,
    /// Each with what was shown of the first of them.
    fields: BTreeMap<String, String>,
    complaints: BTreeSet<String>,
}

impl Seen {
    fn of(pdml: &str) -> Self {
        let mut seen = Self::default();
        let mut is_ours = false;
        for line in pdml.lines().map(str::trim_start) {
            let name = attribute(line, "name").unwrap_or_default();
            if line.starts_with("<proto ") {
                is_ours = name == "bgp" || name == "bfd";
                seen.messages += usize::from(is_ours);
            }
            let words = || attribute(line, "showname").or(attribute(line, "show")).unwrap_or(line);
            if name == "_ws.malformed" || (is_ours && name.starts_with("_ws.")) {
                seen.complaints.insert(words().to_owned());
            } else if is_ours && (name.starts_with("bgp.") || name.starts_with("bfd.")) {
                let field = name.strip_prefix("bgp.").unwrap_or(name);
                seen.fields.entry(field.to_owned()).or_insert_with(|| words().to_owned());
            }
        }
        seen
    }
}

/// The value of an attribute in a line of XML; every element has a line of its own.
fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

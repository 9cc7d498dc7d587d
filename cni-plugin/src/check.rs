//! `CHECK`: compares a pod's connection with the record and with what `ADD` answered.

use warren_ipam::{Record, Store};
use warren_net::namespace::Namespace;
use warren_net::pod::{self, PodInterface};

use crate::add;
use crate::args::Attachment;
use crate::error::{Code, Failure};
use crate::log::Line;
use crate::netconf::NetConf;
use crate::result::{Answer, Interface};

/// Carries it out. The first difference gives the error's code; all are told.
pub fn check(conf: &NetConf, attachment: &Attachment, line: &mut Line) -> Result<(), Failure> {
    let Some(answer) = &conf.prev_result else {
        return Err(Failure::new(
            Code::InvalidNetConf,
            "the network configuration's key prevResult is missing, which CHECK needs",
        ));
    };
    let netns = attachment.netns.as_deref().unwrap_or_default();
    let namespace = Namespace::open(netns)?;
    let store = Store::new(&conf.run_dir);
    let entries = store.find(&attachment.owner)?;
    if entries.is_empty() {
        let owner = &attachment.owner;
        let message = format!("no record of {owner} in {}", store.path().display());
        return Err(Failure::new(Code::CheckRecordMissing, message)
            .details("its address may be given to another pod; start the pod anew"));
    }
    line.phase("read");
    let mut failures = Vec::new();
    for entry in &entries {
        let record = store.read(entry)?;
        failures.extend(compare(answer, &record));
        let expected = expected(answer, &record, netns);
        failures.extend(pod::check(&namespace, &expected)?.into_iter().map(Failure::from));
    }
    line.phase("compare");
    Failure::all(failures)
}

/// What the record and `prevResult` disagree in.
fn compare(answer: &Answer, record: &Record) -> Vec<Failure> {
    let Record { address, host_interface, ifname, .. } = record;
    let on_host = |i: &Interface| i.is_on_host() && i.name == *host_interface;
    let in_pod = |i: &Interface| !i.is_on_host() && i.name == *ifname;
    let differences = [
        (answer.ips.iter().any(|ip| ip.address.ip() == *address), format!("the address {address}")),
        (
            answer.interfaces.iter().any(on_host),
            format!("the interface {host_interface} on the node"),
        ),
        (answer.interfaces.iter().any(in_pod), format!("the interface {ifname} of the pod")),
    ];
    let missing = differences.into_iter().filter(|(there, _)| !there);
    missing
        .map(|(_, what)| {
            let message = format!("prevResult does not have {what}, which is recorded");
            Failure::new(Code::CheckResult, message)
        })
        .collect()
}

/// What the kernel should have. A plugin that came later in the chain may have changed the pod's
/// interface, and said so in its answer.
fn expected(answer: &Answer, record: &Record, netns: &str) -> PodInterface {
    let mut expected = add::interface(record);
    let is_it = |i: &&Interface| i.name == record.ifname && i.sandbox.as_deref() == Some(netns);
    if let Some(told) = answer.interfaces.iter().find(is_it) {
        if let Some(Ok(mac)) = told.mac.as_deref().map(str::parse::<warren_ipam::MacAddress>) {
            expected.pod_mac = Some(mac.0);
        }
        expected.mtu = told.mtu.unwrap_or(expected.mtu);
    }
    expected
}

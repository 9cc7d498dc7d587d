//! `CHECK`: compares a pod's connection with the record and with what `ADD` answered.

use warren_ipam::Record;
use warren_net::namespace::Namespace;
use warren_net::pod::{self, PodInterface};
use warren_types::report::Phase;

use crate::add;
use crate::args::Attachment;
use crate::error::{Code, Failure};
use crate::log::Line;
use crate::netconf::NetConf;
use crate::node;
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
    let store = node::store(conf)?;
    let entries = store.find(&attachment.owner)?;
    if entries.is_empty() {
        let owner = &attachment.owner;
        let message = format!("no record of {owner} in {}", store.path().display());
        return Err(Failure::new(Code::CheckRecordMissing, message)
            .details("its address may be given to another pod; start the pod anew"));
    }
    line.phase(Phase::Read);
    let records = entries.iter().map(|entry| store.read(entry)).collect::<Result<Vec<_>, _>>()?;
    let mut failures: Vec<_> = records.iter().flat_map(|record| compare(answer, record)).collect();
    failures.extend(unrecorded(answer, &records, netns));
    if let Some(expected) = expected(answer, &records, netns) {
        failures.extend(pod::check(&namespace, &expected)?.into_iter().map(Failure::from));
    }
    line.phase(Phase::Compare);
    Failure::all(failures)
}

/// The addresses that `prevResult` has for the pod's interface and no record does: they may be given
/// to another pod.
fn unrecorded(answer: &Answer, records: &[Record], netns: &str) -> Vec<Failure> {
    let ours = |i: &Interface| {
        i.sandbox.as_deref() == Some(netns) && records.iter().any(|r| r.ifname == i.name)
    };
    let is_ours =
        |index: Option<usize>| index.and_then(|i| answer.interfaces.get(i)).is_some_and(ours);
    let told = answer.ips.iter().filter(|ip| is_ours(ip.interface)).map(|ip| ip.address.ip());
    told.filter(|ip| !records.iter().any(|record| record.address == *ip))
        .map(|ip| {
            let message = format!("prevResult has the address {ip}, which is not recorded");
            Failure::new(Code::CheckResult, message)
        })
        .collect()
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
fn expected(answer: &Answer, records: &[Record], netns: &str) -> Option<PodInterface> {
    let mut expected = add::interface(records)?;
    let is_it = |i: &&Interface| i.name == expected.pod_name && i.sandbox.as_deref() == Some(netns);
    if let Some(told) = answer.interfaces.iter().find(is_it) {
        if let Some(Ok(mac)) = told.mac.as_deref().map(str::parse::<warren_ipam::MacAddress>) {
            expected.pod_mac = Some(mac.0);
        }
        expected.mtu = told.mtu.unwrap_or(expected.mtu);
    }
    Some(expected)
}

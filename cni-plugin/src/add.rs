//! `ADD`: connects a pod, or leaves nothing behind.

use std::io::Write;

use warren_ipam::{AllocateError, Claim, Entry, Held, Record, Store};
use warren_net::namespace::Namespace;
use warren_net::pod::{self, PodError, PodInterface};
use warren_types::ifname;
use warren_types::node::NodeDescription;
use warren_types::report::Phase;
use warren_types::wishes::Wishes;

use crate::args::Attachment;
use crate::error::{Code, Failure};
use crate::log::Line;
use crate::netconf::NetConf;
use crate::result::Answer;
use crate::version::Version;
use crate::{node, remove};

/// How often a host interface's name may be found taken before it is given up: by the leftover of the
/// same pod, once for each of its addresses, and once by another interface of the container; and each
/// twice because others act meanwhile.
const ATTEMPTS: u32 = 6;

/// Carries it out and writes the answer to `out`.
pub fn add(
    version: Version,
    conf: &mut NetConf,
    attachment: &Attachment,
    line: &mut Line,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let store = node::store(conf)?;
    let (node, without_ipv6) = node::read(conf)?;
    if without_ipv6 {
        line.warn("without_ipv6", "this kernel has none");
    }
    let netns = attachment.netns.clone().unwrap_or_default();
    let namespace = Namespace::open(&netns)?;
    line.phase(Phase::Read);

    let claim = Claim {
        owner: attachment.owner.clone(),
        network: conf.name.clone(),
        netns,
        pod: attachment.pod.clone(),
        host_interface: attachment.host_interface(),
        mac: conf.mac.or(attachment.mac),
        mtu: conf.mtu.unwrap_or(node.pod_mtu),
        metric: 0,
        wishes: wishes(conf, attachment)?,
    };
    let claim = match &conf.prev_result {
        // Another plugin's interface is the pod's first one.
        Some(answer) if answer.has_default_route() => further(claim),
        _ => claim,
    };
    let (held, records) = allocate(&store, &node, claim, attachment, line)?;
    records.iter().for_each(|record| line.field("address", record.address));
    line.field("host", &held.entry().host_interface);
    line.phase(Phase::Allocate);

    let outcome = connect(&namespace, &records, line).and_then(|()| {
        line.phase(Phase::Connect);
        let answer = Answer::new(version, &records, conf.dns.take(), conf.prev_result.take());
        print(&answer, out)
    });
    match outcome {
        Ok(()) => {
            line.phase(Phase::Answer);
            Ok(())
        }
        Err(failure) => Err(undo(&store, held, failure)),
    }
}

/// The addresses that the pod asks for: those that the runtime names, or those of its wishes.
fn wishes(conf: &NetConf, attachment: &Attachment) -> Result<Wishes, Failure> {
    let named = [&conf.ips, &attachment.ips].into_iter().find(|named| !named.is_empty());
    if let Some(addresses) = named {
        return Ok(Wishes { addresses: addresses.clone(), ..Wishes::default() });
    }
    let pod = attachment.pod.as_ref();
    match pod.and_then(|pod| conf.run_dir.wishes(&pod.namespace, &pod.name)) {
        Some(path) => Ok(Wishes::read(&path)?),
        None => Ok(Wishes::default()),
    }
}

/// The claim for an interface that is not the pod's first one: what leaves the pod goes on leaving it
/// by that. The metric differs from one host interface to the next, for the kernel takes two routes
/// to one destination only if their metrics differ.
fn further(claim: Claim) -> Claim {
    let digits = claim.host_interface.get(ifname::PREFIX.len()..).unwrap_or_default();
    let number = digits.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    Claim { metric: 1024 + number.unwrap_or_default(), ..claim }
}

/// Gets an address, and makes way for the pod if an earlier sandbox of it was left behind: a
/// runtime whose `ADD` failed tries again with a new container ID.
fn allocate(
    store: &Store,
    node: &NodeDescription,
    mut claim: Claim,
    attachment: &Attachment,
    line: &mut Line,
) -> Result<(Held, Vec<Record>), Failure> {
    let mut attempt = 1;
    loop {
        match store.allocate(node, claim.clone()) {
            Err(AllocateError::HostInterfaceTaken(other)) if attempt < ATTEMPTS => {
                attempt += 1;
                if other.owner.container_id() == attachment.owner.container_id() {
                    claim.host_interface = attachment.further_host_interface();
                    claim = further(claim);
                } else {
                    let replaced = replace(store, &claim, &other)?;
                    line.warn("replaced", replaced);
                }
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Removes the leftover of the pod that `claim` is for; returns its container's ID.
fn replace<'e>(store: &Store, claim: &Claim, leftover: &'e Entry) -> Result<&'e str, Failure> {
    // A damaged record cannot tell; its name then does, which is made from the pod's.
    if let Ok(record) = store.read(leftover)
        && record.pod != claim.pod
    {
        let other = match record.pod {
            Some(pod) => format!("pod {}/{}", pod.namespace, pod.name),
            None => format!("container {}", record.container_id),
        };
        let message = format!("the host interface {} is {other}'s", leftover.host_interface);
        return Err(Failure::new(Code::State, message));
    }
    remove::attachment(store, leftover, None)?;
    Ok(leftover.owner.container_id())
}

fn connect(namespace: &Namespace, records: &[Record], line: &mut Line) -> Result<(), Failure> {
    let Some(interface) = interface(records) else { return Ok(()) };
    match pod::create(namespace, &interface) {
        // The record is this container's, so what bears the name belongs to nobody.
        Err(PodError::AlreadyExists { name }) => {
            line.warn("leftover", &name);
            pod::delete(&name)?;
            pod::create(namespace, &interface)?;
        }
        outcome => drop(outcome?),
    }
    Ok(())
}

/// What the kernel should have for the records of an attachment; `None` without any.
pub fn interface(records: &[Record]) -> Option<PodInterface> {
    let record = records.first()?;
    Some(PodInterface {
        host_name: record.host_interface.clone(),
        pod_name: record.ifname.clone(),
        addresses: records.iter().map(|record| record.address).collect(),
        mtu: record.mtu,
        pod_mac: Some(record.mac.0),
        metric: record.metric,
    })
}

fn print(answer: &Answer, out: &mut impl Write) -> Result<(), Failure> {
    let written = serde_json::to_vec(answer)
        .map_err(std::io::Error::from)
        .and_then(|text| out.write_all(&text))
        .and_then(|()| out.flush());
    written.map_err(|error| Failure::new(Code::Io, format!("cannot write the result: {error}")))
}

/// Takes everything back. What cannot be taken back keeps its record, for the `DEL` to find it.
fn undo(store: &Store, held: Held, failure: Failure) -> Failure {
    match remove::held(store, held, None) {
        Ok(_) => failure,
        Err(second) => {
            let details = format!("taking it back failed too, a DEL has to follow: {}", second.msg);
            failure.details(details)
        }
    }
}

//! `ADD`: connects a pod, or leaves nothing behind.

use std::io::Write;

use warren_ipam::{AllocateError, Claim, Entry, Held, Record, Store};
use warren_net::namespace::Namespace;
use warren_net::pod::{self, PodError, PodInterface};
use warren_types::node::NodeDescription;

use crate::args::Attachment;
use crate::error::{Code, Failure};
use crate::log::Line;
use crate::netconf::NetConf;
use crate::remove;
use crate::result::Answer;
use crate::version::Version;

/// How often a host interface's name may be found taken before it is given up: once by the leftover
/// of the same pod and once by another interface of the container, and each twice because others act
/// meanwhile.
const ATTEMPTS: u32 = 4;

/// Carries it out and writes the answer to `out`.
pub fn add(
    version: Version,
    conf: &mut NetConf,
    attachment: &Attachment,
    line: &mut Line,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let node = NodeDescription::read(&conf.run_dir)?;
    let netns = attachment.netns.clone().unwrap_or_default();
    let namespace = Namespace::open(&netns)?;
    let store = Store::new(&conf.run_dir);
    line.phase("read");

    let claim = Claim {
        owner: attachment.owner.clone(),
        network: conf.name.clone(),
        netns,
        pod: attachment.pod.clone(),
        host_interface: attachment.host_interface(),
        mac: conf.mac,
        mtu: conf.mtu.unwrap_or(node.pod_mtu),
    };
    let (held, record) = allocate(&store, &node, claim, attachment, line)?;
    line.field("address", record.address);
    line.field("host", &record.host_interface);
    line.phase("allocate");

    let outcome = connect(&namespace, &record, line).and_then(|()| {
        line.phase("connect");
        let answer = Answer::new(version, &record, conf.dns.take(), conf.prev_result.take());
        print(&answer, out)
    });
    match outcome {
        Ok(()) => {
            line.phase("answer");
            Ok(())
        }
        Err(failure) => Err(undo(&store, held, failure)),
    }
}

/// Gets an address, and makes way for the pod if an earlier sandbox of it was left behind: a
/// runtime whose `ADD` failed tries again with a new container ID.
fn allocate(
    store: &Store,
    node: &NodeDescription,
    mut claim: Claim,
    attachment: &Attachment,
    line: &mut Line,
) -> Result<(Held, Record), Failure> {
    let mut attempt = 1;
    loop {
        match store.allocate(node, claim.clone()) {
            Err(AllocateError::HostInterfaceTaken(other)) if attempt < ATTEMPTS => {
                attempt += 1;
                if other.owner.container_id() == attachment.owner.container_id() {
                    claim.host_interface = attachment.further_host_interface();
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
    remove::attachment(store, leftover)?;
    Ok(leftover.owner.container_id())
}

fn connect(namespace: &Namespace, record: &Record, line: &mut Line) -> Result<(), Failure> {
    let interface = interface(record);
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

/// What the kernel should have for a record.
pub fn interface(record: &Record) -> PodInterface {
    PodInterface {
        host_name: record.host_interface.clone(),
        pod_name: record.ifname.clone(),
        addresses: vec![record.address],
        mtu: record.mtu,
        pod_mac: Some(record.mac.0),
        metric: 0,
    }
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
    match remove::held(store, held) {
        Ok(_) => failure,
        Err(second) => {
            let details = format!("taking it back failed too, a DEL has to follow: {}", second.msg);
            failure.details(details)
        }
    }
}

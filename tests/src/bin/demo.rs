//! `make demo`: three nodes learn each other's pods over BGP, and a packet goes through the tunnel.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use tests::data_centre::DataCentre;
use tests::environment::{Input, enter};
use tests::lab::Lab;
use tests::lab::node::NIC;
use tests::lab::packet::{ICMP, IPIP};

/// How many pings go from pod to pod.
const PINGS: usize = 6;

fn main() {
    if let Err(error) = enter(Input::None).and_then(|()| show()) {
        let _ = writeln!(io::stderr(), "error: {error:#}");
        std::process::exit(1);
    }
}

fn show() -> Result<()> {
    let lab = Lab::new()?;
    let shown = demo(&lab);
    if shown.is_err() {
        say(format_args!("\n{}", lab.report()));
    }
    shown
}

fn demo(lab: &Lab) -> Result<()> {
    let centre = DataCentre::build(lab, |step| say(format_args!("... {step}")))?;
    let [node1, node2, node3] = &centre.nodes;

    title("node1# ip route");
    let routes = node1.routes()?;
    say(routes.join("\n"));
    let mut expected = vec![
        "default via 192.168.0.1 dev enp1s0 proto static".to_owned(),
        format!("blackhole {} proto bird", node1.block()),
        node1.tunnel_route(node2),
        node1.tunnel_route(node3),
        format!("192.168.0.0/24 dev enp1s0 proto kernel scope link src {}", node1.address()),
    ];
    let own = centre.pods.iter().filter(|pod| pod.node().name() == node1.name());
    expected.extend(own.map(|pod| pod.host_route()));
    node1.expect_routes(&expected)?;
    ensure!(routes.len() == expected.len(), "there are more routes than these {}", expected.len());

    title("node1# agent status");
    say(node1.agent(&["status"])?.ok()?.trim_end());

    let [a, .., b, c] = centre.pods.as_slice() else { return Err(anyhow::anyhow!("no pods")) };
    for (from, to, node) in [(a, b, node2), (b, c, node3)] {
        title(format_args!(
            "{}# ping {} ({} on {})",
            from.name(),
            to.address(),
            to.name(),
            node.name()
        ));
        let pings = from.ping(to.address(), PINGS)?;
        say(format_args!("{} sent, {} answered", pings.sent, pings.answered));
        ensure!(pings.all_answered(), "not all pings were answered");
    }

    title(format_args!(
        "a ping from {} to {}, at node1's {NIC} and at both pods",
        a.name(),
        b.name()
    ));
    let wire = node1.capture(NIC, "ip proto 4")?;
    let inside = [a.capture("icmp")?, b.capture("icmp")?];
    a.expect_answers(b, 1)?;
    let packet = wire.wait_for(1)?.into_iter().next().context("no packet")?;
    let (outer, inner) = packet.tunnelled().context("the packet on the wire has one header")?;
    say(format_args!("outer  {outer}\ninner  {inner}"));
    ensure!(outer.protocol == IPIP && inner.protocol == ICMP, "not ICMP in IPIP");
    ensure!(
        outer.source == node1.address() && outer.destination == node2.address(),
        "outer: {outer}"
    );
    for (capture, pod) in inside.iter().zip([a, b]) {
        let seen = capture.wait_for(1)?.into_iter().next().context("no packet")?;
        let header = seen.headers.first().context("no header")?;
        say(format_args!("{:<6} {header}", pod.name()));
        ensure!(header.source == a.address() && header.destination == b.address(), "{header}");
        ensure!(seen.payload == packet.payload, "{} saw another payload", pod.name());
    }
    ensure!(inner.source == a.address() && inner.destination == b.address(), "inner: {inner}");

    say("\nAll of it holds: five kinds of route, every ping, and the inner packet unchanged.");
    Ok(())
}

fn title(text: impl Display) {
    say(format_args!("\n{text}"));
}

/// Prints lines; that nobody reads them is no error.
fn say(text: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

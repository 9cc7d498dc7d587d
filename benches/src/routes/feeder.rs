//! A peer that announces many routes: as little of BGP as it takes, so that it is never what is
//! waited for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The AS number of both ends.
pub const AS_NUMBER: u16 = 64512;

/// How long a contestant may take until it is Established.
const PATIENCE: Duration = Duration::from_secs(60);

/// The message types of RFC 4271, 4.1.
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// The length of a message's header, and of the longest message, in octets.
const HEADER: usize = 19;
const LONGEST: usize = 4096;

/// The prefix length of all routes, and what a prefix takes in octets.
const PREFIX_LENGTH: u8 = 26;
const PREFIX: usize = 5;

/// What is announced: routes numbered from 0, each to a next hop.
#[derive(Debug, Clone, Copy)]
pub struct Routes {
    /// How many.
    pub number: u32,
    /// How many next hops they have.
    pub next_hops: u32,
}

impl Routes {
    /// The next hops, each with the destinations that it leads to.
    fn groups(self) -> impl Iterator<Item = (Ipv4Addr, Vec<Ipv4Addr>)> {
        (0..self.next_hops.min(self.number)).map(move |node| {
            let of_node = (node..self.number).step_by(self.next_hops as usize);
            (next_hop(node), of_node.map(destination).collect())
        })
    }
}

/// Route number `number`'s destination, of 26 bits.
fn destination(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0A00_0000 + (number << 6))
}

/// The address of node number `number`, in 172.31.0.0/16 and below 172.31.250.0.
fn next_hop(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xAC1F_0100 + number)
}

/// An Established session.
pub struct Feeder {
    stream: TcpStream,
}

impl Feeder {
    /// Waits for a contestant's connection and establishes the session.
    ///
    /// # Errors
    /// It does not come, or says something else than it should.
    pub fn establish(listener: &TcpListener, router_id: Ipv4Addr) -> Result<Self> {
        let mut stream = accept(listener)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(&open(router_id))?;
        let mut opened = false;
        loop {
            match receive(&mut stream)? {
                OPEN => {
                    stream.write_all(&message(KEEPALIVE, &[]))?;
                    opened = true;
                }
                KEEPALIVE if opened => break,
                kind => bail!("message type {kind} while the session comes up"),
            }
        }
        // What the contestant says from now on is of no interest, but must not fill its buffers.
        stream.set_read_timeout(None)?;
        let mut heard = stream.try_clone()?;
        thread::spawn(move || while receive(&mut heard).is_ok_and(|kind| kind != NOTIFICATION) {});
        Ok(Self { stream })
    }

    /// Announces the routes, and that these are all.
    ///
    /// # Errors
    /// The session has ended.
    pub fn announce(&mut self, routes: Routes) -> Result<()> {
        let mut octets = Vec::new();
        for (next_hop, destinations) in routes.groups() {
            let attributes = attributes(next_hop);
            let room = (LONGEST - HEADER - 4 - attributes.len()) / PREFIX;
            for some in destinations.chunks(room) {
                octets.extend(update(&[], &attributes, some));
            }
        }
        octets.extend(update(&[], &[], &[]));
        self.stream.write_all(&octets).context("the session has ended")
    }

    /// Withdraws the routes.
    ///
    /// # Errors
    /// The session has ended.
    pub fn withdraw(&mut self, routes: Routes) -> Result<()> {
        let all: Vec<Ipv4Addr> = (0..routes.number).map(destination).collect();
        let mut octets = Vec::new();
        for some in all.chunks((LONGEST - HEADER - 4) / PREFIX) {
            octets.extend(update(some, &[], &[]));
        }
        self.stream.write_all(&octets).context("the session has ended")
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let mut stream = None;
    super::until(PATIENCE, Duration::from_millis(5), || {
        stream = listener.accept().ok();
        Ok(stream.is_some())
    })
    .context("the contestant does not connect")?;
    let (stream, _) = stream.context("the contestant does not connect")?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Reads one message and returns its type.
fn receive(stream: &mut TcpStream) -> Result<u8> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    ensure!((HEADER..=LONGEST).contains(&length), "a message of {length} octets");
    stream.read_exact(&mut vec![0; length - HEADER])?;
    Ok(header[18])
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(((HEADER + body.len()) as u16).to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

/// Hold time 0: nobody sends KEEPALIVEs. Capabilities: IPv4 unicast, and four octets for AS numbers.
fn open(router_id: Ipv4Addr) -> Vec<u8> {
    let as_number = AS_NUMBER.to_be_bytes();
    let mut body = vec![4, as_number[0], as_number[1], 0, 0];
    body.extend(router_id.octets());
    let capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, as_number[0], as_number[1]];
    body.extend([capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
    body.extend(capabilities);
    message(OPEN, &body)
}

/// ORIGIN IGP, an empty AS_PATH, NEXT_HOP, LOCAL_PREF 100.
fn attributes(next_hop: Ipv4Addr) -> Vec<u8> {
    let mut octets = vec![0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4];
    octets.extend(next_hop.octets());
    octets.extend([0x40, 5, 4, 0, 0, 0, 100]);
    octets
}

fn update(withdrawn: &[Ipv4Addr], attributes: &[u8], announced: &[Ipv4Addr]) -> Vec<u8> {
    let list = |prefixes: &[Ipv4Addr]| -> Vec<u8> {
        let octets = |prefix: &Ipv4Addr| [[PREFIX_LENGTH].as_slice(), &prefix.octets()].concat();
        prefixes.iter().flat_map(octets).collect()
    };
    let withdrawn = list(withdrawn);
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend(withdrawn);
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(list(announced));
    message(UPDATE, &body)
}

//! The socket: requests in batches, dumps.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    Emitable, ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};

use super::Error;
use crate::namespace::Namespace;
use crate::sys;

/// The length of a netlink message header in bytes.
const NETLINK_HEADER_LEN: usize = 16;

/// How many requests go out in one send. What the kernel answers lies in the receive buffer until
/// we read it; if it refused 1,024 of them, some of that would be lost in a buffer of the default
/// size (ENOBUFS).
const BATCH: usize = 64;

/// The receive buffer asked for, in bytes: the usual default, in case this machine's is smaller.
const RECEIVE_BUFFER: libc::c_int = 212_992;

/// The longest datagram the kernel sends: it builds dumps of up to 32 KiB where the reader offers
/// as much, and a single link with many virtual functions stays below this as well.
const DATAGRAM: usize = 64 * 1024;

/// How often a dump is repeated because the table changed meanwhile, before giving up.
const DUMPS: usize = 16;

/// What became of one request: the messages the kernel answered with (none for most requests), or
/// why it was refused.
pub type Outcome = Result<Vec<RouteNetlinkMessage>, Error>;

/// One request to the kernel, and what to call it when it fails.
#[derive(Debug)]
pub struct Request {
    operation: Cow<'static, str>,
    flags: u16,
    message: RouteNetlinkMessage,
}

impl Request {
    /// A request with these `NLM_F_*` flags; `NLM_F_REQUEST` and, where needed, `NLM_F_ACK` are
    /// added.
    ///
    /// `operation` is what the error says could not be done, in iproute2's words and beginning with
    /// the verb: `add route 10.0.0.1 dev eth0`.
    pub fn new(
        operation: impl Into<Cow<'static, str>>,
        flags: u16,
        message: RouteNetlinkMessage,
    ) -> Self {
        Self { operation: operation.into(), flags, message }
    }
}

/// An rtnetlink socket. It acts in the namespace in which it was opened, whatever thread uses it.
#[derive(Debug)]
pub struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket or one of its options (Linux before 4.20).
    pub fn open() -> Result<Self, Error> {
        let socket = Self::configured().map_err(|source| Error::Socket {
            operation: "open an rtnetlink socket".to_string(),
            source,
        })?;
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Opens a socket in another namespace, which the calling thread enters for no longer than that.
    ///
    /// # Errors
    /// As [`Socket::open`], and when the namespace cannot be entered.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        namespace.within(Self::open)?
    }

    /// Has the kernel take notice now of whether `interface` has a carrier, which it would do by and
    /// by otherwise. True: it has.
    ///
    /// # Errors
    /// When there is no such interface, or it cannot tell.
    pub(crate) fn notice_carrier(&self, interface: &str) -> io::Result<bool> {
        sys::has_carrier(self.socket.as_fd(), interface)
    }

    fn configured() -> io::Result<netlink_sys::Socket> {
        let socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER)?;
        // Once connected to the kernel (port 0), nobody else's datagrams reach the socket.
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(socket)
    }

    /// The number by which the kernel's events name this socket as their cause.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn port(&self) -> io::Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// Sends one request and waits for its outcome.
    ///
    /// # Errors
    /// When the kernel refuses it, or the socket fails.
    pub fn request(&mut self, request: Request) -> Outcome {
        self.chunk(vec![request])?.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Sends the requests, 64 in one system call, and waits for the outcome of each. The outcomes
    /// are in the order of the requests. A refusal does not keep the kernel from carrying out the
    /// requests after it.
    ///
    /// # Errors
    /// Only when the socket itself fails. Then it is not known which requests were carried out.
    pub fn batch(
        &mut self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Vec<Outcome>, Error> {
        // Taken one batch at a time, for a request takes many times what its outcome does.
        let mut requests = requests.into_iter();
        let mut outcomes = Vec::with_capacity(requests.size_hint().0);
        loop {
            let chunk: Vec<Request> = requests.by_ref().take(BATCH).collect();
            if chunk.is_empty() {
                return Ok(outcomes);
            }
            outcomes.extend(self.chunk(chunk)?);
        }
    }

    /// Sends a request for each of `items`, as [`Socket::batch`] does, and says of which the kernel
    /// refused. It is for many: nothing is kept of those that went well.
    ///
    /// `put` appends what comes behind the netlink header to the octets, and returns the message type
    /// and the flags as in [`Request::new`]; `words` says what the request is called if it fails.
    ///
    /// # Errors
    /// As [`Socket::batch`].
    pub(crate) fn bulk<T>(
        &mut self,
        items: &[T],
        put: impl Fn(&T, &mut Vec<u8>) -> (u16, u16),
        words: impl Fn(&T) -> String,
        mut refused: impl FnMut(&T, Error),
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for chunk in items.chunks(BATCH) {
            bytes.clear();
            let first = self.sequence.wrapping_add(1);
            for (index, item) in chunk.iter().enumerate() {
                self.sequence = self.sequence.wrapping_add(1);
                let start = bytes.len();
                bytes.extend([0; NETLINK_HEADER_LEN]);
                let (message_type, flags) = put(item, &mut bytes);
                let acknowledge = if index + 1 == chunk.len() { NLM_F_ACK } else { 0 };
                let mut header = NetlinkHeader::default();
                header.length = (bytes.len() - start) as u32;
                header.message_type = message_type;
                header.flags = NLM_F_REQUEST | acknowledge | flags;
                header.sequence_number = self.sequence;
                if let Some(place) = bytes.get_mut(start..start + NETLINK_HEADER_LEN) {
                    header.emit(place);
                }
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            let words_of = |index: usize| chunk.get(index).map(&words).unwrap_or_default();
            // An answer that cannot be read is still acknowledged: one word on each is enough.
            let mut last = None;
            self.exchange(&bytes, first, chunk.len(), words_of, |index, answer| {
                if let (Err(error), Some(item)) = (answer, chunk.get(index))
                    && last.replace(index) != Some(index)
                {
                    refused(item, error);
                }
            })?;
        }
        Ok(())
    }

    fn chunk(&mut self, requests: Vec<Request>) -> Result<Vec<Outcome>, Error> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let count = requests.len();
        let mut operations: Vec<Cow<'static, str>> = Vec::with_capacity(count);
        for (index, request) in requests.into_iter().enumerate() {
            let acknowledge = if index + 1 == count { NLM_F_ACK } else { 0 };
            self.append(&mut bytes, request.flags | acknowledge, request.message);
            operations.push(request.operation);
        }
        let words =
            |index: usize| operations.get(index).map(|words| words.to_string()).unwrap_or_default();
        let mut outcomes: Vec<Outcome> = operations.iter().map(|_| Ok(Vec::new())).collect();
        self.exchange(&bytes, first, count, words, |index, answer| {
            let Some(outcome) = outcomes.get_mut(index) else { return };
            match (&mut *outcome, answer) {
                (Ok(answers), Ok(answer)) => answers.push(answer),
                (Ok(_), Err(error)) => *outcome = Err(error),
                // The first failure stands: an answer that cannot be read is still acknowledged.
                (Err(_), _) => {}
            }
        })?;
        Ok(outcomes)
    }

    /// One send, of `count` requests whose sequence numbers begin with `first`, and what the kernel
    /// answers to each. Only the last request asks to be acknowledged: the kernel carries them out in
    /// order and answers a refusal in any case, so with the last word all is said.
    fn exchange(
        &mut self,
        bytes: &[u8],
        first: u32,
        count: usize,
        words: impl Fn(usize) -> String,
        mut answered: impl FnMut(usize, Result<RouteNetlinkMessage, Error>),
    ) -> Result<(), Error> {
        // A failure of the socket concerns them all; it is told of the first.
        let whole = fmt::from_fn(|f| f.write_str(&words(0)));
        self.send(bytes)
            .map_err(|source| Error::Socket { operation: whole.to_string(), source })?;
        let mut done = false;
        while !done {
            for (header, payload) in self.receive(&whole)? {
                // What is left of an earlier request that failed half-way has an older number.
                let index = header.sequence_number.wrapping_sub(first) as usize;
                if index >= count {
                    continue;
                }
                let operation = fmt::from_fn(|f| f.write_str(&words(index)));
                match payload {
                    Ok(NetlinkPayload::InnerMessage(message)) => answered(index, Ok(message)),
                    Ok(NetlinkPayload::Error(answer)) => {
                        done |= index + 1 == count;
                        if let Err(error) = acknowledged(&operation, &header, &answer) {
                            answered(index, Err(error));
                        }
                    }
                    Ok(_) => {}
                    Err(reason) => {
                        let operation = operation.to_string();
                        answered(index, Err(Error::Answer { operation, reason }));
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks for a whole table, filtered by what `message` names, and repeats the request for as
    /// long as the table changed while it was read.
    ///
    /// A message that cannot be decoded (an attribute of a kernel newer than this program, on
    /// somebody else's link or route) is passed over with a warning, so that it does not hide all
    /// the others.
    ///
    /// # Errors
    /// When the kernel refuses the request, the socket fails, or the table does not hold still.
    pub fn dump(
        &mut self,
        operation: impl Into<Cow<'static, str>>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.dump_as(operation, message, Some)
    }

    /// As [`Socket::dump`], of each message what `keep` makes of it: a message takes many times
    /// what is to be known of it, and a table can be long.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn dump_as<T>(
        &mut self,
        operation: impl Into<Cow<'static, str>>,
        message: RouteNetlinkMessage,
        mut keep: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let operation: Cow<'static, str> = operation.into();
        for _ in 0..DUMPS {
            if let Some(found) = self.dump_once(&operation, message.clone(), &mut keep)? {
                return Ok(found);
            }
        }
        let operation = operation.into_owned();
        Err(Error::Answer { operation, reason: format!("it changed during {DUMPS} attempts") })
    }

    /// None: the table changed while it was read.
    fn dump_once<T>(
        &mut self,
        operation: &str,
        message: RouteNetlinkMessage,
        keep: &mut impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut bytes = Vec::new();
        let sequence = self.append(&mut bytes, NLM_F_DUMP, message);
        self.send(&bytes)
            .map_err(|source| Error::Socket { operation: operation.to_string(), source })?;

        let mut found = Vec::new();
        let mut interrupted = false;
        let mut done = false;
        while !done {
            for (header, payload) in self.receive(operation)? {
                if header.sequence_number != sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match payload {
                    Ok(NetlinkPayload::InnerMessage(message)) => found.extend(keep(message)),
                    Ok(NetlinkPayload::Done(end)) if end.code < 0 => {
                        let tlvs = &end.extended_ack;
                        let operation = operation.to_owned();
                        return Err(Error::refused(operation, &header, end.code, tlvs));
                    }
                    Ok(NetlinkPayload::Done(_)) => done = true,
                    Ok(NetlinkPayload::Error(answer)) => {
                        acknowledged(operation, &header, &answer)?;
                        done = true;
                    }
                    Ok(_) => {}
                    Err(reason) => tracing::warn!(
                        "cannot {operation} entirely: a message is not understood: {reason}"
                    ),
                }
            }
        }
        Ok((!interrupted).then_some(found))
    }

    /// Puts a message behind those already in `bytes`; returns its sequence number.
    fn append(&mut self, bytes: &mut Vec<u8>, flags: u16, message: RouteNetlinkMessage) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = bytes.len().next_multiple_of(4);
        bytes.resize(start + message.buffer_len(), 0);
        if let Some(place) = bytes.get_mut(start..) {
            message.serialize(place);
        }
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        uninterrupted(|| self.socket.send(bytes, 0)).map(drop)
    }

    /// Waits for one datagram and takes it apart. A message that cannot be decoded stands in the
    /// list as the reason for it.
    fn receive(&mut self, operation: &(impl Display + ?Sized)) -> Result<Vec<Message>, Error> {
        self.datagram.clear();
        let length = uninterrupted(|| self.socket.recv(&mut self.datagram, libc::MSG_TRUNC))
            .map_err(|source| Error::Socket { operation: operation.to_string(), source })?;
        let answer = |reason: String| Error::Answer { operation: operation.to_string(), reason };
        if length > self.datagram.len() {
            return Err(answer(format!("{length} bytes in one datagram are more than fit")));
        }
        let mut messages = Vec::new();
        let mut rest = self.datagram.as_slice();
        while rest.len() >= NETLINK_HEADER_LEN {
            let header = NetlinkBuffer::new_checked(&rest)
                .and_then(|buffer| NetlinkHeader::parse(&buffer))
                .map_err(|error| answer(error.to_string()))?;
            let (message, after) = rest.split_at(header.length as usize);
            let payload = NetlinkMessage::deserialize(message)
                .map(|message| message.into_parts().1)
                .map_err(|error| error.to_string());
            messages.push((header, payload));
            let padding = message.len().next_multiple_of(4) - message.len();
            rest = after.get(padding..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// A message: its header, and its content or why that cannot be decoded.
type Message = (NetlinkHeader, Result<NetlinkPayload<RouteNetlinkMessage>, String>);

/// What an NLMSG_ERROR says: code 0 acknowledges.
fn acknowledged(
    operation: &(impl Display + ?Sized),
    header: &NetlinkHeader,
    answer: &ErrorMessage,
) -> Result<(), Error> {
    match answer.code {
        None => Ok(()),
        // NETLINK_CAP_ACK: of the request, only the header is repeated before the attributes.
        Some(code) => {
            let tlvs = answer.header.get(NETLINK_HEADER_LEN..).unwrap_or_default();
            Err(Error::refused(operation.to_string(), header, code.get(), tlvs))
        }
    }
}

/// Makes a system call again for as long as a signal interrupts it.
pub(crate) fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

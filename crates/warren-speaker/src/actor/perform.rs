//! Between the state machines and the connections: events in, actions out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;
use warren_bgp::message::Family;
use warren_bgp::rib::Session;
use warren_bgp::session::{Action, ConnectionId, Event, Negotiated, State, TooManyPrefixes};

use super::{Actor, Connection, Stage};
use crate::connection::{self, ConnectionKey, Happened};
use crate::settings::DynamicNeighbor;
use crate::{error_words, socket};

/// How long a peer may take nothing at the least, where nothing is settled (RFC 9687, 5).
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);

impl Actor {
    /// Takes an event of a connection. One of a connection that is gone means nothing any more.
    pub(super) fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Accepted(stream, from) => self.accepted(stream, from),
            Happened::Connected(key, outcome) => self.connected(key, outcome),
            Happened::Received(key, bytes) => {
                self.drive_by(key, |id| Event::Bytes(id, bytes));
            }
            Happened::Closed(key, reason) => {
                self.drive_by(key, |id| Event::Closed(id, reason));
                self.close(key);
            }
            Happened::Sent(key, octets) => {
                if let Some(Connection { stage: Stage::Open { queued, .. }, .. }) =
                    self.connections.get_mut(&key)
                {
                    *queued = queued.saturating_sub(octets);
                }
            }
            Happened::Stuck(key, limit) => {
                self.drive_by(key, |_| Event::SendHoldTimerExpires(limit));
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream, from: SocketAddr) {
        let address = from.ip().to_canonical();
        if let Err(reason) = self.admit(address) {
            if self.unknown_peers.passes(address, Instant::now()) {
                tracing::warn!(%address, "BGP connection refused: {reason}");
            }
            return;
        }
        let Some(neighbor) = self.neighbors.get_mut(&address) else { return };
        // An error here means that the caller is gone.
        let prepared = socket::accepted(&stream, &neighbor.settings);
        let Ok(local) = prepared.and_then(|()| stream.local_addr()) else { return };
        let id = neighbor.machine.new_connection_id();
        let key = self.add_connection(address, id, |actor, key| actor.carry(key, stream, local));
        self.drive_by(key, Event::Accepted);
    }

    fn connected(&mut self, key: ConnectionKey, outcome: io::Result<TcpStream>) {
        let outcome = outcome.and_then(|stream| Ok((stream.local_addr()?, stream)));
        match outcome {
            Ok((local, stream)) => {
                // Given up meanwhile: the connection closes with `stream`.
                if !self.connections.contains_key(&key) {
                    return;
                }
                let stage = self.carry(key, stream, local);
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.stage = stage;
                }
                self.drive_by(key, Event::ConnectSucceeded);
            }
            Err(error) => {
                self.drive_by(key, |id| Event::ConnectFailed(id, error_words::of(&error)));
                self.close(key);
            }
        }
    }

    /// Drives the machine of the peer that this connection belongs to.
    fn drive_by(&mut self, key: ConnectionKey, event: impl FnOnce(ConnectionId) -> Event) {
        let Some(peer) = self.connections.get(&key).map(|connection| connection.peer) else {
            return;
        };
        let Some(id) = self.neighbors.get(&peer).and_then(|neighbor| neighbor.id(key)) else {
            return;
        };
        self.drive(peer, event(id));
    }

    /// Feeds a peer's machine and does what it says.
    pub(super) fn drive(&mut self, address: IpAddr, event: Event) {
        let Some(neighbor) = self.neighbors.get_mut(&address) else { return };
        // Only a message can establish a session, and it does so on its own connection.
        let source = match &event {
            Event::Bytes(id, _) => neighbor.key(*id),
            _ => None,
        };
        for action in neighbor.machine.handle(Instant::now(), event) {
            self.perform(address, source, action);
        }
        self.observe(address);
        if let Some(too_many) = self.limit_prefixes(address) {
            self.drive(address, Event::TooManyPrefixes(too_many));
        }
    }

    fn perform(&mut self, address: IpAddr, source: Option<ConnectionKey>, action: Action) {
        let Some(neighbor) = self.neighbors.get(&address) else { return };
        match action {
            Action::Connect(id) => {
                let settings = neighbor.settings.clone();
                let events = self.events.clone();
                self.add_connection(address, id, |actor, key| {
                    Stage::Opening(actor.tasks.spawn(async move {
                        let outcome = socket::connect(settings).await;
                        // An error means that the actor has ended.
                        drop(events.send(Happened::Connected(key, outcome)).await);
                    }))
                });
            }
            Action::Send(id, bytes) => {
                if let Some(key) = neighbor.key(id) {
                    send(&mut self.connections, key, bytes);
                }
            }
            Action::Close(id) => {
                if let Some(key) = neighbor.key(id) {
                    self.close(key);
                }
            }
            Action::Up(negotiated) => self.up(address, source, negotiated),
            Action::Down { reason, kept } => {
                self.rib.peer_restarting(address, &kept);
                let routes_kept = self.rib.counts(address).stale;
                tracing::warn!(peer = %address, reason, routes_kept, "BGP session ended");
                if let Some(neighbor) = self.neighbors.get_mut(&address) {
                    neighbor.established = None;
                    neighbor.end_of_rib.clear();
                    neighbor.logged = Some(reason);
                }
            }
            Action::Sweep(family) => {
                let before = self.rib.counts(address).stale;
                self.rib.sweep(address, family);
                let swept = before - self.rib.counts(address).stale;
                if swept > 0 {
                    let family = family.as_str();
                    tracing::info!(peer = %address, family, swept, "stale routes removed");
                }
                self.has_news = true;
            }
            Action::Update(update) => {
                if let Some(family) = update.end_of_rib
                    && let Some(neighbor) = self.neighbors.get_mut(&address)
                {
                    neighbor.end_of_rib.insert(family);
                }
                self.rib.update(address, update);
                self.has_news = true;
            }
            Action::LongLived(family) => {
                self.rib.long_lived(address, family);
                let (family, routes_kept) = (family.as_str(), self.rib.stale(address, family));
                tracing::warn!(
                    peer = %address, family, routes_kept,
                    "BGP peer stays away: its routes are long-lived stale now"
                );
                self.has_news = true;
            }
            Action::MarkStale(family) => {
                self.rib.mark_stale(address, family);
                self.has_news = true;
            }
            Action::Refresh(family) => self.rib.refresh(address, family),
        }
    }

    /// Whether a peer announces more than it may. That it comes near is said once in a session.
    fn limit_prefixes(&mut self, address: IpAddr) -> Option<TooManyPrefixes> {
        let neighbor = self.neighbors.get_mut(&address)?;
        let most = neighbor.settings.max_prefixes.filter(|_| neighbor.established.is_some())?;
        let received = self.rib.received(address);
        if received > most.limit as usize {
            let family = Family::of(&address.into());
            return Some(TooManyPrefixes { family, limit: most.limit, idle: most.idle });
        }
        if received > most.warning as usize && !neighbor.warned_of_prefixes {
            neighbor.warned_of_prefixes = true;
            let limit = most.limit;
            tracing::warn!(peer = %address, received, limit, "peer comes near its most prefixes");
        }
        None
    }

    fn up(&mut self, address: IpAddr, source: Option<ConnectionKey>, negotiated: Negotiated) {
        let Some(key) = source else { return };
        let Some(Stage::Open { local, outbox, .. }) =
            self.connections.get(&key).map(|connection| &connection.stage)
        else {
            return;
        };
        let Some(settings) = self.neighbors.get(&address).map(|neighbor| &neighbor.settings) else {
            return;
        };
        let usual = SEND_HOLD_TIME.max(negotiated.hold_time * 2);
        outbox.stuck_after(settings.send_hold_time.unwrap_or(usual));
        tracing::info!(
            peer = %address, router_id = %negotiated.peer_router_id,
            as_number = negotiated.peer_as, hold_time = negotiated.hold_time.as_secs(),
            families = ?negotiated.families, "BGP session established"
        );
        let (peer_as, local_address) = (negotiated.peer_as, local.ip().to_canonical());
        let long_lived = negotiated.long_lived();
        self.rib.peer_up(Session {
            peer: address,
            peer_as,
            peer_router_id: negotiated.peer_router_id,
            local_address,
            other_address: settings.other_address,
            local_as: settings.local_as.unwrap_or(self.config.local_as),
            local_router_id: self.config.router_id,
            cluster_id: self.config.cluster_id.unwrap_or(self.config.router_id),
            is_client: settings.route_reflector_client,
            families: negotiated.families,
            enhanced_refresh: negotiated.enhanced_refresh,
            long_lived,
            role: negotiated.role,
        });
        if let Some(neighbor) = self.neighbors.get_mut(&address) {
            if let Some(template) = neighbor.template.clone() {
                let met = DynamicNeighbor { template, local_address };
                self.dynamic.send_if_modified(|known| {
                    known.insert(address, met.clone()).as_ref() != Some(&met)
                });
            }
            neighbor.established = Some(key);
            neighbor.peer_as = Some(peer_as);
            neighbor.warned_of_prefixes = false;
            neighbor.end_of_rib.clear();
            neighbor.logged = None;
        }
    }

    /// Takes over what has become of a peer's machine.
    fn observe(&mut self, address: IpAddr) {
        let Some(neighbor) = self.neighbors.get_mut(&address) else { return };
        let deadline = neighbor.next_deadline(Instant::now());
        if deadline != neighbor.deadline {
            if let Some(at) = neighbor.deadline {
                self.deadlines.remove(&(at, address));
            }
            self.deadlines.extend(deadline.map(|at| (at, address)));
            neighbor.deadline = deadline;
        }
        self.has_news |= neighbor.observe();
        let errors = neighbor.machine.update_errors();
        let count = errors.withdrawn + errors.discarded;
        if count > neighbor.update_errors {
            neighbor.update_errors = count;
            if self.malformed_updates.passes(address, Instant::now()) {
                tracing::warn!(
                    peer = %address, reason = errors.last.as_deref(),
                    taken_as_withdrawn = errors.withdrawn, attributes_discarded = errors.discarded,
                    "peer sends malformed UPDATEs"
                );
            }
        }
        let error = neighbor.machine.last_error();
        if neighbor.state != State::Established && error != neighbor.logged.as_deref() {
            neighbor.logged = error.map(str::to_owned);
            if let Some(reason) = error {
                tracing::info!(peer = %address, reason, "BGP session does not come up");
            }
            self.has_news = true;
        }
    }

    /// Names a connection and keeps it under that name.
    fn add_connection(
        &mut self,
        peer: IpAddr,
        id: ConnectionId,
        stage: impl FnOnce(&mut Self, ConnectionKey) -> Stage,
    ) -> ConnectionKey {
        let key = ConnectionKey(self.next_key);
        self.next_key += 1;
        let stage = stage(self, key);
        self.connections.insert(key, Connection { peer, stage });
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.connections.push((id, key));
        }
        key
    }

    /// Starts the task of an open connection.
    fn carry(&mut self, key: ConnectionKey, stream: TcpStream, local: SocketAddr) -> Stage {
        let (outbox, task) = connection::start(key, stream, self.events.clone());
        self.tasks.spawn(task);
        Stage::Open { local, outbox, queued: 0 }
    }

    /// Forgets a connection: its task writes what is left and ends by itself.
    pub(super) fn close(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.remove(&key) else { return };
        if let Stage::Opening(attempt) = &connection.stage {
            attempt.abort();
        }
        if let Some(neighbor) = self.neighbors.get_mut(&connection.peer) {
            neighbor.connections.retain(|(_, known)| *known != key);
            if neighbor.established == Some(key) {
                neighbor.established = None;
            }
        }
    }
}

/// Puts octets into the outbox of a connection, if it is open.
pub(super) fn send(
    connections: &mut HashMap<ConnectionKey, Connection>,
    key: ConnectionKey,
    bytes: Bytes,
) {
    if let Some(Connection { stage: Stage::Open { outbox, queued, .. }, .. }) =
        connections.get_mut(&key)
    {
        *queued += bytes.len();
        outbox.send(bytes);
    }
}

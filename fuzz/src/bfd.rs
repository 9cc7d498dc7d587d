//! BFD sessions that hear anything at any time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use warren_bfd::engine::{Datagram, Engine, Output};
use warren_bfd::packet::{LENGTH, Packet, State};
use warren_bfd::{Hops, Key, Settings, Timing};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Longer than any detection time: 255 intervals of 2^32 microseconds.
const FOR_EVER: Duration = Duration::from_secs(255 * 4295);

/// Octets are datagrams: one that says how it arrives, and a packet. Nothing lasts for ever: a peer
/// that falls silent is Down in the end, and asks for no end of packets before.
pub fn engine(octets: &[u8]) {
    let mut now = Instant::now();
    let mut outputs = Vec::new();
    let mut engine = Engine::new(1);
    let key = |hops| Key { peer: PEER, hops };
    let session = |hops| Settings { key: key(hops), source: None, timing: Timing::default() };
    engine.set_sessions(&[session(Hops::Single), session(Hops::Multi)], now, &mut outputs);

    for chunk in octets.chunks(1 + LENGTH) {
        let [how, payload @ ..] = chunk else { continue };
        let hops = if how & 1 == 0 { Hops::Single } else { Hops::Multi };
        let mut payload = payload.to_vec();
        let before = engine.snapshot();
        let name = before.sessions.iter().find(|it| it.key.hops == hops);
        let name = name.map(|session| session.discriminator.get().to_be_bytes());
        if how & 2 != 0
            && let (Some(field), Some(name)) = (payload.get_mut(8..12), name)
        {
            field.copy_from_slice(&name);
        }
        let from = if how & 4 == 0 { PEER } else { STRANGER };
        let ttl = if how & 8 == 0 { 255 } else { 254 };
        // From half a millisecond to sixteen seconds.
        now += Duration::from_micros(500) * (1 << (how >> 4));
        turn(&mut engine, now, &mut outputs);
        let before = engine.snapshot();
        engine.receive(
            &Datagram { from, hops, ttl, interface: 1, payload: &payload },
            now,
            &mut outputs,
        );
        let must_ignore = from == STRANGER || (hops == Hops::Single && ttl != 255);
        if must_ignore {
            let states = |snapshot: warren_bfd::Snapshot| -> Vec<_> {
                snapshot.sessions.into_iter().map(|it| (it.state, it.remote, it.received)).collect()
            };
            let (before, after) = (states(before), states(engine.snapshot()));
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
        // What authentication there is, is not kept.
        if let Ok(packet) = Packet::decode(&payload)
            && !packet.has_authentication
        {
            assert_eq!(Packet::decode(&packet.encode()).ok(), Some(packet));
        }
        check(&outputs);
        outputs.clear();
    }

    now += FOR_EVER;
    turn(&mut engine, now, &mut outputs);
    check(&outputs);
    for session in engine.snapshot().sessions {
        assert_eq!(session.state, State::Down, "{session:?}");
    }
}

fn turn(engine: &mut Engine, now: Instant, outputs: &mut Vec<Output>) {
    engine.turn(now, outputs);
    let next = engine.next_deadline();
    assert!(next.is_none_or(|at| at > now), "it turns without end");
}

/// That whatever happens is answered by a few packets, each of which can be read.
fn check(outputs: &[Output]) {
    assert!(outputs.len() < 20, "{outputs:?}");
    for output in outputs {
        if let Output::Send { payload, .. } = output {
            assert!(Packet::decode(payload).is_ok(), "{payload:?}");
        }
    }
}

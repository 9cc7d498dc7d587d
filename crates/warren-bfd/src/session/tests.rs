mod pair;
mod table;
mod timers;

use super::*;

/// A packet of a peer that has heard this end.
pub(super) fn packet(state: State) -> Packet {
    Packet { your_discriminator: Discriminator::new(1), ..crate::packet::tests::packet(state) }
}

pub(super) fn timing(tx_millis: u32, rx_millis: u32, detect_mult: u8) -> Timing {
    Timing {
        desired_min_tx: Interval::from_millis(tx_millis),
        required_min_rx: Interval::from_millis(rx_millis),
        detect_mult: NonZeroU8::new(detect_mult).unwrap(),
    }
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All packets that the session sends now.
pub(super) fn sent(session: &mut Session, now: Instant) -> Vec<Packet> {
    std::iter::from_fn(|| session.transmit(now)).collect()
}

/// A session in this state.
pub(super) fn in_state(state: State, timing: Timing, now: Instant) -> Session {
    let mut session = Session::new(timing, Discriminator::new(1).unwrap(), 4, now);
    match state {
        State::Down => {}
        State::Init => drop(session.receive(&packet(State::Down), now)),
        State::Up => drop(session.receive(&packet(State::Init), now)),
        State::AdminDown => drop(session.admin_down(now)),
    }
    sent(&mut session, now);
    assert_eq!(session.state(), state);
    session
}

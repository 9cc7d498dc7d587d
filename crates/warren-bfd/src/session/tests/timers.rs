//! Intervals, the Poll Sequence, detection.

use super::*;

/// The times of the periodic packets from `start` to `end`, the peer keeping the session alive.
fn times(session: &mut Session, start: Instant, end: Instant) -> Vec<Instant> {
    let mut times = Vec::new();
    let mut now = start;
    while now < end {
        if !sent(session, now).is_empty() {
            times.push(now);
        }
        now += millis(1);
        assert_eq!(session.expire(now), None);
    }
    times
}

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_session_that_is_not_up_sends_no_more_than_a_packet_a_second_however_short_its_intervals() {
    let start = Instant::now();
    let mut session = Session::new(timing(10, 10, 3), Discriminator::MIN, 1, start);
    assert_eq!(session.transmit(start).unwrap().desired_min_tx, Interval::ONE_SECOND);
    let gaps = gaps(&times(&mut session, start, start + Duration::from_secs(60)));
    assert!(gaps.iter().all(|gap| *gap >= millis(750) && *gap <= millis(1001)), "{gaps:?}");
    assert_eq!(session.transmit_interval(), Some(Duration::from_secs(1)));
}

#[test]
fn when_it_comes_up_it_polls_for_its_own_interval_until_that_is_answered() {
    let start = Instant::now();
    let mut session = in_state(State::Init, Timing::default(), start);
    session.receive(&packet(State::Init), start).unwrap();
    let first = session.transmit(start).unwrap();
    assert_eq!(
        (first.state, first.poll, first.desired_min_tx),
        (State::Up, true, Interval::from_millis(300))
    );
    let again = session.transmit(start + millis(300)).unwrap();
    assert!(again.poll && !again.is_final);
    let answer = Packet { is_final: true, ..packet(State::Up) };
    session.receive(&answer, start + millis(310)).unwrap();
    let next = session.transmit(start + millis(700)).unwrap();
    assert!(!next.poll);
}

#[test]
fn a_poll_is_answered_at_once_and_not_with_another() {
    let start = Instant::now();
    let mut session = in_state(State::Up, Timing::default(), start);
    let poll = Packet { poll: true, ..packet(State::Up) };
    session.receive(&poll, start + millis(1)).unwrap();
    let answers = sent(&mut session, start + millis(1));
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].is_final && !answers[0].poll);
}

#[test]
fn both_ends_intervals_and_the_peers_multiplier_count() {
    let now = Instant::now();
    // Ours: tx, rx; theirs: tx, rx, multiplier; then the interval to send at, and to detect after.
    let table = [
        (300, 300, 300, 300, 3, 300, 900),
        (300, 300, 100, 50, 5, 300, 1500),
        (50, 20, 100, 200, 5, 200, 500),
        (1000, 10, 10, 10, 1, 1000, 10),
    ];
    for (tx, rx, their_tx, their_rx, mult, interval, detection) in table {
        let theirs = Packet {
            desired_min_tx: Interval::from_millis(their_tx),
            required_min_rx: Interval::from_millis(their_rx),
            detect_mult: NonZeroU8::new(mult).unwrap(),
            ..packet(State::Up)
        };
        let mut session = in_state(State::Up, timing(tx, rx, 3), now);
        session.receive(&theirs, now).unwrap();
        assert_eq!(session.transmit_interval(), Some(millis(interval)));
        assert_eq!(session.detection_time(), Some(millis(detection)));
        assert_eq!(session.expire(now + millis(detection) - millis(1)), None);
        assert!(session.expire(now + millis(detection)).is_some());
    }
}

#[test]
fn packets_keep_their_distance_but_for_jitter() {
    // With a multiplier of one a packet may not be so late that the next is missed.
    for (mult, shortest, longest) in [(3, 225, 300), (1, 225, 270)] {
        let start = Instant::now();
        let mut session = in_state(State::Up, timing(300, 300, mult), start);
        let theirs = Packet { detect_mult: NonZeroU8::MAX, ..packet(State::Up) };
        session.receive(&theirs, start).unwrap();
        sent(&mut session, start);
        let gaps = gaps(&times(&mut session, start, start + Duration::from_secs(70)));
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(*least >= millis(shortest) && *most <= millis(longest + 1), "{least:?} {most:?}");
        assert!(*most - *least > millis((longest - shortest) * 3 / 4), "{least:?} {most:?}");
    }
}

#[test]
fn while_up_packets_become_rarer_only_when_the_peer_has_agreed() {
    let start = Instant::now();
    let mut session = settled(start);
    session.reconfigure(timing(2000, 300, 3), start);
    let told = session.transmit(start).unwrap();
    assert!(told.poll);
    assert_eq!(told.desired_min_tx, Interval::from_millis(2000));
    assert_eq!(session.transmit_interval(), Some(millis(300)));
    session.receive(&Packet { is_final: true, ..packet(State::Up) }, start).unwrap();
    assert_eq!(session.transmit_interval(), Some(millis(2000)));
}

#[test]
fn while_up_patience_becomes_shorter_only_when_the_peer_has_agreed() {
    let start = Instant::now();
    let mut session = settled(start);
    session.reconfigure(timing(300, 50, 3), start);
    let fast = Packet { desired_min_tx: Interval::from_millis(10), ..packet(State::Up) };
    session.receive(&fast, start).unwrap();
    assert_eq!(session.transmit(start).unwrap().required_min_rx, Interval::from_millis(50));
    assert_eq!(session.detection_time(), Some(millis(900)));
    session.receive(&Packet { is_final: true, ..fast }, start).unwrap();
    assert_eq!(session.detection_time(), Some(millis(150)));
}

#[test]
fn sending_more_often_and_listening_longer_needs_no_agreement() {
    let start = Instant::now();
    let mut session = settled(start);
    session.reconfigure(timing(100, 600, 3), start);
    let theirs = Packet { required_min_rx: Interval::from_millis(10), ..packet(State::Up) };
    session.receive(&theirs, start).unwrap();
    assert_eq!(session.transmit_interval(), Some(millis(100)));
    assert_eq!(session.detection_time(), Some(millis(1800)));
    assert!(session.transmit(start).unwrap().poll, "but the peer is asked");
}

#[test]
fn a_change_waits_until_the_one_before_was_answered_and_a_packet_came_after_it() {
    let start = Instant::now();
    let mut session = settled(start);
    session.reconfigure(timing(400, 300, 3), start);
    session.reconfigure(timing(500, 300, 3), start);
    assert_eq!(session.transmit(start).unwrap().desired_min_tx, Interval::from_millis(400));
    session.receive(&Packet { is_final: true, ..packet(State::Up) }, start).unwrap();
    assert_eq!(session.transmit(start), None);
    session.receive(&packet(State::Up), start).unwrap();
    let next = session.transmit(start).unwrap();
    assert_eq!((next.desired_min_tx, next.poll), (Interval::from_millis(500), true));
}

#[test]
fn a_peer_that_can_take_more_gets_it_at_once() {
    let start = Instant::now();
    let mut session = settled(start);
    let slow = Packet { required_min_rx: Interval::from_millis(5000), ..packet(State::Up) };
    session.receive(&slow, start).unwrap();
    sent(&mut session, start + millis(300));
    assert!(session.send_at.unwrap() > start + millis(3000));
    let now = start + millis(500);
    session.receive(&packet(State::Up), now).unwrap();
    assert!(session.send_at.unwrap() <= start + millis(600));
}

#[test]
fn a_peer_that_wants_no_packets_gets_none_but_news() {
    let start = Instant::now();
    let mut session = settled(start);
    let deaf = Packet { required_min_rx: Interval::ZERO, ..packet(State::Up) };
    session.receive(&deaf, start).unwrap();
    assert_eq!(session.transmit_interval(), None);
    assert_eq!(session.transmit(start + millis(800)), None);
    session.path_down(start + millis(800));
    assert_eq!(sent(&mut session, start + millis(800)).len(), 1);
}

#[test]
fn a_peer_in_demand_mode_gets_no_periodic_packets_while_both_are_up_and_no_poll_goes_on() {
    let start = Instant::now();
    let mut session = settled(start);
    let demand = Packet { demand: true, ..packet(State::Up) };
    session.receive(&demand, start).unwrap();
    assert_eq!(session.transmit(start + millis(800)), None);
    assert_eq!(session.next_deadline(), Some(start + millis(900)), "it is still listened to");
    session.reconfigure(timing(400, 300, 3), start + millis(800));
    assert!(session.transmit(start + millis(800)).unwrap().poll);
    assert!(session.transmit(start + millis(1300)).unwrap().poll);
    assert!(!session.transmit(start + millis(1800)).unwrap().demand);
    session.expire(start + millis(1800));
    assert!(session.transmit(start + millis(1800)).is_some(), "one of them is down");
}

/// Up, with its own interval agreed on, and nothing to say.
fn settled(now: Instant) -> Session {
    let mut session = in_state(State::Up, Timing::default(), now);
    session.receive(&Packet { is_final: true, ..packet(State::Up) }, now).unwrap();
    session.receive(&packet(State::Up), now).unwrap();
    assert_eq!(session.transmit(now), None);
    session
}

//! Every state with every event.

use super::*;

#[derive(Debug, Clone, Copy)]
enum Event {
    Hears(State),
    Silence,
    PathDown,
    AdminDown,
}

#[test]
fn every_state_answers_every_event_as_the_rfc_says() {
    use Cause::{DetectionTimeExpired, NeighborAdminDown, NeighborSignaledDown, PathDown};
    use Event::Hears;
    use State::{AdminDown, Down, Init, Up};
    let down = |cause| Some(Change::Down(cause));
    // State, event, next state, diagnostic, what clients hear.
    let table = [
        (AdminDown, Hears(AdminDown), AdminDown, 7, None),
        (AdminDown, Hears(Down), AdminDown, 7, None),
        (AdminDown, Hears(Init), AdminDown, 7, None),
        (AdminDown, Hears(Up), AdminDown, 7, None),
        (AdminDown, Event::Silence, AdminDown, 7, None),
        (AdminDown, Event::PathDown, AdminDown, 7, None),
        (AdminDown, Event::AdminDown, AdminDown, 7, None),
        (Down, Hears(AdminDown), Down, 0, None),
        (Down, Hears(Down), Init, 0, None),
        (Down, Hears(Init), Up, 0, Some(Change::Up)),
        (Down, Hears(Up), Down, 0, None),
        (Down, Event::Silence, Down, 0, None),
        (Down, Event::PathDown, Down, 0, None),
        (Down, Event::AdminDown, AdminDown, 7, None),
        (Init, Hears(AdminDown), Down, 3, None),
        (Init, Hears(Down), Init, 0, None),
        (Init, Hears(Init), Up, 0, Some(Change::Up)),
        (Init, Hears(Up), Up, 0, Some(Change::Up)),
        (Init, Event::Silence, Down, 1, None),
        (Init, Event::PathDown, Down, 5, None),
        (Init, Event::AdminDown, AdminDown, 7, None),
        (Up, Hears(AdminDown), Down, 3, down(NeighborAdminDown)),
        (Up, Hears(Down), Down, 3, down(NeighborSignaledDown)),
        (Up, Hears(Init), Up, 0, None),
        (Up, Hears(Up), Up, 0, None),
        (Up, Event::Silence, Down, 1, down(DetectionTimeExpired)),
        (Up, Event::PathDown, Down, 5, down(PathDown)),
        (Up, Event::AdminDown, AdminDown, 7, down(Cause::AdminDown)),
    ];
    for (state, event, next, diagnostic, expected) in table {
        let start = Instant::now();
        let mut session = in_state(state, Timing::default(), start);
        let now = start + millis(10);
        let change = match event {
            Hears(theirs) => session.receive(&packet(theirs), now).unwrap_or_default(),
            Event::Silence => session.expire(start + Duration::from_secs(60)),
            Event::PathDown => session.path_down(now),
            Event::AdminDown => session.admin_down(now),
        };
        let after = (session.state(), session.diagnostic().code(), change);
        assert_eq!(after, (next, diagnostic, expected), "{state:?}, {event:?}");
        let is_told = sent(&mut session, now).iter().any(|packet| packet.state == next);
        assert!(is_told || state == next, "{state:?}, {event:?}: a new state is told at once");
    }
}

#[test]
fn only_what_says_that_the_peer_is_unreachable_is_a_failure() {
    assert!(Cause::DetectionTimeExpired.is_failure());
    assert!(Cause::NeighborSignaledDown.is_failure());
    assert!(Cause::PathDown.is_failure());
    assert!(!Cause::NeighborAdminDown.is_failure());
    assert!(!Cause::AdminDown.is_failure());
}

#[test]
fn an_authenticated_packet_changes_nothing() {
    let now = Instant::now();
    let mut session = in_state(State::Up, Timing::default(), now);
    let before = *session.remote();
    let packet = Packet { has_authentication: true, ..packet(State::Down) };
    assert_eq!(session.receive(&packet, now + millis(5)), Err(Discard::Authentication));
    assert_eq!((session.state(), *session.remote()), (State::Up, before));
    assert_eq!(session.expire(now + millis(899)), None);
    assert_eq!(
        session.expire(now + millis(900)),
        Some(Change::Down(Cause::DetectionTimeExpired)),
        "it does not count as a sign of life"
    );
}

#[test]
fn a_silent_peer_has_no_name_any_more() {
    let now = Instant::now();
    for state in [State::Down, State::Init, State::Up] {
        let mut session = in_state(state, Timing::default(), now);
        if state == State::Down {
            session.receive(&packet(State::Up), now).unwrap();
        }
        assert!(session.remote().discriminator.is_some());
        session.expire(now + Duration::from_secs(1));
        assert_eq!(session.remote(), &Remote::UNHEARD, "{state:?}");
        let later = now + Duration::from_secs(3);
        assert_eq!(session.transmit(later).unwrap().your_discriminator, None);
    }
}

#[test]
fn a_peer_is_told_of_admin_down_until_it_has_taken_note() {
    let start = Instant::now();
    let mut session = in_state(State::Up, Timing::default(), start);
    session.receive(&packet(State::Up), start).unwrap();
    session.admin_down(start);
    assert!(!session.is_over(start));
    assert_eq!(sent(&mut session, start).len(), 1);
    assert!(!session.is_over(start + millis(100)));
    let again = session.next_deadline().unwrap();
    assert!(again > start);
    let noted = session.receive(&packet(State::Down), start + millis(200));
    assert_eq!(noted, Err(Discard::AdministrativelyDown));
    assert!(session.is_over(start + millis(200)));
}

#[test]
fn a_peer_that_does_not_take_note_of_admin_down_is_told_for_its_detection_time() {
    let start = Instant::now();
    let mut session = in_state(State::Up, Timing::default(), start);
    session.receive(&packet(State::Up), start).unwrap();
    session.admin_down(start);
    let mut now = start;
    let mut packets = 0;
    while !session.is_over(now) {
        packets += sent(&mut session, now).len();
        // It still sends that it is Up.
        let _ = session.receive(&packet(State::Up), now);
        now += millis(10);
    }
    assert_eq!(now - start, Duration::from_secs(3));
    assert!((3..=5).contains(&packets), "{packets}");
}

#[test]
fn a_session_that_nobody_heard_of_is_over_at_once() {
    let now = Instant::now();
    let mut session = in_state(State::Down, Timing::default(), now);
    session.admin_down(now);
    sent(&mut session, now);
    assert!(session.is_over(now));
}

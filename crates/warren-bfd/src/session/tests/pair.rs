//! Two sessions on a simulated wire.

use fastrand::Rng;
use proptest::prelude::*;

use super::*;

/// A wire with delay and loss, two sessions at its ends, and a clock.
struct Wire {
    now: Instant,
    ends: [Session; 2],
    /// When it arrives, at which end, what.
    under_way: Vec<(Instant, usize, [u8; crate::packet::LENGTH])>,
    delay: Duration,
    random: Rng,
    /// Of a thousand packets, so many are lost, but never more than this in a row each way.
    loss: (u64, u32),
    lost_in_a_row: [u32; 2],
    is_cut: bool,
    changes: [Vec<Change>; 2],
}

impl Wire {
    fn new(timings: [Timing; 2], delay: Duration, loss: (u64, u32), seed: u64) -> Self {
        let now = Instant::now();
        let end = |index: u32, timing| {
            let name = Discriminator::new(index + 1).unwrap();
            Session::new(timing, name, seed.wrapping_add(index.into()), now)
        };
        let [a, b] = timings;
        Self {
            now,
            ends: [end(0, a), end(1, b)],
            under_way: Vec::new(),
            delay,
            random: Rng::with_seed(seed),
            loss,
            lost_in_a_row: [0; 2],
            is_cut: false,
            changes: [Vec::new(), Vec::new()],
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.flush();
        while let Some(next) = self.next_event().filter(|at| *at <= end) {
            self.now = next.max(self.now);
            let now = self.now;
            let (arrived, still): (Vec<_>, _) =
                self.under_way.drain(..).partition(|(at, ..)| *at <= now);
            self.under_way = still;
            for (_, to, octets) in arrived {
                let packet = Packet::decode(&octets).unwrap();
                let change = self.ends[to].receive(&packet, now).unwrap_or_default();
                self.changes[to].extend(change);
            }
            for (end, changes) in self.ends.iter_mut().zip(&mut self.changes) {
                changes.extend(end.expire(now));
            }
            self.flush();
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Instant> {
        let deadlines = self.ends.iter().filter_map(Session::next_deadline);
        deadlines.chain(self.under_way.iter().map(|(at, ..)| *at)).min()
    }

    fn flush(&mut self) {
        for from in 0..2 {
            for packet in sent(&mut self.ends[from], self.now) {
                let (per_mille, in_a_row) = self.loss;
                let is_lost =
                    self.random.u64(..1000) < per_mille && self.lost_in_a_row[from] < in_a_row;
                self.lost_in_a_row[from] = if is_lost { self.lost_in_a_row[from] + 1 } else { 0 };
                if !is_lost && !self.is_cut {
                    self.under_way.push((self.now + self.delay, 1 - from, packet.encode()));
                }
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }
}

fn any_timing() -> impl Strategy<Value = Timing> {
    (10..2000_u32, 10..2000_u32, 2..10_u8).prop_map(|(tx, rx, mult)| timing(tx, rx, mult))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn two_ends_come_up_agree_and_stay_up_while_fewer_packets_are_lost_than_the_multiplier(
        a in any_timing(), b in any_timing(), seed: u64, per_mille in 0..600_u64, delay in 0..5_u64,
    ) {
        let in_a_row = u32::from(a.detect_mult.min(b.detect_mult).get() - 1);
        let mut wire = Wire::new([a, b], millis(delay), (per_mille, in_a_row), seed);
        wire.run(Duration::from_secs(120));
        prop_assert_eq!(wire.states(), [State::Up; 2]);
        prop_assert_eq!(&wire.changes, &[[Change::Up], [Change::Up]]);
        for (index, (mine, theirs)) in [(a, b), (b, a)].into_iter().enumerate() {
            let interval = mine.desired_min_tx.max(theirs.required_min_rx).as_duration();
            prop_assert_eq!(wire.ends[index].transmit_interval(), Some(interval));
            let heard = mine.required_min_rx.max(theirs.desired_min_tx).as_duration();
            let detection = heard * u32::from(theirs.detect_mult.get());
            prop_assert_eq!(wire.ends[index].detection_time(), Some(detection));
        }
    }

    #[test]
    fn a_cut_wire_is_noticed_by_both_within_their_detection_time_and_mended_they_come_back(
        a in any_timing(), b in any_timing(), seed: u64,
    ) {
        let mut wire = Wire::new([a, b], millis(1), (0, 0), seed);
        wire.run(Duration::from_secs(60));
        prop_assert_eq!(wire.states(), [State::Up; 2]);
        let detection = wire.ends.iter().filter_map(Session::detection_time).max().unwrap();
        wire.is_cut = true;
        wire.run(detection + millis(2));
        prop_assert_eq!(wire.states(), [State::Down; 2]);
        wire.run(Duration::from_secs(30));
        wire.is_cut = false;
        wire.run(Duration::from_secs(60));
        prop_assert_eq!(wire.states(), [State::Up; 2]);
    }

    #[test]
    fn an_end_that_starts_anew_is_noticed_by_the_other_and_both_come_back(
        a in any_timing(), b in any_timing(), seed: u64,
    ) {
        let mut wire = Wire::new([a, b], millis(1), (0, 0), seed);
        wire.run(Duration::from_secs(60));
        let name = Discriminator::new(99).unwrap();
        wire.ends[0] = Session::new(a, name, seed, wire.now);
        wire.run(Duration::from_secs(60));
        prop_assert_eq!(wire.states(), [State::Up; 2]);
        let down = Change::Down(Cause::NeighborSignaledDown);
        prop_assert_eq!(&wire.changes[1], &[Change::Up, down, Change::Up]);
    }

    #[test]
    fn other_parameters_while_up_are_agreed_on_without_a_flap(
        a in any_timing(), b in any_timing(), c in any_timing(), d in any_timing(), seed: u64,
        pause in 0..3000_u64,
    ) {
        let mut wire = Wire::new([a, b], millis(1), (0, 0), seed);
        wire.run(Duration::from_secs(60));
        wire.ends[0].reconfigure(c, wire.now);
        wire.run(millis(pause));
        wire.ends[1].reconfigure(d, wire.now);
        wire.ends[0].reconfigure(b, wire.now);
        wire.run(Duration::from_secs(60));
        prop_assert_eq!(&wire.changes, &[[Change::Up], [Change::Up]]);
        for (index, (mine, theirs)) in [(b, d), (d, b)].into_iter().enumerate() {
            let interval = mine.desired_min_tx.max(theirs.required_min_rx).as_duration();
            prop_assert_eq!(wire.ends[index].transmit_interval(), Some(interval));
        }
    }

    #[test]
    fn an_end_that_goes_admin_down_tells_the_other_and_is_over(seed: u64, delay in 0..50_u64) {
        let mut wire = Wire::new([Timing::default(); 2], millis(delay), (0, 0), seed);
        wire.run(Duration::from_secs(10));
        wire.ends[0].admin_down(wire.now);
        wire.run(millis(delay * 2 + 1));
        prop_assert!(wire.ends[0].is_over(wire.now));
        let down = Change::Down(Cause::NeighborAdminDown);
        prop_assert_eq!(&wire.changes[1], &[Change::Up, down]);
    }

    #[test]
    fn whatever_a_peer_sends_whenever_the_session_goes_on(
        steps in prop::collection::vec((any::<[u8; 24]>(), 0..2000_u64), 0..200), seed: u64,
    ) {
        let mut now = Instant::now();
        let mut session = Session::new(Timing::default(), Discriminator::MIN, seed, now);
        for (mut octets, pause) in steps {
            (octets[0], octets[3]) = (0x20 | octets[0] & 0x1f, 24);
            octets[1] &= 0xfa;
            now += millis(pause);
            session.expire(now);
            if let Ok(packet) = Packet::decode(&octets) {
                let _ = session.receive(&packet, now);
            }
            prop_assert!(sent(&mut session, now).len() <= 2);
            // Time goes on: there is always something to come, and it is not in the past.
            prop_assert!(session.next_deadline().is_none_or(|at| at > now));
        }
    }
}

//! What the file says of BFD.

use std::num::NonZeroU8;

use serde::Deserialize;
use warren_bfd::Timing;
use warren_bfd::packet::Interval;

/// The intervals that can be asked for, in milliseconds. Below, a busy machine flaps; above, the hold
/// timer is as good.
const INTERVALS: std::ops::RangeInclusive<u32> = 10..=60_000;

/// BFD in general, or with a peer: what is missing there is as in general.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BfdConfig {
    /// Whether it runs; by default it does within the mesh and does not with others.
    pub enabled: Option<bool>,
    /// How often to send, in milliseconds (bfd.DesiredMinTxInterval).
    pub transmit_interval_milliseconds: Option<u32>,
    /// How often the peer may send, in milliseconds (bfd.RequiredMinRxInterval).
    pub receive_interval_milliseconds: Option<u32>,
    /// How many packets in a row the peer must miss until it gives this node up.
    pub detect_multiplier: Option<u8>,
    /// Whether there are routers on the way (RFC 5883); by default, where the peer is in no network
    /// that this node is in.
    pub multihop: Option<bool>,
}

impl BfdConfig {
    /// What holds for a peer for which the file says `own`.
    pub fn with(&self, own: Option<&Self>) -> Self {
        let Some(own) = own else { return self.clone() };
        Self {
            enabled: own.enabled.or(self.enabled),
            transmit_interval_milliseconds: own
                .transmit_interval_milliseconds
                .or(self.transmit_interval_milliseconds),
            receive_interval_milliseconds: own
                .receive_interval_milliseconds
                .or(self.receive_interval_milliseconds),
            detect_multiplier: own.detect_multiplier.or(self.detect_multiplier),
            multihop: own.multihop.or(self.multihop),
        }
    }

    /// What to ask a peer for.
    pub fn timing(&self) -> Timing {
        let default = Timing::default();
        let interval = |millis: Option<u32>, default| millis.map_or(default, Interval::from_millis);
        Timing {
            desired_min_tx: interval(self.transmit_interval_milliseconds, default.desired_min_tx),
            required_min_rx: interval(self.receive_interval_milliseconds, default.required_min_rx),
            detect_mult: self
                .detect_multiplier
                .and_then(NonZeroU8::new)
                .unwrap_or(default.detect_mult),
        }
    }

    /// Finds what cannot work; `key` is where it stands.
    pub(super) fn check(&self, key: &str) -> Result<(), String> {
        let intervals = [
            ("transmitIntervalMilliseconds", self.transmit_interval_milliseconds),
            ("receiveIntervalMilliseconds", self.receive_interval_milliseconds),
        ];
        for (name, millis) in intervals {
            if let Some(millis) = millis.filter(|millis| !INTERVALS.contains(millis)) {
                let (least, most) = (INTERVALS.start(), INTERVALS.end());
                return Err(format!(
                    "{key}.{name}: {millis} is not allowed: use {least} to {most}"
                ));
            }
        }
        if let Some(mult @ (0 | 1)) = self.detect_multiplier {
            return Err(format!(
                "{key}.detectMultiplier: {mult} would have a single lost packet end the session: \
                 use 2 to 255"
            ));
        }
        Ok(())
    }
}

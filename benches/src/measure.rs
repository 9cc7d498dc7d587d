//! Rounds of ADD and DEL.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::nodes::Namespace;
use crate::plugin::{Call, Contestant};
use crate::statistics::Sample;

/// What one plugin took.
#[derive(Default)]
pub struct Outcome {
    /// The times of its ADDs.
    pub add: Sample,
    /// The times of its DELs.
    pub del: Sample,
}

/// The pods that come and go. A namespace is as new after a DEL, so each is used again: making and
/// ending namespaces would be what is measured otherwise, for the kernel does the latter meanwhile.
pub struct Pods(Vec<Namespace>);

impl Pods {
    /// As many as this.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(count: usize) -> Result<Self> {
        (0..count).map(|_| Namespace::new()).collect::<Result<_>>().map(Self)
    }

    /// Connects all of them, one after the other, for good.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn settle(&self, contestant: &Contestant) -> Result<()> {
        for (i, pod) in self.0.iter().enumerate() {
            contestant.call(&Call { number: 1000 + i, verb: "ADD", pod })?;
        }
        Ok(())
    }
}

/// Adds and deletes all of `pods` at once with every plugin in turn, `rounds` times. A machine that is
/// slow for a while is slow for all of them.
///
/// # Errors
/// A plugin failed.
pub fn measure(contestants: &[Contestant], pods: &Pods, rounds: usize) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = contestants.iter().map(|_| Outcome::default()).collect();
    for _ in 0..rounds {
        for (contestant, outcome) in contestants.iter().zip(&mut outcomes) {
            all_at_once(contestant, pods, "ADD")?.into_iter().for_each(|t| outcome.add.push(t));
            all_at_once(contestant, pods, "DEL")?.into_iter().for_each(|t| outcome.del.push(t));
        }
    }
    Ok(outcomes)
}

fn all_at_once(contestant: &Contestant, pods: &Pods, verb: &str) -> Result<Vec<Duration>> {
    let start = Barrier::new(pods.0.len());
    let start = &start;
    thread::scope(|scope| {
        let call = |(number, pod)| {
            start.wait();
            contestant.call(&Call { number, verb, pod })
        };
        let threads: Vec<_> =
            pods.0.iter().enumerate().map(|each| scope.spawn(move || call(each))).collect();
        let ended =
            threads.into_iter().map(|t| t.join().map_err(|_| anyhow!("it has panicked"))?);
        ended.collect()
    })
}

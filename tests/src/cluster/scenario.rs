//! Scenarios in sequence, on one cluster.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

use super::Cluster;
use crate::trial::panic_message;

/// A scenario: it fails by an error or a panic. It brings about itself what it needs, which costs
/// nothing where an earlier one has done so.
pub type Scenario = fn(&mut Cluster) -> Result<()>;

/// The cluster that all scenarios have, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    /// Nobody has asked for it.
    #[default]
    None,
    /// All was well so far.
    Running(Box<Cluster>),
    /// In the state that a failed scenario left it in, or gone.
    Failed,
}

impl Shared {
    /// A scenario as a test of this name, which is a sentence. When it fails, the message says what
    /// the cluster was like, and those after it fail at once.
    pub fn trial(&self, name: &str, scenario: Scenario) -> Trial {
        let state = self.0.clone();
        Trial::test(name, move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            run(&mut state, scenario).map_err(Failed::from)
        })
    }
}

fn run(state: &mut State, scenario: Scenario) -> Result<(), String> {
    let mut cluster = match std::mem::replace(state, State::Failed) {
        State::Running(cluster) => cluster,
        State::None => Box::new(Cluster::new().map_err(|error| format!("{error:#}"))?),
        State::Failed => return Err("an earlier one failed and has left the cluster".to_owned()),
    };
    let problem = match catch_unwind(AssertUnwindSafe(|| scenario(&mut cluster))) {
        Ok(Ok(())) => {
            *state = State::Running(cluster);
            return Ok(());
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => panic_message(&*panic),
    };
    Err(format!("{problem}\n\n{}", cluster.report()))
}

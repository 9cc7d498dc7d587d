//! Scenarios as tests.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Error, Result};
use libtest_mimic::{Failed, Trial};

use crate::lab::Lab;

/// A scenario: it fails by an error or a panic.
pub type Scenario = fn(&Lab) -> Result<()>;

/// A scenario as a test of this name, which is a sentence. It gets a lab of its own; when it fails,
/// the message says what the lab was like.
pub fn trial(name: &str, scenario: Scenario) -> Trial {
    Trial::test(name, move || run(scenario))
}

fn run(scenario: Scenario) -> Result<(), Failed> {
    let lab = Lab::new().map_err(describe)?;
    let result = catch_unwind(AssertUnwindSafe(|| scenario(&lab)));
    let problem = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => panic_message(&*panic),
    };
    Err(Failed::from(format!("{problem}\n\n{}", lab.report())))
}

/// What somebody said who panicked.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => panic.downcast_ref::<&str>().copied().unwrap_or("it panicked").to_owned(),
    }
}

fn describe(error: Error) -> Failed {
    Failed::from(format!("{error:#}"))
}

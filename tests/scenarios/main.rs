//! The scenarios: what operators describe, reproduced with the real programs. `tests` says how the lab
//! that they run in is made.

mod bad_input;
mod blocked;
mod main_job;
mod nodes;
mod oracle;
mod restart;

use libtest_mimic::Arguments;
use tests::environment::{Input, enter};

fn main() {
    let arguments = Arguments::from_args();
    // A list needs no lab.
    if !arguments.list
        && let Err(error) = enter(Input::None)
    {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    let families = [
        oracle::trials(),
        main_job::trials(),
        nodes::trials(),
        restart::trials(),
        blocked::trials(),
        bad_input::trials(),
    ];
    let trials = families.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}

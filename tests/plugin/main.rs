//! The plugin under crashes, damage, load and foreign callers: the real executable, called as
//! container runtimes call it, on a node of the lab.
//!
//! | family | what happens |
//! | --- | --- |
//! | [`kills`] | it is killed at every system call of a command in turn |
//! | [`faults`] | every system call of a command fails in turn |
//! | [`crowd`] | twenty at a time, and a thousand of them killed at random |
//! | [`state`] | the files of the run directory are damaged or replaced |
//! | [`limits`] | full blocks, many pods, long and odd input |
//! | [`callers`] | containerd and podman call it, alone and among other plugins |
//!
//! Nothing here needs a tunnel, so it all runs on the kernel that is there. What a single command
//! does when nothing goes wrong is tested in `cni-plugin/tests`.

mod callers;
mod crowd;
mod damage;
mod engines;
mod faults;
mod kills;
mod limits;
mod registers;
mod runtime;
mod state;
mod traced;

use libtest_mimic::Arguments;
use tests::environment::enter_without_tunnel;

fn main() {
    let arguments = Arguments::from_args();
    // A list needs no lab.
    if !arguments.list
        && let Err(error) = enter_without_tunnel(&engines::PROGRAMS)
    {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    let families = [
        kills::trials(),
        faults::trials(),
        crowd::trials(),
        state::trials(),
        limits::trials(),
        callers::trials(),
    ];
    let trials = families.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}

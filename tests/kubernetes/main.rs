//! The scenarios of a Kubernetes cluster, with a real API server, real kubelets and a real containerd.
//! They come one after the other on one cluster; `tests::cluster` says how it is made.

mod api_server;
mod blocked;
mod cleanup;
mod install;
mod many_pods;
mod nodes;
mod restart;

use libtest_mimic::Arguments;
use tests::cluster::scenario::Shared;
use tests::environment::cluster::enter;

fn main() {
    let mut arguments = Arguments::from_args();
    // A list needs no cluster.
    if !arguments.list
        && let Err(error) = enter()
    {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    arguments.test_threads = Some(1);
    let cluster = Shared::default();
    let families = [
        install::trials(&cluster),
        many_pods::trials(&cluster),
        restart::trials(&cluster),
        blocked::trials(&cluster),
        api_server::trials(&cluster),
        nodes::trials(&cluster),
        cleanup::trials(&cluster),
    ];
    let trials = families.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}

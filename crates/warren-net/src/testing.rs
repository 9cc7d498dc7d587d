//! Network namespaces for tests: each test has its own, so they may all run at once.

use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::namespace::Namespace;

/// Runs a test in a network namespace of its own, empty but for `lo`, on a thread of its own.
pub(crate) fn isolated<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let name = thread::current().name().unwrap_or("isolated").to_string();
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name).spawn_scoped(scope, || {
            enter_new();
            test()
        });
        match thread.unwrap().join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A further network namespace, empty but for `lo`. It goes with the value.
pub(crate) fn namespace() -> Namespace {
    isolated(|| Namespace::current().unwrap())
}

fn enter_new() {
    unshare(CloneFlags::CLONE_NEWNET)
        .expect("this test makes network namespaces: run it as root (CAP_SYS_ADMIN)");
}

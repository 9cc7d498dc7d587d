//! Network namespaces for tests: each test has its own, so they may all run at once. `ip` sets the
//! scene there and is the witness.

use std::process::{Command, Output};
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

/// Runs `ip` with these words in the calling thread's namespace.
pub(crate) fn try_ip(words: &str) -> Output {
    Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .expect("these tests need the command ip: install iproute2")
}

/// As [`try_ip`], and it must work: what it printed, its lines trimmed.
pub(crate) fn ip(words: &str) -> String {
    let output = try_ip(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {errors}");
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;
use crate::testing::{isolated, namespace};

/// The sentence with which `path` is refused.
fn refusal(path: impl Into<PathBuf>) -> String {
    Namespace::open(path).unwrap_err().to_string()
}

#[test]
fn what_is_no_network_namespace_is_refused_with_a_sentence_that_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").unwrap();
    mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
    let shown = directory.path().display();

    assert_eq!(refusal(at("absent")), format!("network namespace {shown}/absent does not exist"));
    assert_eq!(
        refusal(at("file")),
        format!("{shown}/file is an ordinary file, not a network namespace")
    );
    assert_eq!(refusal(at("pipe")), format!("{shown}/pipe is a pipe, not a network namespace"));
    assert_eq!(
        refusal(directory.path()),
        format!("{shown} is a directory, not a network namespace")
    );
    assert_eq!(refusal("/dev/null"), "/dev/null is a device, not a network namespace");
    assert_eq!(
        refusal("/proc/self/ns/mnt"),
        "/proc/self/ns/mnt is a mount namespace, not a network namespace"
    );
    assert_eq!(
        refusal("/proc/self/ns/pid"),
        "/proc/self/ns/pid is a pid namespace, not a network namespace"
    );
    assert_eq!(
        refusal(at("file").join("below")),
        format!("cannot open network namespace {shown}/file/below: Not a directory (os error 20)")
    );
}

#[test]
fn a_namespace_knows_whether_the_calling_thread_is_in_it() {
    isolated(|| {
        let own = Namespace::current().unwrap();
        let other = namespace();
        assert!(own.is_current().unwrap());
        assert!(!other.is_current().unwrap());
    });
}

#[test]
fn the_thread_is_back_in_its_own_namespace_afterwards_even_after_a_panic() {
    isolated(|| {
        let own = Namespace::current().unwrap();
        let other = namespace();
        assert!(other.within(|| other.is_current().unwrap()).unwrap());
        assert!(own.is_current().unwrap());

        let panic = std::panic::catch_unwind(|| other.within(|| panic!("this panic is expected")));
        assert!(panic.is_err());
        assert!(own.is_current().unwrap());
    });
}

#[test]
fn other_threads_stay_where_they_are() {
    isolated(|| {
        let own = Namespace::current().unwrap();
        let other = namespace();
        std::thread::scope(|scope| {
            let (ask, asked) = std::sync::mpsc::channel();
            let (answer, answered) = std::sync::mpsc::channel();
            scope.spawn(move || {
                asked.recv().unwrap();
                answer.send(own.is_current().unwrap()).unwrap();
            });
            let stayed = other.within(|| {
                ask.send(()).unwrap();
                answered.recv().unwrap()
            });
            assert!(stayed.unwrap());
        });
    });
}

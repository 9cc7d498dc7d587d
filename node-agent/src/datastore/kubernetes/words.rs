//! What went wrong with the API server, in words for people: the client's own name its types and print
//! whole objects.

use std::error::Error;

use kube::runtime::watcher;

/// Why a request failed.
pub fn request(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        kube::Error::Service(error) => chain(error.as_ref()),
        error => chain(error),
    }
}

/// Why the nodes could not be followed.
pub fn watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => {
            format!("cannot list the nodes: {}", request(error))
        }
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            format!("cannot watch the nodes: {}", request(error))
        }
        watcher::Error::WatchError(status) => {
            format!("cannot watch the nodes: {} ({})", status.message, status.code)
        }
        error @ watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

//! Errors of the kernel as an operator reads them.

use std::io;

/// `Connection refused (os error 111)` as `connection refused`.
pub(crate) fn of(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.rfind(" (os error ") {
        Some(end) => text.get(..end).unwrap_or(&text),
        None => &text,
    };
    // "No route to host" starts a sentence; "SIGPIPE" or "TLS" would not.
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_goes_and_the_sentence_starts_small() {
        for (error, words) in [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(113), "no route to host"),
            (io::Error::from_raw_os_error(24), "too many open files"),
            (io::Error::other("TLS is not for BGP"), "TLS is not for BGP"),
            (io::Error::other(""), ""),
        ] {
            assert_eq!(of(&error), words);
        }
    }
}

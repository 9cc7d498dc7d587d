//! Waiting for what takes its time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long the lab waits for what should come within moments. Generous: an emulated processor is
/// slow, and a limit that a loaded machine can reach would make tests fail by chance.
pub const SOON: Duration = Duration::from_secs(60);

/// How long it pauses between looks: twice as long as a look has taken, for what is waited for needs the
/// processor too, within these limits.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Looks again and again until there is no error, and returns what was seen then.
///
/// # Errors
/// When `limit` has passed: the last error, so that it tells what was seen instead.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let began = Instant::now();
        match look() {
            Ok(seen) => return Ok(seen),
            Err(last) if Instant::now() >= deadline => {
                return Err(last)
                    .with_context(|| format!("not within {} s: {what}", limit.as_secs()));
            }
            Err(_) => {
                let pause = began.elapsed() * 2;
                std::thread::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
            }
        }
    }
}

//! What processes take, by /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{PATIENCE, until};

/// Processes that are measured together.
pub struct Processes(Vec<u32>);

impl Processes {
    /// Those of these numbers.
    pub fn new(numbers: Vec<u32>) -> Self {
        Self(numbers)
    }

    /// The CPU time that all their threads have had, the kernel's work for them included. A thread
    /// that has ended is not counted any more.
    ///
    /// # Errors
    /// One of the processes has ended.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for process in &self.0 {
            let threads = fs::read_dir(format!("/proc/{process}/task"));
            for thread in threads.context("the contestant has ended")? {
                let text = fs::read_to_string(thread?.path().join("schedstat"))?;
                let ran: u64 = text.split(' ').next().unwrap_or_default().parse()?;
                nanoseconds += ran;
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The most memory that they have had, in megabytes.
    ///
    /// # Errors
    /// One of the processes has ended.
    pub fn peak_memory(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// The memory that they have now, in megabytes.
    ///
    /// # Errors
    /// One of the processes has ended.
    pub fn memory(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> Result<f64> {
        let mut kilobytes = 0.0;
        for process in &self.0 {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next());
            kilobytes += number.context("the contestant has ended")?.parse::<f64>()?;
        }
        Ok(kilobytes / 1024.0)
    }

    /// Waits until they do next to nothing any more.
    ///
    /// # Errors
    /// They do not come to rest.
    pub fn settle(&self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(300);
        let mut before = None;
        until(PATIENCE, PAUSE, || {
            let now = self.cpu()?;
            let is_quiet = before.is_some_and(|before| now - before < PAUSE / 100);
            before = Some(now);
            Ok(is_quiet)
        })
        .context("the contestant does not come to rest")
    }

    /// How many IPv4 routes the kernel has in their network namespace.
    ///
    /// # Errors
    /// The first process has ended.
    pub fn kernel_routes(&self) -> Result<u64> {
        let process = self.0.first().context("the contestant has no process")?;
        let text = fs::read_to_string(format!("/proc/{process}/net/fib_triestat"))?;
        let main = text.split("Main:").nth(1).unwrap_or_default();
        let line = main.lines().find_map(|line| line.trim().strip_prefix("Prefixes:"));
        Ok(line.context("no main table")?.trim().parse()?)
    }

    /// How many routes to destinations in 10.0.0.0/8 the kernel has there, through a card.
    ///
    /// # Errors
    /// The first process has ended.
    pub fn routes_through_a_card(&self) -> Result<u64> {
        let process = self.0.first().context("the contestant has no process")?;
        let text = fs::read_to_string(format!("/proc/{process}/net/route"))?;
        // Interface and destination, this in the machine's byte order; a blackhole has no interface.
        let is_one = |line: &&str| {
            let mut words = line.split_whitespace();
            words.next() == Some("eth0")
                && words
                    .next()
                    .and_then(|it| u32::from_str_radix(it, 16).ok())
                    .is_some_and(|it| it.to_ne_bytes()[0] == 10)
        };
        Ok(text.lines().filter(is_one).count() as u64)
    }
}

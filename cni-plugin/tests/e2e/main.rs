//! The real executable, called as a runtime calls it, in network namespaces of its own.
// `cfg(test)` holds for all of this; clippy wants to see it where helpers of tests may panic.

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod check;
#[cfg(test)]
mod conflist;
#[cfg(test)]
mod families;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod parallel;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telling;

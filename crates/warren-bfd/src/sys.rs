//! The system calls that no safe library offers.
#![expect(unsafe_code, reason = "scheduling parameters of a thread have no safe wrapper")]

use std::io;

/// Has the calling thread run before all ordinary ones whenever it has something to do
/// (SCHED_FIFO, lowest priority). Takes CAP_SYS_NICE.
///
/// By pthread_setschedparam(3), because musl's sched_setscheduler(2) is a stub that refuses.
pub(crate) fn run_in_real_time() -> io::Result<()> {
    // SAFETY: all fields of sched_param are integers, for which zero is a value; musl has some
    // more of them than sched_priority.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 1;
    // SAFETY: pthread_self is always valid for the thread that calls it, and the parameters outlive
    // the call, which only reads them.
    let error = unsafe {
        libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_FIFO, &raw const parameters)
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Has the calling thread get more of the processor than ordinary ones. Takes CAP_SYS_NICE.
pub(crate) fn run_with_niceness(niceness: libc::c_int) -> io::Result<()> {
    // SAFETY: takes three integers; 0 means the calling thread on Linux.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

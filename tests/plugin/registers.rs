//! The registers that a system call is made with: the one thing in tracing that each processor has its
//! own of.

#[cfg(target_arch = "aarch64")]
pub use aarch64::Registers;
#[cfg(target_arch = "x86_64")]
pub use x86_64::Registers;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use anyhow::{Context, Result};
    use nix::errno::Errno;
    use nix::libc::user_regs_struct;
    use nix::sys::ptrace;
    use nix::unistd::Pid;

    /// Those of a process that stands at a system call.
    pub struct Registers {
        pid: Pid,
        values: user_regs_struct,
    }

    impl Registers {
        pub fn of(pid: Pid) -> Result<Self> {
            let values = ptrace::getregs(pid).context("cannot read the plugin's registers")?;
            Ok(Self { pid, values })
        }

        /// Number and arguments, before the call.
        pub fn call(&self) -> (i64, [u64; 6]) {
            let user_regs_struct { orig_rax, rdi, rsi, rdx, r10, r8, r9, .. } = self.values;
            (orig_rax.cast_signed(), [rdi, rsi, rdx, r10, r8, r9])
        }

        /// Before the call: none is made.
        pub fn make_no_call(mut self) -> Result<()> {
            self.values.orig_rax = u64::MAX;
            self.write()
        }

        /// After the call: what it returns.
        pub fn return_error(mut self, error: Errno) -> Result<()> {
            self.values.rax = (-i64::from(error as i32)).cast_unsigned();
            self.write()
        }

        fn write(self) -> Result<()> {
            ptrace::setregs(self.pid, self.values).context("cannot write the plugin's registers")
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use anyhow::{Context, Result};
    use nix::errno::Errno;
    use nix::libc::user_regs_struct;
    use nix::unistd::Pid;

    use super::sys;

    /// Those of a process that stands at a system call.
    pub struct Registers {
        pid: Pid,
        values: user_regs_struct,
    }

    impl Registers {
        pub fn of(pid: Pid) -> Result<Self> {
            let values = sys::registers(pid).context("cannot read the plugin's registers")?;
            Ok(Self { pid, values })
        }

        /// Number and arguments, before the call.
        pub fn call(&self) -> (i64, [u64; 6]) {
            let [x0, x1, x2, x3, x4, x5, _, _, x8, ..] = self.values.regs;
            (x8.cast_signed(), [x0, x1, x2, x3, x4, x5])
        }

        /// Before the call: none is made. What the kernel goes by is not the register any more.
        pub fn make_no_call(self) -> Result<()> {
            sys::set_system_call(self.pid, -1).context("cannot change the plugin's system call")
        }

        /// After the call: what it returns.
        pub fn return_error(mut self, error: Errno) -> Result<()> {
            self.values.regs[0] = (-i64::from(error as i32)).cast_unsigned();
            sys::set_registers(self.pid, self.values).context("cannot write the plugin's registers")
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod sys {
    //! ptrace's register sets, which nix has with the GNU C library only, and without that of the
    //! system call's number.
    #![expect(unsafe_code, reason = "a system call that neither std nor nix offers here")]

    use std::ffi::c_int;
    use std::ptr;

    use nix::errno::Errno;
    use nix::libc::{self, iovec, user_regs_struct};
    use nix::unistd::Pid;

    /// The set of the number of the system call that is about to be made (linux/elf.h).
    const NT_ARM_SYSTEM_CALL: c_int = 0x404;

    /// The general registers of a process that has stopped.
    pub fn registers(pid: Pid) -> nix::Result<user_regs_struct> {
        let mut values = user_regs_struct { regs: [0; 31], sp: 0, pc: 0, pstate: 0 };
        let mut memory = memory_of(&mut values);
        // SAFETY: the kernel writes at most as many octets as `memory` says, which are all of `values`,
        // and any octets are a value of it.
        let result = unsafe {
            libc::ptrace(
                libc::PTRACE_GETREGSET,
                pid.as_raw(),
                libc::NT_PRSTATUS,
                ptr::from_mut(&mut memory),
            )
        };
        Errno::result(result).map(|_| values)
    }

    pub fn set_registers(pid: Pid, mut values: user_regs_struct) -> nix::Result<()> {
        set(pid, libc::NT_PRSTATUS, memory_of(&mut values))
    }

    pub fn set_system_call(pid: Pid, mut number: c_int) -> nix::Result<()> {
        set(pid, NT_ARM_SYSTEM_CALL, memory_of(&mut number))
    }

    fn set(pid: Pid, which: c_int, mut memory: iovec) -> nix::Result<()> {
        // SAFETY: the kernel reads at most as many octets as `memory` says, which its callers made of a
        // value that they own.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_SETREGSET, pid.as_raw(), which, ptr::from_mut(&mut memory))
        };
        Errno::result(result).map(drop)
    }

    fn memory_of<T>(value: &mut T) -> iovec {
        iovec { iov_base: ptr::from_mut(value).cast(), iov_len: size_of::<T>() }
    }
}

//! The CPU time of the process that is measured.

use crate::args::Result;
use std::mem::zeroed;

/// User and system time of all threads of a process, ended ones included. `/proc/PID/stat` shows the same in
/// steps of 10 ms, too coarse for a second in which an engine needs 40 ms.
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub fn of(pid: u64) -> Result<CpuClock> {
        let mut clock: libc::clockid_t = 0;
        // SAFETY: the only pointer is to a variable that outlives the call.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
            0 => Ok(CpuClock(clock)),
            error => Err(std::io::Error::from_raw_os_error(error).into()),
        }
    }

    /// Seconds so far; fails when the process is gone.
    pub fn seconds(&self) -> Result<f64> {
        // SAFETY: a timespec consists of integers, for which zero is a value; the call writes only to it.
        let (status, time) = unsafe {
            let mut time: libc::timespec = zeroed();
            (libc::clock_gettime(self.0, &mut time), time)
        };
        match status {
            0 => Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9),
            _ => Err("the measured process is gone".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_grows_with_work() {
        let clock = CpuClock::of(std::process::id() as u64).unwrap();
        let before = clock.seconds().unwrap();
        let sum: u64 = std::hint::black_box((0..5_000_000u64).map(std::hint::black_box).sum());
        assert!(sum > 0 && clock.seconds().unwrap() > before);
    }

    #[test]
    fn a_process_that_ended_has_no_clock() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(CpuClock::of(child.id() as u64).and_then(|clock| clock.seconds()).is_err());
    }
}

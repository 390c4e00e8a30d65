//! Network namespaces without a name: nobody else sees them, and they end with the process, however it ends.

use crate::{system, Result};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;

pub struct Namespace(File);

impl Namespace {
    pub fn new() -> Result<Namespace> {
        // The namespace outlives the thread because the file refers to it.
        let file = joined(thread::spawn(|| -> Result<File> {
            // SAFETY: no memory is involved; the thread leaves its network namespace and nothing else.
            system(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        }))?;
        let namespace = Namespace(file);
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs something on a thread inside the namespace; sockets and processes made there stay in it.
    pub fn run<Value: Send>(&self, inside: impl FnOnce() -> Result<Value> + Send) -> Result<Value> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: as above; the descriptor is that of a network namespace.
                system(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) })?;
                inside()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// `ip` with these words.
    pub fn ip(&self, words: &str) -> Result<()> {
        self.run(|| {
            let output = Command::new("ip").args(words.split_whitespace()).output()?;
            match output.status.success() {
                true => Ok(()),
                false => Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr)).into()),
            }
        })
    }

    /// What `ip` takes as the name of the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

fn joined<Value>(thread: thread::JoinHandle<Value>) -> Value {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

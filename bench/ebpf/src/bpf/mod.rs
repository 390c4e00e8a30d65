//! The little of eBPF that the experiment needs, on `libc` alone: an assembler, and the bpf(2) calls that
//! make maps, load a program and attach it.

pub mod assembler;
pub mod syscall;

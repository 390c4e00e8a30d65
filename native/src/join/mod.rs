//! Pairs of TCP sockets that TypeScript has joined: a thread here moves the bytes between them.
//!
//! `joiner` is what can be asked, `worker` the thread, `pair` two sockets, `direction` what goes from one to the other, through
//! memory or through a `pipe`.

mod direction;
mod joiner;
#[cfg(test)]
mod joiner_test;
mod pair;
mod pipe;
mod system;
mod worker;

pub use joiner::Joiner;
pub use worker::Event;

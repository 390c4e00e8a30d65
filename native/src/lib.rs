//! The datapath engine of Sluice. TypeScript decides which datagrams and which bytes go where; the threads here move them.
//!
//! `binding` is what Node calls, `engine` what can be asked, `table` what was asked. A thread (`reactor`) receives a `batch`
//! and puts it on its `path`: to the next socket, or by `punt` to TypeScript. Apart from that `join` moves the bytes of TCP
//! sockets that TypeScript has joined.

// What only Node calls is not there in tests, since nothing but Node has Node-API.
#![cfg_attr(test, allow(dead_code))]

mod address;
mod batch;
mod binding;
mod engine;
#[cfg(test)]
mod engine_test;
mod flow;
mod indication;
mod join;
mod meter;
mod path;
mod punt;
mod reactor;
mod slab;
mod socket;
mod table;
mod totals;

//! What Node calls. Engines are numbers here, so that no call can name one that is gone.

mod command;
#[cfg(not(test))]
mod exports;
#[cfg(not(test))]
mod joins;
mod napi;

//! What Node calls. Engines are numbers here, so that no call can name one that is gone.

#[cfg_attr(test, allow(dead_code))]
mod command;
#[cfg(not(test))]
mod exports;
#[cfg_attr(test, allow(dead_code, clashing_extern_declarations))]
mod napi;

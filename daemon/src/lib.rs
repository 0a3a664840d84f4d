//! The Cygnet gateway: IKEv2 and IPsec over a TUN device, as a library and a daemon.

pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod driver;
pub mod fuzz;
pub mod handle;
pub mod inspect;
pub mod install;
pub mod keylog;
pub mod narrate;
pub mod net;
pub mod offload;
pub mod reload;
pub mod runtime;
pub mod tun;
pub mod workers;

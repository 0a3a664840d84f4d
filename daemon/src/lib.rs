//! The Cygnet gateway: IKEv2 and IPsec over a TUN device, as a library and a daemon.

pub mod handle;
pub mod install;
pub mod net;
pub mod tun;
pub mod workers;

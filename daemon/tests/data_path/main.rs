//! The data path over in-memory networks, without IKE and without threads: what goes in comes out, every packet ends
//! in one counter, and nothing is allocated on the way.

mod basics;
mod fragments;
mod hostile;
mod icmp;
mod levels;
mod mtu;
mod offload;
mod replace;
mod support;
mod transport;

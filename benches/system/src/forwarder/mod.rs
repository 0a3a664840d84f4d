//! The limit of the machine: packets from a TUN device to UDP and back, with every offload there is and nothing around
//! it. No policies, no SAs, no window, no lifetimes, no counters, one peer, fixed keys.
//!
//! ```text
//! outbound:  TUN frame ─► cut into the send buffer ─► sealed there ─► one sendmsg (UDP GSO)
//! inbound:   recvmmsg (UDP GRO) ─► opened in place ─► put together ─► one writev per group
//! ```
//!
//! One thread per direction. On the wire: a counter of 8 octets, which is the explicit nonce and authenticated; the
//! packet; a tag of 16 octets. It is the yardstick for what IPsec costs, and is fit for nothing else: its keys are
//! known to all.

mod inbound;
mod outbound;
mod seal;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;

use clap::{Args, ValueEnum};
use cygnet::offload::Offloads;
use cygnet::tun::TunDevice;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use self::inbound::Inbound;
use self::outbound::Outbound;
use self::seal::Keys;
use crate::failure::{Context, Failure, Result};
use crate::mmsg::ask_for_gro;

/// Port of both ends.
const PORT: u16 = 4600;
/// Octets before each packet.
const HEADER: usize = 8;
/// Octets behind it.
const TAG: usize = 16;
/// Of the TUN device: what fits an Ethernet frame behind headers of IPv4 and UDP.
const MTU: u16 = 1500 - 20 - 8 - (HEADER + TAG) as u16;
/// Requested size of socket buffers, octets.
const SOCKET_BUFFER: usize = 4 << 20;

/// How packets are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cipher {
    Aes128,
    Aes256,
    /// Not at all: header and tag are there, and zero.
    None,
}

/// One end.
#[derive(Debug, Args)]
pub(crate) struct Forward {
    /// Name of the TUN device.
    #[arg(long)]
    tun: String,
    #[arg(long)]
    local: Ipv4Addr,
    #[arg(long)]
    remote: Ipv4Addr,
    #[arg(long)]
    cipher: Cipher,
}

impl Forward {
    /// Works until it is killed.
    pub(crate) fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
        let tun = TunDevice::create(&self.tun, MTU, 1, Offloads { tcp: true, udp: true });
        let tun = Arc::new(runtime.block_on(tun).context("TUN")?);
        let socket = Arc::new(self.socket().context("UDP")?);
        // Each end seals with a key of its own, so that no nonce is used twice.
        let [own, other] = [self.local, self.remote].map(|address| address.octets()[3]);
        let mut outbound = Outbound::new(Arc::clone(&tun), Arc::clone(&socket), Keys::new(self.cipher, own));
        let mut inbound = Inbound::new(tun, socket, Keys::new(self.cipher, other));
        thread::spawn(move || {
            let error = outbound.run();
            eprintln!("outbound: {error:?}");
            std::process::exit(1);
        });
        inbound.run().map_err(|error| Failure(format!("inbound: {error}")))
    }

    fn socket(&self) -> std::io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER)?;
        setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER)?;
        let address = |ip: Ipv4Addr| std::net::SocketAddr::from((ip, PORT)).into();
        socket.bind(&address(self.local))?;
        socket.connect(&address(self.remote))?;
        ask_for_gro(&socket)?;
        Ok(socket.into())
    }
}

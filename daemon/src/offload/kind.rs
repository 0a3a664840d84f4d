//! The offloads by name, as an operator switches them and sees them.

/// What is left to the kernel, many packets at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offload {
    /// TCP segments cross the TUN device together, both ways.
    TunTcp,
    /// UDP datagrams cross the TUN device together, both ways.
    TunUdp,
    /// ESP in UDP is sent in large pieces that the kernel cuts (`UDP_SEGMENT`).
    UdpSend,
    /// ESP in UDP is received in large pieces that the kernel put together (`UDP_GRO`).
    UdpReceive,
}

impl Offload {
    /// All of them, each with its name.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("tun-tcp", Self::TunTcp),
        ("tun-udp", Self::TunUdp),
        ("udp-send", Self::UdpSend),
        ("udp-receive", Self::UdpReceive),
    ];

    /// All of them.
    pub fn all() -> Vec<Self> {
        Self::NAMED.map(|(_, offload)| offload).to_vec()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMED.into_iter().find_map(|(name, offload)| (offload == self).then_some(name)).unwrap_or_default()
    }
}

//! Which receive queue a datagram belongs to: all packets of an SA come to the same thread, in order.
//!
//! The rule is `SPI mod queues`, and queue 0 for everything else. It is written here twice: for who moves packets
//! himself, and as a program of the classic BPF machine for the kernel, which applies it before a socket is chosen.

use socket2::SockFilter;

use super::Channel;

/// Queue of `bytes`, which came by `channel`: UDP payload, or ESP packet from the SPI on.
pub fn queue_of(channel: Channel, bytes: &[u8], queues: usize) -> usize {
    match (channel, bytes.first_chunk()) {
        // An IKE message there begins with four zero octets (RFC 3948 §2.2), and so goes to queue 0.
        (Channel::NatT | Channel::RawEsp, Some(&spi)) => u32::from_be_bytes(spi) as usize % queues.max(1),
        _ => 0,
    }
}

// Classic BPF (`linux/filter.h`): loads into A and X, arithmetic, jumps, returns.
const LD_WORD_ABS: u16 = 0x20;
const LD_WORD_IND: u16 = 0x40;
const LDX_IP_HEADER_LEN: u16 = 0xb1;
const ALU_MOD: u16 = 0x94;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const RETURN_A: u16 = 0x16;

/// For a group of UDP sockets on one port (`SO_ATTACH_REUSEPORT_CBPF`): the position of the socket that gets a payload.
/// A payload without four octets goes to the first.
pub(super) fn choose(queues: u32) -> [SockFilter; 3] {
    [
        SockFilter::new(LD_WORD_ABS, 0, 0, 0),
        SockFilter::new(ALU_MOD, 0, 0, queues.max(1)),
        SockFilter::new(RETURN_A, 0, 0, 0),
    ]
}

/// For a raw socket, each of which sees every packet: lets those of `queue` in. If there are fewer `sockets`, each has
/// the packets of several queues. Over IPv4 it sees the IP header, too.
pub(super) fn admit(v4: bool, queue: u32, queues: u32, sockets: u32) -> [SockFilter; 7] {
    let load = if v4 { LD_WORD_IND } else { LD_WORD_ABS };
    [
        SockFilter::new(LDX_IP_HEADER_LEN, 0, 0, 0),
        SockFilter::new(load, 0, 0, 0),
        SockFilter::new(ALU_MOD, 0, 0, queues.max(1)),
        SockFilter::new(ALU_MOD, 0, 0, sockets.max(1)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, queue),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

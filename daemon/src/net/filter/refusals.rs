//! Packets that the ruleset dropped, as the kernel logs them (NFLOG): the auditable events of RFC 4301 §5.2 step 3b,
//! and those of §5.1 that never reach the data path.

use std::io;
use std::time::Duration;

use cygnet_spd::{Direction, Flow};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nflog::{
    ConfigCmd, ConfigMode, ConfigNla, PacketNla, Timeout, ULogMessage, config_request,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ruleset::OUTBOUND;

/// Refusals that wait for the driver; the ruleset lets few through to begin with.
const QUEUE: usize = 128;
/// Octets of an answer: several packets of which the ruleset logs the first octets.
const BUFFER: usize = 16_384;
/// How long the kernel may collect packets.
const PATIENCE: Duration = Duration::from_millis(100);

/// A packet that was dropped because it was in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it came, or was to leave.
    pub direction: Direction,
    /// Its selectors, if they can be read.
    pub flow: Option<Flow>,
    /// If it is an ICMP error: those of the packet that it is about, as one of ours.
    pub about: Option<Flow>,
}

/// The task that listens; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Listens to a log group. Inside a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or when somebody else listens to it.
    pub(super) async fn spawn(group: u16) -> io::Result<(Self, mpsc::Receiver<Refusal>)> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        ask(&mut socket, group, vec![ConfigCmd::Bind.into()]).await?;
        let timeout: Timeout = PATIENCE.into();
        ask(&mut socket, group, vec![ConfigMode::PACKET_MAX.into(), timeout.into()]).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let work = async move {
            let mut buffer = Vec::with_capacity(BUFFER);
            loop {
                buffer.clear();
                match socket.recv_from(&mut buffer).await {
                    Ok(_) => packets(&buffer, |direction, packet| {
                        let flow = Flow::parse(packet, direction).ok();
                        let about = Flow::of_icmp_error(packet, direction);
                        // A full queue is a flood; the counters of the ruleset have all of it.
                        let _ = sender.try_send(Refusal { direction, flow, about });
                    }),
                    // Overrun: the same.
                    Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                    Err(error) => {
                        tracing::warn!("dropped packets are no longer told one by one: {error}");
                        return;
                    }
                }
            }
        };
        Ok((Self(tokio::spawn(work)), receiver))
    }
}

/// Sends a request and waits for its answer.
async fn ask(socket: &mut TokioSocket, group: u16, what: Vec<ConfigNla>) -> io::Result<()> {
    let request = config_request(NetfilterProtoFamily::Unspec, group, what);
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send(&octets).await?;
    let mut buffer = Vec::with_capacity(BUFFER);
    socket.recv_from(&mut buffer).await?;
    let answer = <NetlinkMessage<NetfilterMessage>>::deserialize(&buffer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}

/// The packets in what the kernel sent: messages behind each other, each padded to four octets.
fn packets(mut buffer: &[u8], mut each: impl FnMut(Direction, &[u8])) {
    while let Ok(message) = <NetlinkMessage<NetfilterMessage>>::deserialize(buffer) {
        let len = (message.header.length as usize).next_multiple_of(4);
        if let NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::ULog(ULogMessage::Packet(attributes)),
            ..
        }) = &message.payload
        {
            let leaves =
                |nla: &PacketNla| matches!(nla, PacketNla::Prefix(text) if text.as_bytes() == OUTBOUND.as_bytes());
            let direction = if attributes.iter().any(leaves) { Direction::Outbound } else { Direction::Inbound };
            for attribute in attributes {
                if let PacketNla::Payload(packet) = attribute {
                    each(direction, packet);
                }
            }
        }
        match buffer.get(len..) {
            Some(rest) if len > 0 && !rest.is_empty() => buffer = rest,
            _ => return,
        }
    }
}

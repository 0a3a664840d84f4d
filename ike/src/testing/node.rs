//! One host: an endpoint, the ESP SAs it installed, and a record of what happened.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use cygnet_esp::{Inbound, NextHeader, Outbound, PacketBuf, Spi};
use cygnet_spd::PolicyId;

use super::link::{Kind, Packet};
use crate::config::Config;
use crate::event::Event;
use crate::output::{Activation, ChildId, ChildInstall, Output, Path};
use crate::status::{ChildStatus, IkeState, IkeStatus};
use crate::{Command, Endpoint, Now};

/// A host.
pub struct Node {
    /// Its IKE.
    pub endpoint: Endpoint,
    /// Its address.
    pub address: IpAddr,
    /// Further addresses of its own.
    pub also: Vec<IpAddr>,
    /// Everything its IKE reported.
    pub events: Vec<Event>,
    /// Every IKE datagram it sent.
    pub sent: Vec<Vec<u8>>,
    /// Probes that arrived here, by number.
    pub arrived: Vec<u64>,
    /// Addresses before translation, ours and the peer's, as each pair was installed with.
    pub originals: HashMap<ChildId, (IpAddr, IpAddr)>,
    pub(super) probes: u64,
    inbound: HashMap<Spi, (ChildId, Inbound)>,
    outbound: Vec<OutboundSa>,
}

struct OutboundSa {
    child: ChildId,
    policy: PolicyId,
    active: bool,
    path: Path,
    udp: bool,
    esp: Outbound,
    /// Stands for its key in the record of nonces.
    key: Vec<u8>,
}

/// A sealed probe: the key it was sealed with, its IV, and the packet.
pub(super) struct Probe {
    pub(super) key: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) packet: Packet,
}

impl Node {
    pub(super) fn new(address: IpAddr, endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            address,
            also: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            arrived: Vec::new(),
            originals: HashMap::new(),
            probes: 0,
            inbound: HashMap::new(),
            outbound: Vec::new(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        self.endpoint.config()
    }

    /// Its IKE SAs.
    pub fn ike_sas(&self) -> Vec<IkeStatus> {
        self.endpoint.ike_sas().collect()
    }

    /// The children of its established IKE SAs.
    pub fn children(&self) -> Vec<ChildStatus> {
        let up = self.endpoint.ike_sas().filter(|sa| sa.state != IkeState::Connecting);
        up.flat_map(|sa| sa.children).collect()
    }

    /// ESP SAs installed, inbound and outbound.
    pub fn installed(&self) -> (usize, usize) {
        (self.inbound.len(), self.outbound.len())
    }

    /// Whether it could send for `policy`.
    pub fn can_send(&self, policy: PolicyId) -> bool {
        self.outbound.iter().any(|sa| sa.active && sa.policy == policy)
    }

    /// Whether it would send on this pair.
    pub fn sends_on(&self, child: ChildId) -> bool {
        self.outbound.iter().any(|sa| sa.active && sa.child == child)
    }

    /// Whether an exchange of its waits for an answer, or for its turn.
    pub fn is_busy(&self) -> bool {
        self.endpoint.ike_sas().any(|sa| sa.active_task.is_some() || !sa.queued_tasks.is_empty())
    }

    /// Takes a datagram or an ESP packet.
    pub(super) fn receive(&mut self, now: Now, packet: Packet) {
        match packet.kind {
            Kind::Ike { marker } => {
                let path = Path { local: packet.to, remote: packet.from, marker };
                let mut bytes = packet.bytes;
                self.endpoint.handle_datagram(now, path, &mut bytes);
            }
            Kind::Esp => self.receive_esp(now, &packet.bytes),
        }
    }

    fn receive_esp(&mut self, now: Now, bytes: &[u8]) {
        let Some((child, esp)) = Spi::of_packet(bytes).and_then(|spi| self.inbound.get(&spi)) else { return };
        let mut packet = PacketBuf::new(2048, 0);
        packet.extend(bytes).expect("probes are short");
        if esp.open(&mut packet) != Ok(NextHeader::IPV4) {
            return;
        }
        let number = u64::from_be_bytes(packet.data()[20..28].try_into().expect("a probe"));
        self.arrived.push(number);
        let child = *child;
        self.activate(child);
        self.endpoint.handle_command(now, Command::ChildUsed(child));
    }

    /// Seals a probe on the newest active SA of `policy`.
    pub(super) fn probe(&mut self, policy: PolicyId) -> Option<Probe> {
        let sa = self.outbound.iter().rfind(|sa| sa.active && sa.policy == policy)?;
        let mut packet = PacketBuf::new(256, 64);
        let mut ip = [0; 28];
        ip[0] = 0x45;
        ip[20..].copy_from_slice(&self.probes.to_be_bytes());
        packet.extend(&ip).expect("fits");
        sa.esp.reserve(1).expect("far from exhausted").seal(NextHeader::IPV4, &mut packet).expect("fits");
        self.probes += 1;
        let bytes = packet.data().to_vec();
        let iv = bytes[8..8 + sa.esp.encr().iv_len].to_vec();
        let port = |address: SocketAddr| if sa.udp { address } else { (address.ip(), 0).into() };
        let packet = Packet { from: port(sa.path.local), to: port(sa.path.remote), kind: Kind::Esp, bytes };
        Some(Probe { key: sa.key.clone(), iv, packet })
    }

    /// Does what the endpoint asks, in order; gives what is to be sent.
    pub(super) fn drain(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Transmit(transmit) => {
                    let Path { mut local, remote, marker } = transmit.path;
                    if local.ip().is_unspecified() {
                        local.set_ip(self.address);
                    }
                    if transmit.datagram.len() > 1 {
                        self.sent.push(transmit.datagram.clone());
                    }
                    let kind = Kind::Ike { marker };
                    packets.push(Packet { from: local, to: remote, kind, bytes: transmit.datagram });
                }
                Output::InstallChild(install) => self.install(*install),
                Output::ActivateChild(child) => self.activate(child),
                Output::RetireChild(child) => self.outbound.retain(|sa| sa.child != child),
                Output::MoveChild { child, path } => {
                    self.outbound.iter_mut().filter(|sa| sa.child == child).for_each(|sa| sa.path = path);
                }
                Output::RemoveChild(child) => {
                    self.inbound.retain(|_, (id, _)| *id != child);
                    self.outbound.retain(|sa| sa.child != child);
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        packets
    }

    fn install(&mut self, install: ChildInstall) {
        let ChildInstall { id, child, inbound, outbound, encr, esn, path, udp_encapsulation, activation, .. } = install;
        self.originals.extend(install.original.map(|original| (id, original)));
        let receive = Inbound::new(
            inbound.spi,
            encr,
            inbound.encr_key.expose(),
            inbound.integ_key.expose(),
            esn,
            child.replay_window,
        );
        let send = Outbound::new(outbound.spi, encr, outbound.encr_key.expose(), outbound.integ_key.expose(), esn);
        assert!(!self.inbound.contains_key(&inbound.spi), "inbound SPI {} given out twice", inbound.spi);
        self.inbound.insert(inbound.spi, (id, receive.expect("keys fit")));
        self.outbound.push(OutboundSa {
            child: id,
            policy: child.policy,
            active: activation == Activation::Now,
            path,
            udp: udp_encapsulation,
            esp: send.expect("keys fit"),
            key: outbound.encr_key.expose().to_vec(),
        });
    }

    fn activate(&mut self, child: ChildId) {
        self.outbound.iter_mut().filter(|sa| sa.child == child).for_each(|sa| sa.active = true);
    }
}

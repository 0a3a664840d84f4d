//! `[gateway]`: what belongs to this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use cygnet_ike::config::Retransmit;

use super::reader::Section;
use crate::offload::Offload;

/// Where the daemon listens when nothing else is configured.
pub const DEFAULT_CONTROL: &str = "/run/cygnet/vici.sock";

/// Threads of the data path in each direction, at most.
const MAX_WORKERS: usize = 64;

/// What belongs to this host, not to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Outer addresses to bind.
    pub listen: Vec<IpAddr>,
    /// UDP port of plain IKE.
    pub ike_port: u16,
    /// UDP port of NAT traversal (RFC 3948).
    pub nat_port: u16,
    /// Open sockets for IP protocol 50; if not, ESP in UDP is always negotiated.
    pub raw_esp: bool,
    /// Path of the control socket.
    pub control: PathBuf,
    /// Permission bits of the control socket.
    pub control_mode: u32,
    /// Directory for the key log, if session keys are to be written.
    pub key_log: Option<PathBuf>,
    /// Name of the TUN device.
    pub tun: String,
    /// How large packets into the tunnels may be.
    pub mtu: Mtu,
    /// Routing table for protected networks.
    pub route_table: u32,
    /// Mark of our own sockets, whose packets never take that table.
    pub fwmark: u32,
    /// Threads of the data path in each direction, and queues of the TUN device.
    pub workers: usize,
    /// Whether each of them is bound to a core.
    pub pin_workers: bool,
    /// What is left to the kernel where it can do it, many packets at a time.
    pub offloads: Vec<Offload>,
    /// Idle time after which the mapping of a NAT before us is refreshed (RFC 3948 §4), if at all.
    pub nat_keepalive: Option<Duration>,
    /// Whether the kernel is told to drop what arrives in the clear and should have been protected (RFC 4301 §5.2).
    pub clear_filter: bool,
    /// Which ICMP errors are acted upon that come outside of any SA, about traffic that SAs protect
    /// (RFC 4301 §6.1.1).
    pub unprotected_icmp: Vec<IcmpError>,
    /// Whether the senders of packets that policy lets go nowhere are told so by ICMP (RFC 4301 §5.1.1).
    pub icmp_prohibited: bool,
    /// Whether SAs without IKE are allowed.
    pub manual_sas: bool,
}

/// One worker for each core that this process may use, at most [`MAX_WORKERS`].
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS)
}

/// The ICMP error messages, of both families. The administrator accepts or rejects each (RFC 4301 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// ICMPv4 type 3, all codes but 4; ICMPv6 type 1.
    DestinationUnreachable,
    /// ICMPv4 type 3 code 4; ICMPv6 type 2.
    PacketTooBig,
    /// ICMPv4 type 5. ICMPv6 has it as a part of neighbour discovery (RFC 4861 §4.5), which is not judged here.
    Redirect,
    /// ICMPv4 type 11; ICMPv6 type 3.
    TimeExceeded,
    /// ICMPv4 type 12; ICMPv6 type 4.
    ParameterProblem,
}

impl IcmpError {
    /// All of them, each with its name.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("destination-unreachable", Self::DestinationUnreachable),
        ("packet-too-big", Self::PacketTooBig),
        ("redirect", Self::Redirect),
        ("time-exceeded", Self::TimeExceeded),
        ("parameter-problem", Self::ParameterProblem),
    ];

    /// All of them.
    pub fn all() -> Vec<Self> {
        Self::NAMED.map(|(_, error)| error).to_vec()
    }
}

/// MTU of the TUN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtu {
    /// As the links of this host allow; what a path takes is found out per SA (RFC 4301 §8.2).
    Auto,
    /// This, octets.
    Fixed(u16),
}

impl Mtu {
    /// Octets, where there are no links to look at.
    pub fn octets(self) -> u16 {
        match self {
            Self::Auto => 1400,
            Self::Fixed(octets) => octets,
        }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            ike_port: 500,
            nat_port: 4500,
            raw_esp: false,
            control: DEFAULT_CONTROL.into(),
            control_mode: 0o660,
            key_log: None,
            tun: "cygnet0".to_owned(),
            mtu: Mtu::Auto,
            route_table: 7296,
            fwmark: 0x7296,
            workers: cores(),
            pin_workers: false,
            offloads: Offload::all(),
            nat_keepalive: Some(Duration::from_secs(20)),
            clear_filter: true,
            unprotected_icmp: IcmpError::all(),
            // Silence tells a scanner nothing, and a program that is told gives up, where one that is not tries again
            // until its SA is there.
            icmp_prohibited: false,
            manual_sas: false,
        }
    }
}

impl Gateway {
    /// The keys whose value in `new` needs other sockets, another device, table or threads than these.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        // All fields by name: who adds one decides here.
        let Self {
            listen,
            ike_port,
            nat_port,
            raw_esp,
            control,
            control_mode,
            key_log,
            tun,
            mtu,
            route_table,
            fwmark,
            workers,
            pin_workers,
            offloads,
            clear_filter,
            unprotected_icmp,
            manual_sas,
            nat_keepalive: _,
            icmp_prohibited: _,
        } = self;
        let keys = [
            ("listen", *listen != new.listen),
            ("ike_port", *ike_port != new.ike_port),
            ("nat_port", *nat_port != new.nat_port),
            ("raw_esp", *raw_esp != new.raw_esp),
            ("control", *control != new.control),
            ("control_mode", *control_mode != new.control_mode),
            ("key_log", *key_log != new.key_log),
            ("tun", *tun != new.tun),
            ("mtu", *mtu != new.mtu),
            ("route_table", *route_table != new.route_table),
            ("fwmark", *fwmark != new.fwmark),
            ("workers", *workers != new.workers),
            ("pin_workers", *pin_workers != new.pin_workers),
            ("offloads", *offloads != new.offloads),
            ("clear_filter", *clear_filter != new.clear_filter),
            ("unprotected_icmp", *unprotected_icmp != new.unprotected_icmp),
            ("manual_sas", *manual_sas != new.manual_sas),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// Reads `[gateway]`. The IKE configuration has no connections yet.
pub(super) fn read(root: &Section<'_>) -> (Gateway, cygnet_ike::Config) {
    let mut gateway = Gateway::default();
    let mut ike = cygnet_ike::Config {
        connections: Vec::new(),
        retransmit: Retransmit::default(),
        cookie_threshold: 32,
        max_half_open: 1024,
        ike_port: gateway.ike_port,
        nat_port: gateway.nat_port,
        raw_esp: gateway.raw_esp,
        workers: 1,
        report_keys: false,
    };
    let Some(section) = root.section("gateway", "the gateway".to_owned()) else { return (gateway, ike) };
    let set = |slot: &mut u16, value: Option<u64>| {
        if let Some(value) = value {
            *slot = u16::try_from(value).expect("the range was checked");
        }
    };
    let address = |text: &str| text.parse().map_err(|_| "not an IP address".to_owned());
    if let Some(listen) = section.parse_list("listen", "\"192.0.2.1\"", address) {
        gateway.listen = listen;
    }
    set(&mut gateway.ike_port, section.integer("ike_port", 1..=65535));
    set(&mut gateway.nat_port, section.integer("nat_port", 1..=65535));
    if gateway.ike_port == gateway.nat_port {
        let remedy = "ESP in UDP needs a port of its own: leave both out for 500 and 4500";
        section.mistake("nat_port", "both ports are the same", "same as `ike_port`", remedy);
    }
    gateway.raw_esp = section.flag("raw_esp").unwrap_or(gateway.raw_esp);
    gateway.control = section.path("control").unwrap_or(gateway.control);
    let mode = |text: &str| match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && mode & 0o006 == 0 => Ok(mode),
        Ok(mode) if mode <= 0o777 => Err("everyone on this host could control the gateway".to_owned()),
        _ => Err("not three octal digits".to_owned()),
    };
    gateway.control_mode = section.parse("control_mode", "\"0660\"", mode).unwrap_or(gateway.control_mode);
    gateway.key_log = section.path("key_log");
    let device = |name: &str| match name.len() {
        1..=15
            if name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && name != "." && name != ".." =>
        {
            Ok(name.to_owned())
        }
        _ => Err("not a device name: 1 to 15 letters, digits, `-`, `_`, `.`".to_owned()),
    };
    gateway.tun = section.parse("tun", "\"cygnet0\"", device).unwrap_or(gateway.tun);
    if section.is_integer("mtu") {
        let octets =
            section.integer("mtu", 576..=9000).map(|octets| u16::try_from(octets).expect("the range was checked"));
        gateway.mtu = octets.map_or(gateway.mtu, Mtu::Fixed);
    } else {
        let auto =
            |text: &str| if text == "auto" { Ok(Mtu::Auto) } else { Err("neither octets nor `auto`".to_owned()) };
        gateway.mtu = section.parse("mtu", "\"auto\", or 1400 (without quotes)", auto).unwrap_or(gateway.mtu);
    }
    let number = |slot: &mut u32, value: Option<u64>| {
        if let Some(value) = value {
            *slot = u32::try_from(value).expect("the range was checked");
        }
    };
    number(&mut gateway.route_table, section.integer("route_table", 1..=u64::from(u32::MAX)));
    if matches!(gateway.route_table, 253..=255) {
        let remedy = "choose another, such as 7296: the table is emptied when the gateway stops";
        section.mistake("route_table", "this table is the system's own", "default, main or local", remedy);
    }
    number(&mut gateway.fwmark, section.integer("fwmark", 1..=u64::from(u32::MAX)));
    if let Some(workers) = section.integer("workers", 1..=MAX_WORKERS as u64) {
        gateway.workers = usize::try_from(workers).expect("the range was checked");
    }
    gateway.pin_workers = section.flag("pin_workers").unwrap_or(gateway.pin_workers);
    gateway.clear_filter =
        section.word("clear_filter", &[("on", true), ("off", false)]).unwrap_or(gateway.clear_filter);
    if !gateway.clear_filter {
        section.context().problems.warn(
            "`gateway.clear_filter` is off: what arrives in the clear is not checked against the policies, and reaches \
             this host's programs even where `level` requires protection",
        );
    }
    if let Some(offloads) = some_of(&section, "offloads", "offload", Offload::NAMED) {
        gateway.offloads = offloads;
    }
    unprotected_icmp(&section, &mut gateway);
    gateway.icmp_prohibited = section.flag("icmp_prohibited").unwrap_or(gateway.icmp_prohibited);
    gateway.manual_sas = section.flag("manual_sas").unwrap_or(gateway.manual_sas);
    gateway.nat_keepalive = section.duration("nat_keepalive").unwrap_or(gateway.nat_keepalive);
    let count = |key, slot: &mut usize| {
        if let Some(value) = section.integer(key, 0..=1_000_000) {
            *slot = usize::try_from(value).expect("the range was checked");
        }
    };
    count("cookie_threshold", &mut ike.cookie_threshold);
    count("max_half_open", &mut ike.max_half_open);
    if let Some(retransmit) = retransmit(&section, "retransmission") {
        ike.retransmit = retransmit;
    }
    section.finish();
    (ike.ike_port, ike.nat_port, ike.raw_esp) = (gateway.ike_port, gateway.nat_port, gateway.raw_esp);
    (gateway, ike)
}

/// Reads a list of named things: all, none, or those that are named, in the order of `known`, so that two ways to write
/// the same are the same.
fn some_of<T: Copy + PartialEq, const N: usize>(
    section: &Section<'_>,
    key: &'static str,
    what: &'static str,
    known: [(&'static str, T); N],
) -> Option<Vec<T>> {
    let all = || known.map(|(_, item)| item).to_vec();
    let read = |text: &str| match text {
        "all" => Ok(all()),
        "none" => Ok(Vec::new()),
        name => {
            let named = known.iter().find(|(known, _)| *known == name);
            named.map(|(_, item)| vec![*item]).ok_or_else(|| {
                let names = known.map(|(name, _)| name).join(", ");
                format!("no {what}; known: all, none, {names}")
            })
        }
    };
    let example = format!("\"{}\"", known.first().map_or("all", |(name, _)| name));
    let named = section.parse_list(key, &example, read)?.concat();
    Some(all().into_iter().filter(|item| named.contains(item)).collect())
}

/// Reads `unprotected_icmp` (RFC 4301 §6.1.1).
fn unprotected_icmp(section: &Section<'_>, gateway: &mut Gateway) {
    let Some(accepted) = some_of(section, "unprotected_icmp", "ICMP error", IcmpError::NAMED) else { return };
    gateway.unprotected_icmp = accepted;
    if !gateway.clear_filter && gateway.unprotected_icmp != IcmpError::all() {
        section.context().problems.warn(
            "`gateway.clear_filter` is off: `unprotected_icmp` governs what this gateway learns of path MTUs, not what \
             the kernel delivers and forwards",
        );
    }
}

/// Reads `retransmit = { timeout, base, cap, tries }`, here and in a connection.
pub(super) fn retransmit(parent: &Section<'_>, title: &str) -> Option<Retransmit> {
    let section = parent.section("retransmit", format!("{title} of {}", parent.title))?;
    let mut retransmit = Retransmit::default();
    retransmit.timeout = section.some_duration("timeout").unwrap_or(retransmit.timeout);
    retransmit.base = section.number("base", 1.0..=10.0).unwrap_or(retransmit.base);
    retransmit.cap = section.some_duration("cap").unwrap_or(retransmit.cap.max(retransmit.timeout));
    if let Some(tries) = section.integer("tries", 0..=100) {
        retransmit.tries = u32::try_from(tries).expect("the range was checked");
    }
    if retransmit.cap < retransmit.timeout || retransmit.timeout > Duration::from_secs(3600) {
        let remedy = "keep `timeout` within an hour and `cap` no shorter than `timeout`";
        section.mistake("cap", "the waits make no sense", "too short, or `timeout` too long", remedy);
    }
    section.finish();
    Some(retransmit)
}

//! `gateway.mtu = "auto"`: how large the TUN device may be so that sealed packets fit the links of this host, whichever
//! way they go and whatever they may be sealed with. What lies behind the links is found out per SA (RFC 4301 §8.2).

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use cygnet_esp::{ENCR, Encr, Overhead};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::{Handle, new_connection};

/// What a host without links is given, octets: Ethernet.
const ETHERNET: u32 = 1500;
/// The least that IPv6 works with, octets (RFC 8200 §5).
const LEAST: u16 = 1280;

/// The MTU for the TUN device of a gateway that listens on these addresses, and seals with any of `ciphers`. Inside a
/// tokio runtime.
///
/// # Errors
/// When there is no netlink.
pub async fn tun_mtu(listen: &[IpAddr], ciphers: impl Iterator<Item = &'static Encr>) -> io::Result<u16> {
    let (connection, netlink, _) = new_connection()?;
    let connection = tokio::spawn(connection);
    let smallest = smallest_link(&netlink, listen).await;
    connection.abort();
    Ok(inner(smallest?, listen.iter().any(IpAddr::is_ipv6), ciphers))
}

/// What is left of an outer packet of `outer` octets in the worst case.
fn inner(outer: u32, ipv6: bool, ciphers: impl Iterator<Item = &'static Encr>) -> u16 {
    let outer = usize::try_from(outer).unwrap_or(usize::MAX).min(usize::from(u16::MAX));
    let left = |cipher| Overhead::tunnel(cipher, ipv6, true).inner_mtu(outer);
    // Without connections, what the first ones may bring.
    let left = ciphers.map(left).min().or_else(|| ENCR.iter().map(left).min()).unwrap_or(0);
    u16::try_from(left).unwrap_or(u16::MAX).max(LEAST)
}

/// The MTU of the smallest link that an outer packet may leave by: those with one of the addresses, or all that are up.
async fn smallest_link(netlink: &Handle, listen: &[IpAddr]) -> io::Result<u32> {
    let any = listen.is_empty() || listen.iter().any(IpAddr::is_unspecified);
    let mut addresses = netlink.address().get().execute();
    let mut with_address = HashSet::new();
    while let Some(address) = addresses.try_next().await.map_err(io::Error::other)? {
        let listens = address.attributes.iter().any(|attribute| match attribute {
            AddressAttribute::Local(ip) | AddressAttribute::Address(ip) => any || listen.contains(ip),
            _ => false,
        });
        if listens {
            with_address.insert(address.header.index);
        }
    }
    let mut links = netlink.link().get().execute();
    let mut smallest = None;
    while let Some(link) = links.try_next().await.map_err(io::Error::other)? {
        let flags = link.header.flags;
        if !flags.contains(LinkFlags::Up)
            || flags.contains(LinkFlags::Loopback)
            || !with_address.contains(&link.header.index)
        {
            continue;
        }
        let mtu = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        });
        smallest = smallest.into_iter().chain(mtu).min();
    }
    Ok(smallest.unwrap_or(ETHERNET))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_fits_and_ipv6_is_never_broken() {
        for (outer, ipv6) in [(1500, true), (1500, false), (9000, true), (1400, false)] {
            let inner = usize::from(inner(outer, ipv6, ENCR.iter()));
            let largest = |inner| ENCR.iter().map(|row| Overhead::tunnel(row, ipv6, true).outer_len(inner)).max();
            assert!(largest(inner) <= Some(outer as usize), "{inner} octets in {outer}");
            assert!(largest(inner + 1) > Some(outer as usize), "{inner} octets in {outer}");
        }
        assert_eq!(inner(1280, true, ENCR.iter()), LEAST);
        assert_eq!(inner(u32::MAX, true, ENCR.iter()), inner(65_535, true, ENCR.iter()));
        let gcm = || ENCR.iter().filter(|cipher| cipher.name == "aes128gcm16");
        assert_eq!((inner(1500, false, gcm()), inner(1500, true, gcm())), (1438, 1418));
        assert_eq!(inner(1500, true, [].into_iter()), inner(1500, true, ENCR.iter()));
    }
}

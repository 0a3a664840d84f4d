//! Somebody else takes something out of our table: `nft flush ruleset`, or a firewall that thinks it is alone. The kernel
//! tells who listens to changes of its tables.

use std::io;

use netlink_sys::constants::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use nix::libc;

/// Octets of an answer: messages about what goes name it, and are short.
const BUFFER: usize = 16_384;
/// The multicast group of changes (`NFNLGRP_NFTABLES`).
const GROUP: u32 = 7;
/// The subsystem in the types of its messages.
const SUBSYSTEM: u8 = libc::NFNL_SUBSYS_NFTABLES as u8;
/// Messages about what is gone: a table, a chain, a rule.
const GONE: [u8; 3] = [libc::NFT_MSG_DELTABLE as u8, libc::NFT_MSG_DELCHAIN as u8, libc::NFT_MSG_DELRULE as u8];
/// The attribute with the name of the table, in all of them.
const TABLE: u16 = 1;

/// Listens to what goes from one table.
pub(super) struct Changes {
    socket: TokioSocket,
    table: String,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Changes {
    /// Listens from now on. Inside a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN.
    pub(super) fn listen(table: &str) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(GROUP)?;
        Ok(Self { socket, table: table.to_owned(), buffer: Vec::with_capacity(BUFFER) })
    }

    /// Resolves when something of the table is gone.
    ///
    /// # Errors
    /// When the socket is.
    pub(super) async fn gone(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer).await {
                Ok(_) if takes_from(&self.table, &self.buffer) => return Ok(()),
                Ok(_) => {}
                // Overrun: it may have been among what was lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets what happened up to now: it was us.
    pub(super) fn forget(&mut self) {
        loop {
            self.buffer.clear();
            match self.socket.socket_ref().recv_from(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether one of these messages says that something of `table` is gone.
fn takes_from(table: &str, mut messages: &[u8]) -> bool {
    // Header: length, type, flags, sequence number, sender; then family, version and resource; then attributes.
    while let Some(&[a, b, c, d, kind, subsystem]) = messages.first_chunk() {
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let (kind, subsystem) = if cfg!(target_endian = "big") { (subsystem, kind) } else { (kind, subsystem) };
        let Some(message) = messages.get(..len).filter(|message| message.len() >= 20) else { return false };
        let inet = message.get(16).copied() == Some(libc::NFPROTO_INET as u8);
        if subsystem == SUBSYSTEM && GONE.contains(&kind) && inet && names(table, message.get(20..).unwrap_or_default())
        {
            return true;
        }
        messages = messages.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// Whether these attributes are of something in `table`.
fn names(table: &str, mut attributes: &[u8]) -> bool {
    while let Some(&[a, b, c, d]) = attributes.first_chunk() {
        let (len, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
        let Some(value) = attributes.get(4..len) else { return false };
        if kind == TABLE {
            return value.strip_suffix(&[0]) == Some(table.as_bytes());
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this type about a table, as the kernel sends it.
    fn message(kind: u8, family: u8, table: &str) -> Vec<u8> {
        let handle = [12_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat();
        let len = u16::try_from(4 + table.len() + 1).expect("short");
        let mut name = [&len.to_ne_bytes()[..], &TABLE.to_ne_bytes(), table.as_bytes(), &[0]].concat();
        name.resize(name.len().next_multiple_of(4), 0);
        let attributes = [handle, vec![0; 8], name].concat();
        let kind = u16::from(SUBSYSTEM) << 8 | u16::from(kind);
        let len = u32::try_from(20 + attributes.len()).expect("short");
        [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &[family, 0, 0, 0], &attributes].concat()
    }

    #[test]
    fn what_goes_from_our_table_is_noticed_and_nothing_else() {
        let (inet, rule) = (libc::NFPROTO_INET as u8, libc::NFT_MSG_DELRULE as u8);
        let ours = message(rule, inet, "cygnet_7296");
        assert!(takes_from("cygnet_7296", &ours));
        let others = [
            message(libc::NFT_MSG_NEWRULE as u8, inet, "cygnet_7296"),
            message(rule, libc::NFPROTO_IPV4 as u8, "cygnet_7296"),
            message(rule, inet, "cygnet_72"),
            message(rule, inet, "cygnet_72960"),
        ];
        assert!(others.iter().all(|other| !takes_from("cygnet_7296", other)));
        assert!(takes_from("cygnet_7296", &[others.concat(), ours.clone()].concat()), "behind others");
        for len in 0..ours.len() {
            takes_from("cygnet_7296", &ours[..len]);
        }
        assert!(!takes_from("cygnet_7296", &[0; 64]), "it ends");
    }
}

//! The system calls `sendmsg` and `recvmmsg`, and nothing else.
//!
//! `quinn-udp` does this too, but knows only the two ECN bits of the traffic class, in both directions; RFC 4301
//! §5.1.2 wants the DSCP as well, packet by packet.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::libc;
use socket2::SockAddr;

use super::control::{Control, Facts, facts};
use crate::net::MAX_SEGMENTS;

/// Datagrams, or coalesced runs of them, that one [`receive`] takes.
pub(in crate::net) const BATCH: usize = 32;
/// Octets of the largest socket address that we ask for, `struct sockaddr_in6`.
const NAME: usize = size_of::<libc::sockaddr_in6>();

/// Sends `contents`, in pieces, to `destination`.
///
/// # Errors
/// As `sendmsg(2)`, interruptions excepted.
pub(super) fn send(
    fd: BorrowedFd<'_>,
    contents: &[IoSlice<'_>],
    destination: SocketAddr,
    control: &Control,
) -> io::Result<()> {
    let name = SockAddr::from(destination);
    let header = header(&name, contents, control);
    loop {
        // SAFETY: the descriptor is open while `fd` lives, and everything that `header` points to outlives the call,
        // which only reads it.
        if unsafe { libc::sendmsg(fd.as_raw_fd(), &header, 0) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends each of `datagrams` to `destination`, as long as the kernel takes them, at most [`MAX_SEGMENTS`]. Returns how
/// many it took: at least one.
///
/// # Errors
/// As `sendmmsg(2)` about the first, interruptions excepted.
pub(super) fn send_many(
    fd: BorrowedFd<'_>,
    datagrams: &[IoSlice<'_>],
    destination: SocketAddr,
    control: &Control,
) -> io::Result<usize> {
    let name = SockAddr::from(destination);
    // SAFETY: all octets zero is a valid `mmsghdr`: null pointers and lengths of zero.
    let mut headers: [libc::mmsghdr; MAX_SEGMENTS] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for (slot, datagram) in headers.iter_mut().zip(datagrams) {
        slot.msg_hdr = header(&name, std::slice::from_ref(datagram), control);
        count += 1;
    }
    loop {
        // SAFETY: the descriptor is open while `fd` lives, and everything that the first `count` headers point to
        // outlives the call, which only reads it, and writes the lengths in the headers themselves.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// A message for the kernel to read. It points to what it is made of.
fn header(name: &SockAddr, contents: &[IoSlice<'_>], control: &Control) -> libc::msghdr {
    let control = control.octets();
    // SAFETY: all octets zero is a valid `msghdr`: null pointers and lengths of zero.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len();
    // `IoSlice` has the layout of `iovec`.
    header.msg_iov = contents.as_ptr().cast_mut().cast();
    header.msg_iovlen = contents.len() as _;
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len() as _;
    }
    header
}

/// Something that [`receive`] got.
pub(super) struct Message<'a> {
    /// Contents.
    pub(super) bytes: &'a mut [u8],
    /// Where it came from; of an error, where the datagram that it is about was sent to.
    pub(super) name: Option<SocketAddr>,
    /// What the kernel says about it.
    pub(super) facts: Facts,
    /// Whether it was longer than its buffer.
    pub(super) truncated: bool,
}

/// Takes what is there, at most [`BATCH`] and one per buffer, without waiting: datagrams, or with `MSG_ERRQUEUE` in
/// `flags` errors about datagrams that were sent. Returns how many there were.
///
/// # Errors
/// As `recvmmsg(2)`, interruptions excepted; `WouldBlock` if there is nothing.
pub(super) fn receive<'b>(
    fd: BorrowedFd<'_>,
    flags: libc::c_int,
    buffers: impl Iterator<Item = &'b mut [u8]>,
    mut each: impl FnMut(Message<'_>),
) -> io::Result<usize> {
    let mut names = [[0_u8; NAME]; BATCH];
    let mut controls = [Control::EMPTY; BATCH];
    let mut slices: [&mut [u8]; BATCH] = std::array::from_fn(|_| Default::default());
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    // SAFETY: all octets zero is a valid `mmsghdr`: null pointers and lengths of zero.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    let mut room: libc::c_uint = 0;
    for (((((buffer, slice), vector), header), name), control) in
        buffers.zip(&mut slices).zip(&mut vectors).zip(&mut headers).zip(&mut names).zip(&mut controls)
    {
        *slice = buffer;
        *vector = libc::iovec { iov_base: slice.as_mut_ptr().cast(), iov_len: slice.len() };
        header.msg_hdr.msg_name = name.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = NAME as libc::socklen_t;
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.room().as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = control.room().len() as _;
        room += 1;
    }
    let count = loop {
        // SAFETY: the descriptor is open while `fd` lives. The first `room` headers point to buffers, names and control
        // areas that live until the end of this function, each to its own, of the lengths given; nothing else
        // touches them during the call.
        let count = unsafe {
            let flags = flags | libc::MSG_DONTWAIT;
            libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), room, flags as _, ptr::null_mut())
        };
        match usize::try_from(count) {
            Ok(count) => break count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    for (((slice, header), name), control) in slices.iter_mut().zip(&headers).zip(&names).zip(&mut controls).take(count)
    {
        let len = (header.msg_len as usize).min(slice.len());
        let Some(bytes) = slice.get_mut(..len) else { continue };
        #[allow(clippy::unnecessary_cast)] // Another integer in other C libraries.
        let filled = control.room().get(..header.msg_hdr.msg_controllen as usize).unwrap_or_default();
        let name = name.get(..header.msg_hdr.msg_namelen as usize).and_then(address);
        each(Message { bytes, name, facts: facts(filled), truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 });
    }
    Ok(count)
}

/// Reads `struct sockaddr_in` or `struct sockaddr_in6`.
fn address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => Some(SocketAddr::new(IpAddr::from(*name.get(4..)?.first_chunk::<4>()?), port)),
        libc::AF_INET6 => {
            let ip = *name.get(8..)?.first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(ip.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

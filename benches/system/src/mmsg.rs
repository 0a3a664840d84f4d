//! Several datagrams per system call, on connected sockets: `recvmmsg(2)` with UDP GRO, and `sendmmsg(2)`.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use nix::libc;

/// Messages of one call.
const BATCH: usize = 64;
/// Room for the one control message that is asked for, in words of eight octets.
const CONTROL: usize = 4;

/// Where in the storage a message is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Message {
    pub(crate) at: usize,
    pub(crate) len: usize,
    /// Size of each datagram in it but the last, which may be smaller.
    pub(crate) segment: usize,
}

/// Buffers for messages of up to `each` octets.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The buffers, behind each other.
    pub(crate) storage: Box<[u8]>,
    each: usize,
    /// What was received last.
    pub(crate) messages: [Message; BATCH],
}

impl Batch {
    /// At most 64 of them.
    pub(crate) fn new(count: usize, each: usize) -> Self {
        let storage = vec![0; count.min(BATCH) * each].into_boxed_slice();
        Self { storage, each, messages: [Message::default(); BATCH] }
    }

    /// The buffers.
    pub(crate) fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.storage.chunks_exact_mut(self.each)
    }

    /// Waits for a message if `flags` says so, and takes it and those behind it. Returns how many there were.
    ///
    /// # Errors
    /// As `recvmmsg(2)`.
    #[inline]
    pub(crate) fn receive(&mut self, fd: impl AsFd, flags: libc::c_int) -> io::Result<usize> {
        let mut controls = [[0_u64; CONTROL]; BATCH];
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all octets zero is a valid `mmsghdr`: null pointers and lengths of zero.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut room: libc::c_uint = 0;
        let buffers = self.storage.chunks_exact_mut(self.each);
        for (((buffer, vector), header), control) in buffers.zip(&mut vectors).zip(&mut headers).zip(&mut controls) {
            *vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = mem::size_of_val(control) as _;
            room += 1;
        }
        // SAFETY: the descriptor is open while `fd` is borrowed. The first `room` headers point to buffers and control
        // areas that outlive the call, each to its own, of the lengths given.
        let count =
            unsafe { libc::recvmmsg(fd.as_fd().as_raw_fd(), headers.as_mut_ptr(), room, flags as _, ptr::null_mut()) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let each = self.each;
        for (n, (message, (header, control))) in
            self.messages.iter_mut().zip(headers.iter().zip(&controls)).take(count).enumerate()
        {
            let len = header.msg_len as usize;
            let segment = segment(control, header.msg_hdr.msg_controllen as _).unwrap_or(len).max(1);
            *message = Message { at: n * each, len, segment };
        }
        Ok(count)
    }

    /// Sends the first `count` buffers, whole. Returns how many the system took.
    ///
    /// # Errors
    /// As `sendmmsg(2)`.
    #[inline]
    pub(crate) fn send(&self, fd: impl AsFd, count: usize) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut used: libc::c_uint = 0;
        let buffers = self.storage.chunks_exact(self.each).take(count);
        for ((buffer, vector), header) in buffers.zip(&mut vectors).zip(&mut headers) {
            *vector = libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: buffer.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            used += 1;
        }
        // SAFETY: the descriptor is open while `fd` is borrowed, and the first `used` headers point to buffers that
        // outlive the call, which only reads them.
        let sent = unsafe { libc::sendmmsg(fd.as_fd().as_raw_fd(), headers.as_mut_ptr(), used, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// The size that UDP GRO tells, from `struct cmsghdr` and an int.
fn segment(control: &[u64; CONTROL], filled: usize) -> Option<usize> {
    let [_, names, data, _] = control.map(u64::to_ne_bytes);
    let word = |octets: &[u8]| octets.first_chunk::<4>().map(|word| i32::from_ne_bytes(*word));
    let told = filled >= 20 && word(&names)? == libc::SOL_UDP && word(&names[4..])? == libc::UDP_GRO;
    told.then(|| word(&data).and_then(|size| usize::try_from(size).ok())).flatten()
}

/// Asks for coalesced reads.
///
/// # Errors
/// Of kernels before 5.0.
pub(crate) fn ask_for_gro(socket: &impl AsFd) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
    Ok(setsockopt(&socket.as_fd(), UdpGroSegment, &true)?)
}

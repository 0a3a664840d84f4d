//! TUN to UDP.

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use cygnet::net::MAX_TOGETHER;
use cygnet::offload::{Head, Segments, complete};
use cygnet::tun::{Frame, MAX_FRAME, Tun, TunDevice, Wait};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::seal::Keys;
use super::{HEADER, TAG};

/// Datagrams of one call: UDP_MAX_SEGMENTS of most kernels.
const MAX_SEGMENTS: usize = 64;

pub(super) struct Outbound {
    tun: Arc<TunDevice>,
    keys: Keys,
    frame: Box<[u8]>,
    train: Train,
}

/// Sealed packets of one size that leave together.
struct Train {
    socket: Arc<UdpSocket>,
    contents: Box<[u8]>,
    len: usize,
    segment: usize,
    packets: usize,
    /// The last one was smaller: nothing may follow.
    closed: bool,
    counter: u64,
}

impl Outbound {
    pub(super) fn new(tun: Arc<TunDevice>, socket: Arc<UdpSocket>, keys: Keys) -> Self {
        let contents = vec![0; MAX_TOGETHER].into_boxed_slice();
        let train = Train { socket, contents, len: 0, segment: 0, packets: 0, closed: false, counter: 0 };
        Self { tun, keys, frame: vec![0; MAX_FRAME].into_boxed_slice(), train }
    }

    pub(super) fn run(&mut self) -> io::Result<()> {
        let Self { tun, keys, frame, train } = self;
        while tun.wait(0, None)? != Wait::Stopped {
            while let Some(Frame { at, head }) = tun.read(0, frame)? {
                let Some(frame) = frame.get_mut(at) else { continue };
                forward(frame, &head, keys, train)?;
            }
            train.send()?;
        }
        Ok(())
    }
}

/// Each packet of a frame, straight into the send buffer.
#[inline]
fn forward(frame: &mut [u8], head: &Head, keys: &Keys, train: &mut Train) -> io::Result<()> {
    match Segments::of(frame, head) {
        Ok(Some(segments)) => {
            for n in 0..segments.count() {
                train.push(segments.len(n), keys, |out| segments.write(frame, n, out))?;
            }
        }
        Ok(None) => {
            if head.checksum.is_none_or(|partial| complete(frame, partial).is_ok()) {
                train.push(frame.len(), keys, |out| out.copy_from_slice(frame))?;
            }
        }
        Err(_) => {}
    }
    Ok(())
}

impl Train {
    /// Appends a packet of `len` octets that `write` writes.
    #[inline]
    fn push(&mut self, len: usize, keys: &Keys, write: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let whole = HEADER + len + TAG;
        let full = self.closed || self.packets == MAX_SEGMENTS || self.len + whole > MAX_TOGETHER;
        if self.packets > 0 && (full || whole > self.segment) {
            self.send()?;
        }
        let Some(place) = self.contents.get_mut(self.len..self.len + whole) else { return Ok(()) };
        if let Some(packet) = place.get_mut(HEADER..HEADER + len) {
            write(packet);
        }
        keys.seal(self.counter, place);
        self.counter += 1;
        if self.packets == 0 {
            self.segment = whole;
        }
        self.closed = whole < self.segment;
        self.len += whole;
        self.packets += 1;
        Ok(())
    }

    /// Sends what is there.
    #[inline]
    fn send(&mut self) -> io::Result<()> {
        if self.packets == 0 {
            return Ok(());
        }
        let segment = self.segment as u16;
        let together = [ControlMessage::UdpGsoSegments(&segment)];
        let control = together.get(usize::from(self.packets < 2)..).unwrap_or_default();
        let contents = self.contents.get(..self.len).unwrap_or_default();
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(contents)], control, MsgFlags::empty(), None);
        (self.len, self.packets, self.closed) = (0, 0, false);
        match sent {
            // The other end is not there yet, or has no room.
            Ok(_) | Err(Errno::ECONNREFUSED | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

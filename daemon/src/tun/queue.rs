//! The queues of a TUN device, each a file descriptor of `/dev/net/tun`. The `tun` crate opens devices with one queue only;
//! it adopts those that are opened here.
//!
//! The kernel puts the packets of a flow, by a hash that is the same in both directions, into one of the queues that are
//! read. It would change its mind, and overtake itself, if answers of the flow were written to another queue; so with
//! several, there are as many that are only written to, and detached, which leaves no trace there. Those are opened
//! first: then their numbers, which the kernel notes with each packet, are those of queues that exist.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use nix::libc;

// From `linux/if_tun.h`; both take a `struct ifreq`, whatever their numbers say.
nix::ioctl_write_ptr!(tun_set_iff, b'T', 202, libc::c_int);
nix::ioctl_write_ptr!(tun_set_queue, b'T', 217, libc::c_int);
/// The device must not be there yet.
const IFF_TUN_EXCL: libc::c_int = 0x8000;

/// The queues of a device, which goes with them.
pub(super) struct Queues {
    /// At least one.
    readers: Vec<tun::Device>,
    /// If there are several readers: as many.
    writers: Vec<tun::Device>,
}

impl Queues {
    /// Makes device `name` with `count` queues to read, or with one on systems that know no others. With `heads`, a
    /// [`Head`](crate::offload::Head) stands before each packet.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken or too long.
    pub(super) fn open(name: &str, count: usize, heads: bool) -> io::Result<Self> {
        if count < 2 {
            return Self::single(name, heads);
        }
        let several = Kind { heads, several: true };
        let first = match open(name, several, IFF_TUN_EXCL) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                tracing::warn!("no TUN device with several queues on this system: one thread seals for all");
                return Self::single(name, heads);
            }
            first => first?,
        };
        let open = |_| open(name, several, 0);
        let mut writers = vec![first];
        writers.extend((1..count).map(open).collect::<io::Result<Vec<_>>>()?);
        let readers = (0..count).map(open).collect::<io::Result<Vec<_>>>()?;
        writers.iter().try_for_each(detach)?;
        Ok(Self { readers, writers })
    }

    fn single(name: &str, heads: bool) -> io::Result<Self> {
        let only = open(name, Kind { heads, several: false }, IFF_TUN_EXCL)?;
        Ok(Self { readers: vec![only], writers: Vec::new() })
    }

    /// How many are read.
    pub(super) fn count(&self) -> usize {
        self.readers.len()
    }

    /// Any one of them: for what concerns the device.
    pub(super) fn first(&self) -> &tun::Device {
        &self.readers[0]
    }

    /// As [`first`](Self::first).
    pub(super) fn first_mut(&mut self) -> &mut tun::Device {
        &mut self.readers[0]
    }

    /// That of a thread that reads.
    pub(super) fn reader(&self, n: usize) -> Option<&tun::Device> {
        self.readers.get(n)
    }

    /// That of a thread that writes.
    pub(super) fn writer(&self, n: usize) -> &tun::Device {
        n.checked_rem(self.writers.len()).and_then(|at| self.writers.get(at)).unwrap_or(self.first())
    }
}

/// What a queue is like; those of a device are alike.
#[derive(Debug, Clone, Copy)]
struct Kind {
    heads: bool,
    /// Whether the device has several.
    several: bool,
}

impl Kind {
    fn flags(self) -> libc::c_int {
        let heads = if self.heads { libc::IFF_VNET_HDR } else { 0 };
        let several = if self.several { libc::IFF_MULTI_QUEUE } else { 0 };
        libc::IFF_TUN | libc::IFF_NO_PI | heads | several
    }
}

fn open(name: &str, kind: Kind, more: libc::c_int) -> io::Result<tun::Device> {
    let fd = OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/net/tun")?);
    let mut request = request(name, kind.flags() | more)?;
    // SAFETY: the descriptor is open, and the kernel reads and writes one `ifreq`, which outlives the call.
    unsafe { tun_set_iff(fd.as_raw_fd(), std::ptr::from_mut(&mut request).cast()) }?;
    let mut adopted = tun::Configuration::default();
    adopted.tun_name(name).raw_fd(fd.into_raw_fd()).close_fd_on_drop(true);
    let device = tun::create(&adopted).map_err(io::Error::other)?;
    device.set_nonblock()?;
    Ok(device)
}

/// Takes a queue from those that packets are handed out to. It can still be written to, and what is written there does
/// not draw the answers of its flow after it.
///
/// # Errors
/// On a device of one queue.
fn detach(queue: &tun::Device) -> io::Result<()> {
    let mut request = request("", libc::IFF_DETACH_QUEUE)?;
    // SAFETY: as above.
    unsafe { tun_set_queue(queue.as_raw_fd(), std::ptr::from_mut(&mut request).cast()) }?;
    Ok(())
}

fn request(name: &str, flags: libc::c_int) -> io::Result<libc::ifreq> {
    // SAFETY: all octets zero is a valid `ifreq`: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        let text = format!("the name has {} octets, at most {} fit", name.len(), request.ifr_name.len() - 1);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    for (slot, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    Ok(request)
}

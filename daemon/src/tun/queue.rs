//! A queue of a TUN device: a file descriptor of `/dev/net/tun`. The `tun` crate opens devices with one queue only; it
//! adopts those that were opened here.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use nix::libc;

// From `linux/if_tun.h`; both take a `struct ifreq`, whatever their numbers say.
nix::ioctl_write_ptr!(tun_set_iff, b'T', 202, libc::c_int);
nix::ioctl_write_ptr!(tun_set_queue, b'T', 217, libc::c_int);

/// What a queue is like; those of a device are alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Whether a head stands before each packet.
    pub(super) heads: bool,
    /// Whether the device has several queues.
    pub(super) several: bool,
}

impl Kind {
    fn flags(self) -> libc::c_int {
        let heads = if self.heads { libc::IFF_VNET_HDR } else { 0 };
        let several = if self.several { libc::IFF_MULTI_QUEUE } else { 0 };
        libc::IFF_TUN | libc::IFF_NO_PI | heads | several
    }
}

/// Opens a queue of device `name`, which the first one makes.
///
/// # Errors
/// Without CAP_NET_ADMIN, without access to /dev/net/tun, or when the name is taken or too long.
pub(super) fn open(name: &str, kind: Kind) -> io::Result<tun::Device> {
    let fd = OwnedFd::from(OpenOptions::new().read(true).write(true).open("/dev/net/tun")?);
    let mut request = request(name, kind.flags())?;
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
pub(super) fn detach(queue: &tun::Device) -> io::Result<()> {
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

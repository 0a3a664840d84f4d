//! Path MTUs of the outer network: how large a packet to a peer may be (RFC 4301 §8.2, RFC 1191, RFC 8201).
//!
//! ```text
//! driver ── watch, forget ──►┌──────────┐◄── set_link ── routes and devices, whenever they change
//!        ◄─ changed, get ────│ PathMtus │◄── too_big ─── ICMP errors about packets that we sent
//!                            └──────────┘◄── expire ──── ten minutes after an ICMP error
//! ```
//!
//! Only paths that are watched, because an SA uses them, are known at all: an ICMP error about another destination
//! finds nothing to change. An ICMP error is not authenticated, so it can only lower a path MTU, and not below what
//! every link carries (RFC 4301 §8.2.1), and is believed for ten minutes (RFC 4301 §8.2.2, RFC 1191 §6.3).

mod auto;
mod keeper;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use self::auto::tun_mtu;
pub use self::keeper::Keeper;

/// Below this no ICMP error brings a path over IPv4 (RFC 791 §3.2: what every host takes), octets.
pub const FLOOR_V4: u16 = 576;
/// Below this no ICMP error brings a path over IPv6 (RFC 8200 §5), octets.
pub const FLOOR_V6: u16 = 1280;
/// How long an ICMP error is believed: then a larger MTU is tried (RFC 1191 §6.3, RFC 8201 §4).
pub const BELIEVED: Duration = Duration::from_secs(600);

/// Our outer address, possibly unspecified, and the peer's.
pub type OuterPath = (IpAddr, IpAddr);

/// The path MTUs of all watched paths. One task, the driver's, waits for changes.
#[derive(Debug, Default)]
pub struct PathMtus {
    paths: Mutex<Paths>,
    /// A path MTU is another than before.
    changed: Notify,
    /// The MTU of a link has to be looked up.
    wanted: Notify,
    /// Of links nobody looks up, octets.
    default_link: Option<u16>,
}

#[derive(Debug, Default)]
struct Paths {
    known: HashMap<OuterPath, Known>,
    /// Changes that nobody took yet.
    news: HashSet<OuterPath>,
}

/// What is known of one path.
#[derive(Debug, Default)]
struct Known {
    watchers: usize,
    /// MTU of our own link, or of our route.
    link: Option<u16>,
    /// What an ICMP error said, and until when that counts.
    learned: Option<(u16, Instant)>,
}

impl Known {
    fn mtu(&self) -> Option<u16> {
        let learned = self.learned.map(|(mtu, _)| mtu);
        self.link.into_iter().chain(learned).min()
    }
}

impl PathMtus {
    /// No paths, and all links of `default_link` octets until [`set_link`](Self::set_link) says otherwise.
    pub fn new(default_link: Option<u16>) -> Self {
        Self { default_link, ..Self::default() }
    }

    /// Keeps an eye on `path` from now on. As many times [`forget`](Self::forget), and it is no longer kept.
    pub fn watch(&self, path: OuterPath) {
        let mut paths = self.lock();
        let known = paths.known.entry(path).or_default();
        known.watchers += 1;
        if known.watchers > 1 {
            return;
        }
        known.link = self.default_link;
        if known.link.is_some() {
            paths.news.insert(path);
            self.changed.notify_one();
        }
        self.wanted.notify_one();
    }

    /// Takes one [`watch`](Self::watch) back.
    pub fn forget(&self, path: OuterPath) {
        let mut paths = self.lock();
        let Some(known) = paths.known.get_mut(&path) else { return };
        known.watchers -= 1;
        if known.watchers == 0 {
            paths.known.remove(&path);
            paths.news.remove(&path);
        }
    }

    /// Largest outer packet, headers included, that gets through to the peer, octets. `None` if the path is not
    /// watched, or its link was not looked up yet.
    pub fn get(&self, path: OuterPath) -> Option<u16> {
        self.lock().known.get(&path)?.mtu()
    }

    /// Waits until [`take_changes`](Self::take_changes) has something to give. For one task at a time.
    pub async fn changed(&self) {
        loop {
            if !self.lock().news.is_empty() {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// The paths whose MTU is another than when they were last taken, with that MTU.
    pub fn take_changes(&self) -> Vec<(OuterPath, u16)> {
        let mut paths = self.lock();
        let news = std::mem::take(&mut paths.news);
        news.into_iter().filter_map(|path| Some((path, paths.known.get(&path)?.mtu()?))).collect()
    }

    /// Our own link, or our route, takes packets of `mtu` octets.
    pub fn set_link(&self, path: OuterPath, mtu: u16) {
        self.update(|other| *other == path, |known| known.link = Some(mtu));
    }

    /// An ICMP error came about a packet that we sent to `remote`: it was too big, and one of `mtu` octets is not.
    pub fn too_big(&self, remote: IpAddr, mtu: u32, now: Instant) {
        let floor = if remote.is_ipv4() { FLOOR_V4 } else { FLOOR_V6 };
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX).max(floor);
        let mut lowered = false;
        self.update(
            |path| path.1 == remote,
            |known| {
                let before = known.mtu();
                if before.is_none_or(|old| mtu <= old) {
                    known.learned = Some((mtu, now + BELIEVED));
                    lowered |= before != Some(mtu);
                }
            },
        );
        // So that somebody waits for its end. What changes nothing wakes nobody: errors are anybody's to send.
        if lowered {
            self.wanted.notify_one();
        }
    }

    /// Forgets ICMP errors that are too old. Returns when the next one will be.
    pub fn expire(&self, now: Instant) -> Option<Instant> {
        self.update(|_| true, |known| known.learned = known.learned.filter(|(_, until)| *until > now));
        self.lock().known.values().filter_map(|known| known.learned).map(|(_, until)| until).min()
    }

    /// The watched paths.
    pub fn watched(&self) -> Vec<OuterPath> {
        self.lock().known.keys().copied().collect()
    }

    /// Asks for all links to be looked up again: a send failed because the packet was too big for its link.
    pub fn look_up(&self) {
        self.wanted.notify_one();
    }

    /// Waits until links have to be looked up. For one task at a time.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn update(&self, which: impl Fn(&OuterPath) -> bool, mut change: impl FnMut(&mut Known)) {
        let mut paths = self.lock();
        let Paths { known, news } = &mut *paths;
        for (path, known) in known.iter_mut().filter(|(path, _)| which(path)) {
            let before = known.mtu();
            change(known);
            if known.mtu() != before {
                news.insert(*path);
                self.changed.notify_one();
            }
        }
    }

    /// Every step under the lock leaves the table consistent, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: OuterPath = (IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const V6: OuterPath = (IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));

    #[test]
    fn a_path_is_known_while_somebody_watches_it() {
        let paths = PathMtus::new(Some(1500));
        assert_eq!(paths.get(V4), None);
        paths.watch(V4);
        paths.watch(V4);
        assert_eq!(paths.take_changes(), [(V4, 1500)]);
        paths.forget(V4);
        assert_eq!(paths.get(V4), Some(1500));
        paths.forget(V4);
        assert_eq!(paths.get(V4), None);
        paths.forget(V4);
        assert!(paths.watched().is_empty());
    }

    #[test]
    fn icmp_errors_lower_within_bounds_and_for_a_time() {
        let (paths, now) = (PathMtus::new(Some(1500)), Instant::now());
        paths.too_big(V4.1, 1400, now);
        for (path, floor) in [(V4, FLOOR_V4), (V6, FLOOR_V6)] {
            paths.watch(path);
            assert_eq!(paths.get(path), Some(1500), "errors about strangers are not remembered");
            paths.take_changes();
            paths.too_big(path.1, 1400, now);
            assert_eq!(paths.take_changes(), [(path, 1400)]);
            paths.too_big(path.1, 1450, now);
            assert_eq!(paths.get(path), Some(1400), "never raised");
            paths.too_big(path.1, 68, now);
            assert_eq!(paths.take_changes(), [(path, floor)]);
            paths.too_big(path.1, 0, now);
            assert_eq!(paths.take_changes(), []);
        }
        assert_eq!(paths.expire(now), Some(now + BELIEVED));
        assert_eq!(paths.get(V4), Some(FLOOR_V4));
        assert_eq!(paths.expire(now + BELIEVED), None);
        assert_eq!(paths.get(V4), Some(1500));
        assert_eq!(paths.take_changes().len(), 2);
    }

    #[test]
    fn the_link_is_an_upper_bound() {
        let (paths, now) = (PathMtus::new(None), Instant::now());
        paths.watch(V4);
        assert_eq!(paths.get(V4), None);
        paths.set_link(V4, 1400);
        paths.too_big(V4.1, 9000, now);
        assert_eq!(paths.get(V4), Some(1400));
        paths.too_big(V4.1, 1300, now);
        paths.set_link(V4, 1280);
        assert_eq!(paths.get(V4), Some(1280));
        paths.set_link(V4, 9000);
        assert_eq!(paths.get(V4), Some(1300));
    }

    #[tokio::test]
    async fn changes_before_the_wait_are_not_lost() {
        let paths = PathMtus::new(Some(1500));
        paths.watch(V4);
        paths.changed().await;
        assert_eq!(paths.take_changes().len(), 1);
        paths.wanted().await;
    }
}

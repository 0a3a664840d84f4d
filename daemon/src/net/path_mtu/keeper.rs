//! Looks up what our own links and routes carry towards the watched paths, when somebody asks and whenever the kernel
//! says that links, addresses, routes or rules changed. Between these it sleeps.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

use super::{OuterPath, PathMtus};
use crate::net::Net;
use crate::net::routing::{link, way};

/// What the kernel shall tell.
const CHANGES: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];
/// Changes come in bursts: how long to wait for the rest of one.
const BURST: Duration = Duration::from_millis(100);

/// The task that keeps [`PathMtus`] true; it ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    tasks: [JoinHandle<()>; 2],
}

impl Keeper {
    /// Starts it for `net`, whose packets carry `mark`. Inside a tokio runtime.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn spawn(net: Arc<dyn Net>, mark: u32) -> io::Result<Self> {
        let (connection, netlink, mut changes) = new_multicast_connection(&CHANGES)?;
        let work = async move {
            let paths = net.path_mtus();
            loop {
                look_up(&netlink, paths, mark).await;
                let idle = Instant::now() + Duration::from_secs(86_400);
                let next = paths.expire(Instant::now()).unwrap_or(idle);
                tokio::select! {
                    () = paths.wanted() => {}
                    () = sleep_until(next.into()) => {}
                    change = changes.next() => {
                        if change.is_none() {
                            tracing::warn!("netlink is gone: changes of the outer MTU will not be noticed");
                            return;
                        }
                        sleep(BURST).await;
                        while changes.try_recv().is_ok() {}
                    }
                }
            }
        };
        Ok(Self { tasks: [tokio::spawn(connection), tokio::spawn(work)] })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Asks the kernel about every watched path. What can't be told, because there is no route at the moment, stays.
async fn look_up(netlink: &Handle, paths: &PathMtus, mark: u32) {
    let mut links: HashMap<u32, u32> = HashMap::new();
    for path in paths.watched() {
        let Ok(way) = way(netlink, specified(path), path.1, mark).await else { continue };
        let of_link = match links.get(&way.interface) {
            Some(mtu) => *mtu,
            None => {
                let Ok(link) = link(netlink, way.interface).await else { continue };
                links.insert(way.interface, link.mtu);
                link.mtu
            }
        };
        let mtu = way.mtu.map_or(of_link, |mtu| mtu.min(of_link));
        paths.set_link(path, u16::try_from(mtu).unwrap_or(u16::MAX));
    }
}

fn specified((local, _): OuterPath) -> Option<IpAddr> {
    (!local.is_unspecified()).then_some(local)
}

//! One of the two hosts: addresses, a gateway, and traffic.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::TryStreamExt;
use rtnetlink::{LinkUnspec, LinkVeth};
use tokio::time::timeout;

use super::setup::Secrets;
use super::{DemoError, measure, report};
use crate::handle::{Handle, Notice};
use crate::runtime::Gateway;

/// Name of the link between the hosts.
const WIRE: &str = "wire";
/// How long the tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// Starts the negotiation.
    A,
    /// Answers it.
    B,
}

impl Side {
    pub(super) fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(super) fn letter(self) -> &'static str {
        ["a", "b"][self.index()]
    }

    pub(super) fn name(self) -> &'static str {
        ["a.demo.example", "b.demo.example"][self.index()]
    }

    pub(super) fn outer(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.index() as u8 + 1)
    }

    pub(super) fn inner(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.index() as u8 + 1, 1)
    }
}

/// Host a: makes the wire to the process `peer`, brings up the tunnel, measures, reports.
pub(super) async fn lead(secrets: &Secrets, peer: u32) -> Result<(), DemoError> {
    let gateway = start(secrets, Side::A, Some(peer)).await?;
    let handle = gateway.handle();
    report::step("negotiating IKEv2 between 192.0.2.1 and 192.0.2.2");
    until_up(&handle).await?;
    report::step("the tunnel is up; pinging 10.77.2.1 from 10.77.1.1 through it");
    let traffic = tokio::task::spawn_blocking(|| {
        let pings = measure::ping(Side::B.inner(), 10)?;
        report::pings(&pings);
        report::step("transferring over TCP, three seconds each way");
        let up = measure::upload(Side::B.inner())?;
        let down = measure::download(Side::B.inner())?;
        report::throughput(up, down);
        Ok::<_, io::Error>(())
    });
    let measured = traffic.await.map_err(|error| DemoError::new("measuring failed", error))?;
    measured.map_err(|error| DemoError::new("no traffic through the tunnel", error))?;
    if let Ok(status) = handle.status().await {
        report::side(Side::A, &status);
    }
    gateway.shutdown().await;
    Ok(())
}

/// Host b: answers until host a has deleted the SAs; then reports how they were.
pub(super) async fn follow(secrets: &Secrets) -> Result<(), DemoError> {
    let gateway = start(secrets, Side::B, None).await?;
    let handle = gateway.handle();
    std::thread::spawn(|| measure::serve(Side::B.inner()));
    let mut events = handle.events();
    let mut last = None;
    // The status is taken again and again, so that what is reported is from just before the end.
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = look.tick() => match handle.status().await {
                Ok(status) if !status.ike_sas.is_empty() => last = Some(status),
                _ => {}
            },
            event = events.recv() => match event.as_deref() {
                Ok(Notice::Failed(failure)) => report::failure(Side::B, failure),
                Ok(Notice::IkeDown { .. }) | Err(_) => break,
                Ok(_) => {}
            },
        }
    }
    if let Some(status) = last {
        report::side(Side::B, &status);
    }
    gateway.shutdown().await;
    Ok(())
}

pub(super) async fn until_up(handle: &Handle) -> Result<(), DemoError> {
    let mut events = handle.events();
    let up = async {
        loop {
            let is_up = |status: crate::handle::Status| status.ike_sas.iter().any(|ike| !ike.children.is_empty());
            if handle.status().await.is_ok_and(is_up) {
                return Ok(());
            }
            let event = timeout(Duration::from_millis(100), events.recv()).await;
            if let Ok(Ok(event)) = event
                && let Notice::Failed(failure) = &*event
            {
                report::failure(Side::A, failure);
            }
        }
    };
    timeout(PATIENCE, up).await.map_err(|error| DemoError::new("the tunnel did not come up", error))?
}

/// Addresses, then the gateway. With `peer`, also makes the wire to that process's namespace.
async fn start(secrets: &Secrets, side: Side, peer: Option<u32>) -> Result<Gateway, DemoError> {
    let failed = |error| DemoError::new("the demonstration's network could not be made", error);
    network(side, peer).await.map_err(failed)?;
    let config = secrets.config(side)?;
    Gateway::start(config)
        .await
        .map_err(|error| DemoError::new(&format!("host {} did not start", side.letter()), error))
}

async fn network(side: Side, peer: Option<u32>) -> Result<(), String> {
    let (connection, netlink, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let text = |error: rtnetlink::Error| error.to_string();
    let link = async |name: &str| {
        let mut links = netlink.link().get().match_name(name.to_owned()).execute();
        links.try_next().await.ok().flatten().map(|link| link.header.index)
    };
    if let Some(peer) = peer {
        netlink.link().add(LinkVeth::new(WIRE, "far").build()).execute().await.map_err(text)?;
        let far = link("far").await.ok_or("the far end of the wire is missing")?;
        let there = LinkUnspec::new_with_index(far).setns_by_pid(peer).name(WIRE).build();
        netlink.link().set(there).execute().await.map_err(text)?;
    }
    let mut wire = link(WIRE).await;
    for _ in 0..500 {
        if wire.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        wire = link(WIRE).await;
    }
    let wire = wire.ok_or("the wire did not appear")?;
    let lo = link("lo").await.ok_or("no loopback device")?;
    for (index, address, len) in [(lo, side.inner(), 32), (wire, side.outer(), 24)] {
        netlink.address().add(index, IpAddr::V4(address), len).execute().await.map_err(text)?;
        netlink.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(text)?;
    }
    connection.abort();
    Ok(())
}

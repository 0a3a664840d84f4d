//! Protection is switched on node by node, sharpened, moved to another authority and switched off, while TCP and ping
//! run between all nodes: nothing → `use` → `require` → new authority through `use` → `require` → off.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::authority::Authority;
use super::kernel::{self, Kernel};
use super::net::{Mesh, NETWORK, address};
use super::node::Node;
use super::traffic::{self, PORT, Pinged, Pinging, Stream};
use crate::bed::Lab;
use crate::capture::{self, Capture};
use crate::control::IkeSa;
use crate::failure::{Context, Result, fail};
use crate::process::until;

/// After each change of one node, before the next.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest that a block and its echo may take.
const STALL: Duration = Duration::from_secs(1);

/// How the nodes are configured at a stage.
#[derive(Debug, Clone, Copy)]
struct Stage<'a> {
    level: &'a str,
    /// Who issued their certificates: the name is that of the files, too.
    certificate: &'a str,
    /// Whose certificates they trust.
    trusted: &'a [&'a str],
}

/// Plays it.
pub(super) fn play(lab: &Lab, number: usize, folder: &Path) -> Result<()> {
    let mut all = All::new(lab, number, folder)?;
    let traffic = Traffic::start(&all, folder)?;
    thread::sleep(SETTLE);

    let first = Stage { level: "use", certificate: "old", trusted: &["old"] };
    all.switch_on(first)?;
    all.change(Stage { level: "require", ..first })?;
    let clear = Capture::plaintext(&all.mesh.nodes[0].namespace, &folder.join("require.pcap"))?;
    thread::sleep(SETTLE * 2);
    capture::must_be_empty(&clear.finish()?)?;

    let both = Stage { trusted: &["old", "new"], ..first };
    all.change(both)?;
    all.change(Stage { certificate: "new", ..both })?;
    let last = Stage { level: "use", certificate: "new", trusted: &["new"] };
    all.change(last)?;
    all.anew()?;
    all.change(Stage { level: "require", ..last })?;
    all.change(last)?;
    all.switch_off()?;
    traffic.finish()
}

/// Three nodes of ours, and one with a kernel's ESP.
#[derive(Debug)]
struct All {
    kernel: Kernel,
    mesh: Mesh,
}

impl All {
    /// All of them, certified by two authorities and running nothing.
    fn new(lab: &Lab, number: usize, folder: &Path) -> Result<Self> {
        let mesh = Mesh::new(lab, number, folder, 3)?;
        let kernel = Kernel::new(lab, &mesh, folder)?;
        for name in ["old", "new"] {
            let authority = Authority::new(name)?;
            kernel.certify(name, &authority)?;
            for node in &mesh.nodes {
                let (certificate, key) = authority.issue(node.address())?;
                node.write(&format!("{name}-ca.pem"), &authority.certificate)?;
                node.write(&format!("{name}.pem"), &certificate)?;
                node.write(&format!("{name}.key"), &key)?;
            }
        }
        Ok(Self { kernel, mesh })
    }

    /// One after the other.
    fn switch_on(&mut self, stage: Stage<'_>) -> Result<()> {
        for node in &mut self.mesh.nodes {
            configure(node, stage)?;
            node.start()?;
            thread::sleep(SETTLE);
        }
        self.kernel.configure(stage.certificate, stage.trusted)?;
        self.kernel.start()?;
        self.protected(&format!("{stage:?}"))
    }

    /// One after the other, by reload.
    fn change(&mut self, stage: Stage<'_>) -> Result<()> {
        for node in &mut self.mesh.nodes {
            configure(node, stage)?;
            node.cygnet(&["reload"]).context(format!("{stage:?}"))?;
            thread::sleep(SETTLE);
            node.must_run()?;
        }
        self.kernel.configure(stage.certificate, stage.trusted)?;
        self.kernel.load()?;
        self.protected(&format!("{stage:?}"))
    }

    /// SAs outlive a change of certificates: new ones show that the new certificates work.
    fn anew(&self) -> Result<()> {
        for node in &self.mesh.nodes {
            node.control.swanctl(&["--terminate", "--ike", "mesh"])?;
            thread::sleep(SETTLE);
            self.protected("after a new start")?;
        }
        Ok(())
    }

    fn switch_off(&mut self) -> Result<()> {
        for node in &mut self.mesh.nodes {
            node.stop()?;
            thread::sleep(SETTLE);
        }
        self.kernel.stop()?;
        thread::sleep(SETTLE);
        Ok(())
    }

    /// Waits until every node has exactly one IKE SA with one pair of SAs to each other node.
    fn protected(&self, when: &str) -> Result<()> {
        let peers = self.mesh.nodes.len();
        let mut seen = String::new();
        let one_each = |ikes: &[IkeSa]| {
            let installed = ikes.iter().flat_map(|ike| &ike.children).filter(|child| child.state == "INSTALLED");
            ikes.len() == peers && installed.count() == peers
        };
        let found = until("one pair of SAs between all nodes", Duration::from_secs(30), || {
            let ours = self.mesh.nodes.iter().map(|node| node.control.established());
            let lists: Vec<_> = ours.chain([self.kernel.established()]).collect();
            seen = format!("{lists:#?}");
            lists.iter().all(|list| list.as_ref().is_ok_and(|ikes| one_each(ikes))).then_some(())
        });
        match found {
            Ok(()) => Ok(()),
            Err(cause) => fail!("{when}: {cause}\n{seen}"),
        }
    }
}

fn configure(node: &Node, stage: Stage<'_>) -> Result<()> {
    let Stage { level, certificate, trusted } = stage;
    let address = node.address();
    let authorities: String =
        trusted.iter().map(|name| format!("[authorities.{name}]\ncacert = \"{name}-ca.pem\"\n")).collect();
    node.configure(
        "raw_esp = true",
        &format!(
            "[connections.mesh]\nlocal_addrs = \"{address}\"\nremote_addrs = \"{NETWORK}\"\n\
             local = {{ id = \"{address}\", auth = \"cert\", cert = \"{certificate}.pem\", key = \"{certificate}.key\" }}\n\
             remote = {{ id = \"%any\", auth = \"cert\", authorities = {trusted:?} }}\n\
             children.all = {{ mode = \"transport\", level = \"{level}\", start_action = \"trap\" }}\n{authorities}"
        ),
    )
}

/// TCP and ping between all pairs.
#[derive(Debug)]
struct Traffic {
    streams: Vec<Stream>,
    pings: Vec<Pinging>,
}

impl Traffic {
    fn start(all: &All, folder: &Path) -> Result<Self> {
        let nodes = &all.mesh.nodes;
        nodes.iter().try_for_each(traffic::echo_on)?;
        let (mut streams, mut pings) = (Vec::new(), Vec::new());
        for from in nodes {
            let ours = nodes.iter().map(Node::address).filter(|to| *to > from.address());
            for to in ours.chain([address(kernel::NUMBER)]) {
                streams.push(Stream::start(from, SocketAddr::new(to, PORT))?);
                pings.push(Pinging::start(from, to, folder)?);
            }
        }
        Ok(Self { streams, pings })
    }

    /// # Errors
    /// When a connection broke, or stalled for longer than [`STALL`].
    fn finish(self) -> Result<()> {
        let mut lost = Pinged::default();
        for ping in self.pings {
            let Pinged { sent, received } = ping.finish()?;
            (lost.sent, lost.received) = (lost.sent + sent, lost.received + received);
        }
        let (mut longest, mut blocks) = (Duration::ZERO, 0);
        for stream in self.streams {
            let (name, account) = stream.finish()?;
            if account.longest > STALL {
                fail!("TCP {name} stalled for {:?}", account.longest);
            }
            longest = longest.max(account.longest);
            blocks += account.blocks;
        }
        println!(
            "      no connection broke; {blocks} blocks, the slowest in {} ms; ping lost {} of {}",
            longest.as_millis(),
            lost.sent - lost.received,
            lost.sent
        );
        Ok(())
    }
}

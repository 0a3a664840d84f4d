//! The test bed of one case: two hosts, the link between them, its captures, and the steps done on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::capture::Capture;
use crate::engine::Engine;
use crate::failure::{Context, Result};
use crate::guest::Pool;
use crate::namespace::{Namespace, PREFIX};
use crate::network::Between;
use crate::pki::{Pki, PkiStore};
use crate::scenario::{Case, Version, Who};
use crate::side::{Program, Side};

/// How many packets the capture for decryption keeps: the handshake, the pings and the start of the transfer.
const PACKETS: usize = 400;

/// What all cases share.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The container engine.
    pub(crate) engine: Engine,
    /// strongSwan's images.
    pub(crate) images: Vec<(Version, String)>,
    /// Guests, where cases have them.
    pub(crate) guests: Option<Arc<Pool>>,
    /// This harness's binary, where every host sees it.
    pub(crate) tool: PathBuf,
    /// Our daemon's binary; without one strongSwan stands in on our side too, to prove the test bed.
    pub(crate) daemon: Option<PathBuf>,
    /// Certificates.
    pub(crate) pki: PkiStore,
    /// Folder of this run.
    pub(crate) scratch: PathBuf,
    /// Whether the files of cases that pass are kept, too.
    pub(crate) keep: bool,
}

impl Lab {
    fn image(&self, version: Version) -> Result<String> {
        let image = self.images.iter().find(|(known, _)| *known == version).context("no such image")?;
        Ok(image.1.clone())
    }

    /// What runs on a side of `case`, which is number `number` of this run.
    fn program(&self, case: &Case, number: usize, who: Who) -> Result<Program> {
        if let (Version::Kernel, Who::Theirs) = (case.peer, who) {
            return self.guests.as_ref().context("no guests")?.lease().map(Program::Guest);
        }
        let namespace = Namespace::new(&format!("{PREFIX}{}-{number}-{}", std::process::id(), who.label()))?;
        match (&self.daemon, who) {
            (Some(binary), Who::Ours) => Ok(Program::Cygnet(binary.clone(), namespace)),
            _ => Ok(Program::Container(self.image(case.peer)?, namespace)),
        }
    }
}

/// The test bed; everything in it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Bed<'lab> {
    /// Shared things.
    pub(crate) lab: &'lab Lab,
    /// The case.
    pub(crate) case: Case,
    /// Its certificates.
    pub(crate) pki: Option<Arc<Pki>>,
    /// The first packets on the link.
    pub(crate) packets: Option<Capture>,
    /// What should not be on the link.
    pub(crate) plaintext: Option<Capture>,
    /// Cygnet's host.
    pub(crate) ours: Side,
    /// strongSwan's host.
    pub(crate) theirs: Side,
    /// What is between them.
    pub(crate) between: Between,
    /// Our network before our daemon started.
    pub(crate) untouched: String,
}

impl<'lab> Bed<'lab> {
    /// Makes the hosts and their link, starts both daemons and both captures.
    pub(crate) fn new(lab: &'lab Lab, case: &Case, number: usize, folder: &Path) -> Result<Self> {
        let pki = lab.pki.of(case.auth)?;
        fs::create_dir_all(folder).context(folder.display())?;
        let side = |who: Who| Side::new(who, folder.join(who.label()), lab.program(case, number, who)?);
        let (ours, theirs) = (side(Who::Ours)?, side(Who::Theirs)?);
        let between = Between::new(case, number, &ours, &theirs)?;
        for side in [&ours, &theirs] {
            side.configure(case, pki.as_deref(), true)?;
        }
        // On our side: the key log tells keys by the addresses that we know.
        let packets = Some(Capture::first(ours.namespace(), &folder.join("packets.pcap"), PACKETS)?);
        let plaintext = Some(Capture::plaintext(theirs.namespace(), &folder.join("plaintext.pcap"))?);
        let untouched = ours.namespace().footprint()?;
        let case = case.clone();
        let mut bed = Self { lab, case, pki, packets, plaintext, ours, theirs, between, untouched };
        bed.theirs.start(&lab.engine)?;
        bed.ours.start(&lab.engine)?;
        Ok(bed)
    }

    /// A side.
    pub(crate) fn side(&self, who: Who) -> &Side {
        match who {
            Who::Ours => &self.ours,
            Who::Theirs => &self.theirs,
        }
    }

    /// A side, to be changed.
    pub(crate) fn side_mut(&mut self, who: Who) -> &mut Side {
        match who {
            Who::Ours => &mut self.ours,
            Who::Theirs => &mut self.theirs,
        }
    }

    /// The side that brings the tunnel up.
    pub(crate) fn initiator(&self) -> &Side {
        self.side(self.case.initiator)
    }

    /// Whether strongSwan stands in for our daemon.
    pub(crate) fn is_self_check(&self) -> bool {
        self.lab.daemon.is_none()
    }
}

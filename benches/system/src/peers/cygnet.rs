//! Cygnet: the release binary of this workspace, a pre-shared key, one Child SA.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::tools::line_of;
use super::{Peer, Tools};
use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::{Context, Result};

pub(super) const AES256: &str = "cygnet aes256";
pub(super) const RAW: &str = "cygnet raw";
pub(super) const SINGLE: &str = "cygnet 1 worker";

pub(super) struct Cygnet {
    pub(super) name: &'static str,
    pub(super) esp: &'static str,
    /// IP protocol 50.
    pub(super) raw: bool,
    /// Threads in each direction, if not one per core.
    pub(super) workers: Option<u8>,
}

impl Cygnet {
    fn configuration(&self, side: Side, folder: &std::path::Path) -> String {
        let other = side.other();
        let start = if side == Side::A { "start" } else { "none" };
        let (esp, raw, encap) = (self.esp, self.raw, !self.raw);
        let workers = self.workers.map_or(String::new(), |workers| format!("workers = {workers}"));
        format!(
            r#"
            [gateway]
            listen = ["{}"]
            raw_esp = {raw}
            {workers}
            control = "{}"
            [connections.bench]
            local_addrs = ["{}"]
            remote_addrs = ["{}"]
            encap = {encap}
            local = {{ id = "{}.example", auth = "psk" }}
            remote = {{ id = "{}.example", auth = "psk" }}
            [connections.bench.children.net]
            local_ts = ["{}/32"]
            remote_ts = ["{}/32"]
            esp_proposals = ["{esp}"]
            start_action = "{start}"
            [secrets.bench]
            psk = "known to all, for benchmarks"
            "#,
            side.outer(),
            folder.join("vici.sock").display(),
            side.outer(),
            other.outer(),
            side.letter(),
            other.letter(),
            side.inner(),
            other.inner(),
        )
    }
}

impl Peer for Cygnet {
    fn name(&self) -> &'static str {
        self.name
    }

    fn look(&self, tools: &Tools) -> Result<String> {
        let way = if self.raw { "IP protocol 50" } else { "ESP in UDP" };
        Ok(format!("{}, {}, {way}", line_of(Command::new(tools.cygnet()?).arg("--version"), "cygnet"), self.esp))
    }

    fn start(&self, bed: &Bed, tools: &Tools) -> Result<Vec<Daemon>> {
        let mut daemons = Vec::new();
        // The one that starts the negotiation comes last.
        for side in [Side::B, Side::A] {
            let folder = bed.folder(side)?;
            let file = folder.join("cygnet.toml");
            fs::write(&file, self.configuration(side, &folder)).context(file.display())?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).context(file.display())?;
            let mut command = bed.namespace(side).command(&tools.cygnet()?);
            command.arg("run").arg("--config").arg(&file);
            daemons.push(Daemon::start(command, &folder)?);
        }
        Ok(daemons)
    }

    fn compared_with(&self) -> &'static str {
        self.name
    }
}

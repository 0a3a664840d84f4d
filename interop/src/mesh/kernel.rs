//! A node that runs strongSwan over its kernel's own ESP, in a guest.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::authority::Authority;
use super::net::{Mesh, address};
use super::traffic::PORT;
use crate::bed::Lab;
use crate::control::{Control, IkeSa};
use crate::failure::{Context, Result, fail};
use crate::guest::{self, Lease};
use crate::namespace::connect;
use crate::process::{self, Process, until};

/// Its number in the mesh.
pub(super) const NUMBER: u8 = 9;

/// charon without libipsec.
const STRONGSWAN: &str = "charon-systemd {
    load = random nonce openssl kdf pem pkcs1 pkcs8 x509 pubkey constraints kernel-netlink socket-default vici
    interfaces_ignore = manage
    retransmit_timeout = 1
    retransmit_tries = 3
    plugins {
        socket-default {
            fwmark = 0x42
        }
        kernel-netlink {
            fwmark = !0x42
        }
        vici {
            socket = {{vici}}
        }
    }
    filelog {
        log {
            path = {{log}}
            default = 1
            ike = 2
            flush_line = yes
        }
    }
}
";

/// A kernel node.
#[derive(Debug)]
pub(super) struct Kernel {
    // The programs go before the guest.
    charon: Option<Process>,
    _echo: Process,
    guest: Lease,
    control: Control,
    folder: PathBuf,
}

impl Kernel {
    /// Joins a guest to the mesh; it echoes, and runs no charon yet. It trusts nobody.
    pub(super) fn new(lab: &Lab, mesh: &Mesh, folder: &Path) -> Result<Self> {
        let guest = lab.guests.as_ref().context("no guests")?.lease()?;
        let folder = folder.join("kernel");
        for name in ["x509", "x509ca", "private"] {
            let name = folder.join(name);
            fs::create_dir_all(&name).context(name.display())?;
        }
        connect((&mesh.hub, "kernel"), (guest.namespace(), "outer"))?;
        mesh.hub.ip(&["link", "set", "kernel", "master", "bridge"])?;
        guest.join_link()?;
        let mine = format!("{}/24", address(NUMBER));
        process::run(&mut guest.command(&["ip", "addr", "add", &mine, "dev", "outer"]), Duration::from_secs(10))?;
        let log = folder.join("log").display().to_string();
        let text = STRONGSWAN.replace("{{vici}}", &format!("tcp://{}", guest::CONTROL)).replace("{{log}}", &log);
        fs::write(folder.join("strongswan.conf"), text).context("strongswan.conf")?;
        let control = Control::tcp(guest.namespace(), guest::CONTROL);
        let listen = SocketAddr::new(address(NUMBER), PORT);
        let tool = lab.tool.display().to_string();
        let mut echo = guest.command(&[&tool, "tool", "echo-blocks", &listen.to_string()]);
        let echo = Process::logged(&mut echo, &folder.join("echo.log"))?;
        until("the kernel node's echo", Duration::from_secs(20), || {
            let connect = move || TcpStream::connect_timeout(&listen, Duration::from_secs(2)).context(listen);
            mesh.nodes.first()?.namespace.run(connect).ok()
        })?;
        Ok(Self { charon: None, _echo: echo, guest, control, folder })
    }

    /// Gives it the authority's certificate and one of its own from it, both called `name`.
    pub(super) fn certify(&self, name: &str, authority: &Authority) -> Result<()> {
        let (certificate, key) = authority.issue(address(NUMBER))?;
        for (file, text) in [
            (format!("{name}-ca.pem"), &authority.certificate),
            (format!("x509/{name}.pem"), &certificate),
            (format!("private/{name}.key"), &key),
        ] {
            fs::write(self.folder.join(&file), text).context(file)?;
        }
        Ok(())
    }

    /// Writes its configuration: its certificate, and the authorities that it trusts.
    pub(super) fn configure(&self, certificate: &str, trusted: &[&str]) -> Result<()> {
        for name in ["old", "new"] {
            let (from, to) =
                (self.folder.join(format!("{name}-ca.pem")), self.folder.join(format!("x509ca/{name}.pem")));
            match trusted.contains(&name) {
                true => fs::copy(&from, &to).map(drop).context(to.display())?,
                // What was never trusted is not there.
                false => drop(fs::remove_file(&to)),
            }
        }
        let me = address(NUMBER);
        let text = format!(
            "connections {{\n mesh {{\n version = 2\n local_addrs = {me}\n remote_addrs = %any\n\
             local {{\n auth = pubkey\n certs = {certificate}.pem\n id = {me}\n }}\n remote {{\n auth = pubkey\n }}\n\
             children {{\n all {{\n mode = transport\n esp_proposals = aes256gcm16-esn-noesn,aes128gcm16\n }}\n }}\n }}\n}}\n"
        );
        fs::write(self.folder.join("swanctl.conf"), text).context("swanctl.conf")
    }

    /// Starts charon, which loads its configuration.
    pub(super) fn start(&mut self) -> Result<()> {
        let conf = format!("STRONGSWAN_CONF={}", self.folder.join("strongswan.conf").display());
        let words = ["env", &conf, &self.directory(), "/usr/sbin/charon-systemd"];
        self.charon = Some(Process::logged(&mut self.guest.command(&words), &self.folder.join("output"))?);
        until("charon's control socket", Duration::from_secs(15), || self.control.answers().then_some(()))?;
        self.load()
    }

    /// Has charon read its configuration again; what is established stays.
    pub(super) fn load(&self) -> Result<()> {
        let words = ["env", &self.directory(), "swanctl", "--load-all", "--clear", "--uri", self.control.uri()];
        let text = process::run(&mut self.guest.command(&words), Duration::from_secs(30))?;
        if text.contains("failed") { fail!("swanctl --load-all: {text}") } else { Ok(()) }
    }

    fn directory(&self) -> String {
        format!("SWANCTL_DIR={}", self.folder.display())
    }

    /// Its established IKE SAs.
    pub(super) fn established(&self) -> Result<Vec<IkeSa>> {
        self.control.established()
    }

    /// Ends charon in good order.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(mut charon) = self.charon.take() else { return Ok(()) };
        charon.stop(Duration::from_secs(10)).map(drop)
    }
}

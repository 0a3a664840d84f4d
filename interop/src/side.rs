//! One side of a case: a host with its outer and inner addresses, and the IKE daemon that runs on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::control::Control;
use crate::engine::{Container, Engine};
use crate::failure::{Context, Result, fail};
use crate::namespace::{Namespace, PREFIX};
use crate::pki::Pki;
use crate::process::{Process, until};
use crate::scenario::{Auth, Case, Esp, Outer, Who};
use crate::template::{Vars, render};

/// What a side runs.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    /// Cygnet: the path of its binary.
    Cygnet(PathBuf),
    /// strongSwan: the image.
    StrongSwan(String),
}

#[derive(Debug)]
enum Running {
    Cygnet(Process),
    StrongSwan(Container),
}

/// A host.
#[derive(Debug)]
pub(crate) struct Side {
    // Dropped first: the daemon goes before its network.
    running: Option<Running>,
    /// Which.
    pub(crate) who: Who,
    /// Its network.
    pub(crate) namespace: Namespace,
    /// Its control socket.
    pub(crate) control: Control,
    /// Its files: configuration, secrets, log.
    pub(crate) folder: PathBuf,
    program: Program,
    starts: u32,
}

/// The fourth octet, or last group, of a side's addresses.
fn number(who: Who) -> u8 {
    match who {
        Who::Ours => 1,
        Who::Theirs => 2,
    }
}

/// A side's address on the outer link.
pub(crate) fn outer(who: Who, family: Outer) -> String {
    match family {
        Outer::V4 => format!("192.0.2.{}", number(who)),
        Outer::V6 => format!("2001:db8::{}", number(who)),
    }
}

/// A side's inner address, which its network in the selectors holds.
pub(crate) fn inner(who: Who, family: Outer) -> String {
    match family {
        Outer::V4 => format!("10.{}.0.1", number(who)),
        Outer::V6 => format!("fd00:{}::1", number(who)),
    }
}

fn network(who: Who, family: Outer) -> String {
    match family {
        Outer::V4 => format!("10.{}.0.0/24", number(who)),
        Outer::V6 => format!("fd00:{}::/64", number(who)),
    }
}

impl Side {
    /// A host that is not running anything yet, its inner addresses up.
    pub(crate) fn new(who: Who, number: usize, folder: PathBuf, program: Program) -> Result<Self> {
        let namespace = Namespace::new(&format!("{PREFIX}{}-{number}-{}", std::process::id(), who.label()))?;
        namespace.ip(&["addr", "add", &format!("{}/32", inner(who, Outer::V4)), "dev", "lo"])?;
        namespace.ip(&["addr", "add", &format!("{}/128", inner(who, Outer::V6)), "dev", "lo"])?;
        fs::create_dir_all(folder.join("keys")).context(folder.display())?;
        let control = Control::new(&folder.join("vici.sock"));
        Ok(Self { who, namespace, control, folder, program, running: None, starts: 0 })
    }

    /// Gives the link its outer addresses.
    pub(crate) fn address_link(&self) -> Result<()> {
        for (family, bits) in [(Outer::V4, "/24"), (Outer::V6, "/64")] {
            let address = outer(self.who, family) + bits;
            self.namespace.ip(&["addr", "add", &address, "dev", "outer", "nodad"])?;
        }
        Ok(())
    }

    /// The log of its daemon.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Writes its configuration for `case`; with `wrong`, the values that are to be corrected later are in force.
    pub(crate) fn configure(&self, case: &Case, pki: Option<&Pki>, wrong: bool) -> Result<()> {
        let mut vars = self.vars(case);
        vars.extend(case.scenario.vars.of(self.who).clone());
        if wrong {
            vars.extend(case.scenario.wrong.of(self.who).clone());
        }
        match &self.program {
            Program::Cygnet(_) => self.configure_cygnet(case, pki, vars),
            Program::StrongSwan(_) => self.configure_strongswan(case, pki, vars),
        }
    }

    fn vars(&self, case: &Case) -> Vars {
        let (me, peer) = (self.who, self.who.other());
        // Each kind of authentication brings its own algorithms and its own kind of identity, so that the matrix
        // covers them without growing.
        let (ike, esp) = match case.auth {
            Auth::Psk => ("aes256gcm16-prfsha384-x25519", "aes128gcm16"),
            Auth::Ecdsa => ("aes128gcm16-prfsha256-ecp256", "aes256gcm16"),
            Auth::Rsa => ("aes256-sha256-modp2048", "aes256-sha256"),
            Auth::Ed25519 => ("aes256gcm16-prfsha512-ecp384", "aes256gcm16"),
        };
        let (ike, esp) = case.algorithms.as_deref().and_then(|both| both.split_once('/')).unwrap_or((ike, esp));
        let id = |who: Who| match case.auth {
            Auth::Psk | Auth::Ecdsa => format!("{}.test", who.label()),
            Auth::Rsa => format!("C=CH, O=Cygnet, CN={}", who.label()),
            Auth::Ed25519 => format!("gate@{}.test", who.label()),
        };
        let path = |name: &str| self.folder.join(name).display().to_string();
        let values = [
            ("local_addr", outer(me, case.outer)),
            ("remote_addr", outer(peer, case.outer)),
            ("local_id", id(me)),
            ("remote_id", id(peer)),
            ("local_net4", network(me, Outer::V4)),
            ("local_net6", network(me, Outer::V6)),
            ("remote_net4", network(peer, Outer::V4)),
            ("remote_net6", network(peer, Outer::V6)),
            ("ike", ike.to_owned()),
            ("esp", esp.to_owned()),
            ("raw_esp", (case.esp == Esp::Raw).to_string()),
            ("psk", "a secret of test machines, known to all".to_owned()),
            ("certificate", "good".to_owned()),
            ("socket", path("vici.sock")),
            ("log", path("log")),
            ("keys", path("keys")),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn configure_cygnet(&self, case: &Case, pki: Option<&Pki>, mut vars: Vars) -> Result<()> {
        let (local, remote, credentials) = match pki {
            None => {
                self.secret("psk", &format!("{}\n", vars["psk"]))?;
                let section = "[secrets.shared]\nids = [\"{{local_id}}\", \"{{remote_id}}\"]\nfile = \"psk\"";
                ("auth = \"psk\"", "auth = \"psk\"", render(section, &vars)?)
            }
            Some(pki) => {
                let mine = pki.of(self.who.label(), &vars["certificate"])?;
                self.secret("local.key", &mine.key)?;
                self.file("local.pem", &mine.chain.concat())?;
                self.file("root.pem", &pki.root)?;
                let local = "auth = \"cert\", cert = \"local.pem\", key = \"local.key\"";
                (local, "auth = \"cert\"", "[authorities.main]\ncacert = \"root.pem\"".to_owned())
            }
        };
        vars.insert("local_auth".to_owned(), local.to_owned());
        vars.insert("remote_auth".to_owned(), remote.to_owned());
        vars.insert("credentials".to_owned(), credentials);
        self.secret("cygnet.toml", &render(&template(case, "cygnet.toml")?, &vars)?)
    }

    fn configure_strongswan(&self, case: &Case, pki: Option<&Pki>, mut vars: Vars) -> Result<()> {
        for folder in ["x509", "x509ca", "private"] {
            fs::create_dir_all(self.folder.join(folder)).context(folder)?;
        }
        let (local, remote, credentials) = match pki {
            None => {
                let section =
                    "secrets {\n ike {\n id-l = {{local_id}}\n id-r = {{remote_id}}\n secret = \"{{psk}}\"\n }\n}\n";
                ("auth = psk", "auth = psk", render(section, &vars)?)
            }
            Some(pki) => {
                let mine = pki.of(self.who.label(), &vars["certificate"])?;
                self.secret("private/local.key", &mine.key)?;
                for (name, pem) in ["x509/local.pem", "x509ca/intermediate.pem"].into_iter().zip(&mine.chain) {
                    self.file(name, pem)?;
                }
                self.file("x509ca/root.pem", &pki.root)?;
                ("auth = pubkey\ncerts = local.pem", "auth = pubkey", String::new())
            }
        };
        vars.insert("local_auth".to_owned(), local.to_owned());
        vars.insert("remote_auth".to_owned(), remote.to_owned());
        vars.insert("credentials".to_owned(), credentials);
        self.secret("swanctl.conf", &render(&template(case, "swanctl.conf")?, &vars)?)?;
        self.secret("strongswan.conf", &render(&template(case, "strongswan.conf")?, &vars)?)
    }

    fn file(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(name), text).context(name)
    }

    fn secret(&self, name: &str, text: &str) -> Result<()> {
        self.file(name, text)?;
        fs::set_permissions(self.folder.join(name), fs::Permissions::from_mode(0o600)).context(name)
    }

    /// Starts its daemon and waits until it can be controlled.
    pub(crate) fn start(&mut self, engine: &Engine) -> Result<()> {
        self.starts += 1;
        // A killed daemon leaves its socket, which must not be taken for the new one's.
        let _ = fs::remove_file(self.folder.join("vici.sock"));
        self.running = Some(match &self.program {
            Program::Cygnet(binary) => {
                let (binary, config) = (binary.to_string_lossy(), self.folder.join("cygnet.toml"));
                let words = [&*binary, "run", "--config", &config.to_string_lossy()];
                let mut command = self.namespace.command(&words);
                command.env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
                Running::Cygnet(Process::logged(&mut command, &self.log())?)
            }
            Program::StrongSwan(image) => {
                let name = format!("{}-{}", self.namespace.name(), self.starts);
                Running::StrongSwan(engine.start(&name, image, &self.namespace, &self.folder)?)
            }
        });
        until(&format!("the control socket of {}", self.who.label()), Duration::from_secs(15), || {
            (self.control.answers() || self.must_run().is_err()).then_some(())
        })?;
        self.must_run()?;
        match self.program {
            Program::StrongSwan(_) => self.load(),
            Program::Cygnet(_) => Ok(()),
        }
    }

    /// Makes strongSwan read its configuration again.
    pub(crate) fn load(&self) -> Result<()> {
        let Some(Running::StrongSwan(container)) = &self.running else { fail!("only strongSwan is loaded") };
        let uri = format!("unix://{}", self.folder.join("vici.sock").display());
        let text = container.exec(&["swanctl", "--load-all", "--clear", "--uri", &uri])?;
        if text.contains("failed") { fail!("swanctl --load-all: {text}") } else { Ok(()) }
    }

    /// Its container.
    ///
    /// # Errors
    /// When it runs none.
    pub(crate) fn container(&self) -> Result<&Container> {
        match &self.running {
            Some(Running::StrongSwan(container)) => Ok(container),
            _ => fail!("{} is not a running container", self.who.label()),
        }
    }

    /// Whether this side runs Cygnet.
    pub(crate) fn is_cygnet(&self) -> bool {
        matches!(self.program, Program::Cygnet(_))
    }

    /// Ends its daemon without a word to anyone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        match self.running.take() {
            Some(Running::StrongSwan(container)) => container.kill(),
            Some(Running::Cygnet(process)) => {
                drop(process);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ends its daemon in good order.
    pub(crate) fn stop(&mut self) -> Result<Option<ExitStatus>> {
        match self.running.take() {
            Some(Running::StrongSwan(container)) => container.stop().map(|()| None),
            Some(Running::Cygnet(mut process)) => process.stop(Duration::from_secs(10)).map(Some),
            None => Ok(None),
        }
    }

    /// Resident memory of our daemon, KiB.
    ///
    /// # Errors
    /// When it does not run any more: a daemon that died is what this finds, too.
    pub(crate) fn memory(&mut self) -> Result<u64> {
        let Some(Running::Cygnet(process)) = &mut self.running else { fail!("not a process of ours") };
        if !process.is_running() {
            fail!("our daemon died");
        }
        let status = format!("/proc/{}/status", process.id());
        let text = fs::read_to_string(&status).context(&status)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("VmRSS")
    }

    /// Fails if our daemon has died.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        if let Some(Running::Cygnet(process)) = &mut self.running
            && !process.is_running()
        {
            fail!("our daemon died");
        }
        Ok(())
    }
}

/// A template: the scenario's own, that of the scenario it is like, or the one for all.
fn template(case: &Case, name: &str) -> Result<String> {
    let own = &case.scenario.folder;
    let like = case.scenario.like.as_ref().map(|like| own.with_file_name(like).join(name));
    let all = own.with_file_name(name);
    let file = [Some(own.join(name)), like, Some(all)].into_iter().flatten().find(|file| Path::new(file).is_file());
    let file = file.context(format!("{}: no {name}", case.scenario.name))?;
    fs::read_to_string(&file).context(file.display())
}

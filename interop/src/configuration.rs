//! The configuration of a side's daemon, from the scenario's templates and the case's values.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::addresses::{network, outer, seen};
use crate::failure::{Context, Result};
use crate::pki::Pki;
use crate::scenario::{Auth, Case, Esn, Esp, Mode, Outer, Who};
use crate::side::{Program, Side};
use crate::template::{Vars, render};

impl Side {
    /// Writes its configuration for `case`; with `wrong`, the values that are to be corrected later are in force.
    pub(crate) fn configure(&self, case: &Case, pki: Option<&Pki>, wrong: bool) -> Result<()> {
        let mut vars = self.vars(case);
        vars.extend(case.scenario.vars.of(self.who).clone());
        if wrong {
            vars.extend(case.scenario.wrong.of(self.who).clone());
        }
        match &self.program {
            Program::Cygnet(..) => self.configure_cygnet(case, pki, vars),
            Program::Container(..) | Program::Guest(_) => self.configure_strongswan(case, pki, vars),
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
        let esn = if case.esn == Esn::On { "-esn" } else { "" };
        let data_path = match self.program {
            Program::Guest(_) => "kernel-netlink",
            Program::Cygnet(..) | Program::Container(..) => "kernel-libipsec kernel-netlink",
        };
        let path = |name: &str| self.folder.join(name).display().to_string();
        let values = [
            ("local_addr", outer(case.nat, me, case.outer)),
            ("remote_addr", seen(case.nat, peer, case.outer)),
            ("local_id", id(me)),
            ("remote_id", id(peer)),
            ("local_net4", network(me, Outer::V4)),
            ("local_net6", network(me, Outer::V6)),
            ("remote_net4", network(peer, Outer::V4)),
            ("remote_net6", network(peer, Outer::V6)),
            ("ike", ike.to_owned()),
            ("esp", format!("{esp}{esn}")),
            ("data_path", data_path.to_owned()),
            ("vici", self.control.uri().to_owned()),
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
        // In transport mode the selectors are the hosts' own addresses, which is what both take for granted.
        let selectors = match case.mode {
            Mode::Tunnel => {
                "local_ts = [\"{{local_net4}}\", \"{{local_net6}}\"]\nremote_ts = [\"{{remote_net4}}\", \"{{remote_net6}}\"]"
            }
            Mode::Transport => "mode = \"transport\"",
        };
        vars.insert("selectors".to_owned(), render(selectors, &vars)?);
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
        let selectors = match case.mode {
            Mode::Tunnel => "local_ts = {{local_net4}}, {{local_net6}}\nremote_ts = {{remote_net4}}, {{remote_net6}}",
            Mode::Transport => "mode = transport",
        };
        vars.insert("selectors".to_owned(), render(selectors, &vars)?);
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

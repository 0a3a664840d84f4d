//! Control of either side by the real `swanctl`: ours and theirs speak the same vici.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::failure::Result;
use crate::namespace::Namespace;
use crate::process::{self, Finished, command};

/// A vici socket.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    uri: String,
    /// What goes before `swanctl` so that it reaches the socket.
    prefix: Vec<String>,
}

/// An IKE SA as `--list-sas --raw` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IkeSa {
    /// CONNECTING, ESTABLISHED, …
    pub(crate) state: String,
    /// Both SPIs.
    pub(crate) spis: (String, String),
    /// Its children.
    pub(crate) children: Vec<ChildSa>,
}

/// A Child SA as `--list-sas --raw` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChildSa {
    /// Its number, on the side that tells of it.
    pub(crate) id: String,
    /// The CPU, a worker of ours, that it belongs to (RFC 9611).
    pub(crate) cpu: Option<String>,
    /// INSTALLED, REKEYED, …
    pub(crate) state: String,
    /// SPI of what it receives.
    pub(crate) spi_in: String,
    /// SPI of what it sends.
    pub(crate) spi_out: String,
}

impl Control {
    /// The socket at `path`.
    pub(crate) fn unix(path: &Path) -> Self {
        Self { uri: format!("unix://{}", path.display()), prefix: Vec::new() }
    }

    /// The TCP port `address` as `namespace` reaches it.
    pub(crate) fn tcp(namespace: &Namespace, address: &str) -> Self {
        let prefix = ["ip", "netns", "exec", namespace.name()].map(str::to_owned).to_vec();
        Self { uri: format!("tcp://{address}"), prefix }
    }

    /// As `swanctl --uri` takes it.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether somebody listens.
    pub(crate) fn answers(&self) -> bool {
        match self.uri.strip_prefix("unix://") {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => {
                let finished = self.attempt(&["--version", "--raw"], Duration::from_secs(5));
                finished.is_ok_and(|finished| finished.status.success())
            }
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let prefix: Vec<&str> = self.prefix.iter().map(String::as_str).collect();
        command(&[&prefix[..], &["swanctl"], words, &["--uri", &self.uri]].concat())
    }

    /// Runs `swanctl` whatever comes of it, within `deadline`.
    pub(crate) fn attempt(&self, words: &[&str], deadline: Duration) -> Result<Finished> {
        process::finish(&mut self.command(words), deadline)
    }

    /// Runs `swanctl`, which must succeed; gives its output.
    pub(crate) fn swanctl(&self, words: &[&str]) -> Result<String> {
        process::run(&mut self.command(words), Duration::from_secs(30))
    }

    /// All IKE SAs with their children.
    pub(crate) fn list(&self) -> Result<Vec<IkeSa>> {
        Ok(parse(&self.swanctl(&["--list-sas", "--raw"])?))
    }

    /// The established IKE SAs.
    pub(crate) fn established(&self) -> Result<Vec<IkeSa>> {
        Ok(self.list()?.into_iter().filter(|ike| ike.state == "ESTABLISHED").collect())
    }

    /// The installed Child SAs.
    pub(crate) fn installed(&self) -> Result<Vec<ChildSa>> {
        let children = self.list()?.into_iter().flat_map(|ike| ike.children);
        Ok(children.filter(|child| child.state == "INSTALLED").collect())
    }
}

/// Reads the raw form: `list-sa event {NAME {key=value … child-sas {NAME {key=value …} …}}}`.
fn parse(text: &str) -> Vec<IkeSa> {
    let spaced = text.replace('{', " { ").replace('}', " } ");
    let mut ikes: Vec<IkeSa> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut previous = "";
    for word in spaced.split_whitespace() {
        match (word, word.split_once('=')) {
            ("{", _) => {
                path.push(previous);
                match (path.len(), path.get(2)) {
                    (2, _) => ikes.push(IkeSa::default()),
                    (4, Some(&"child-sas")) => {
                        ikes.last_mut().into_iter().for_each(|ike| ike.children.push(ChildSa::default()));
                    }
                    _ => {}
                }
            }
            ("}", _) => drop(path.pop()),
            (_, Some((key, value))) => {
                let Some(ike) = ikes.last_mut() else { continue };
                match (path.len(), key) {
                    (2, "state") => ike.state = value.to_owned(),
                    (2, "initiator-spi") => ike.spis.0 = value.to_owned(),
                    (2, "responder-spi") => ike.spis.1 = value.to_owned(),
                    (4, _) => {
                        let Some(child) = ike.children.last_mut() else { continue };
                        match key {
                            "state" => child.state = value.to_owned(),
                            "uniqueid" => child.id = value.to_owned(),
                            "cpu" => child.cpu = Some(value.to_owned()),
                            "spi-in" => child.spi_in = value.to_owned(),
                            "spi-out" => child.spi_out = value.to_owned(),
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        previous = word;
    }
    ikes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_swanctl_prints() {
        let text = "list-sa event {tunnel {uniqueid=1 version=2 state=ESTABLISHED local-id=C=CH, CN=x initiator-spi=aa \
                    responder-spi=bb tasks-active=[] child-sas {net-1 {name=net state=INSTALLED spi-in=c1 spi-out=c2 \
                    local-ts=[10.1.0.0/24]} net-2 {name=net uniqueid=2 cpu=0 state=DELETED spi-in=c3 spi-out=c4}}}}\nlist-sas reply {}";
        let ikes = parse(text);
        assert_eq!(ikes.len(), 1);
        assert_eq!((ikes[0].state.as_str(), &*ikes[0].spis.1), ("ESTABLISHED", "bb"));
        assert_eq!(ikes[0].children.len(), 2);
        let [first, second] = &ikes[0].children[..] else { panic!("two children") };
        assert_eq!((&*second.state, &*second.spi_out, &*second.id), ("DELETED", "c4", "2"));
        assert_eq!((first.cpu.as_deref(), second.cpu.as_deref()), (None, Some("0")));
    }
}

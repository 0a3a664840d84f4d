//! Control of either side by the real `swanctl`: ours and theirs speak the same vici.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Result;
use crate::process::{self, Finished, command};

/// A vici socket.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    socket: PathBuf,
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
    /// INSTALLED, REKEYED, …
    pub(crate) state: String,
    /// SPI of what it receives.
    pub(crate) spi_in: String,
    /// SPI of what it sends.
    pub(crate) spi_out: String,
}

impl Control {
    /// The socket at `socket`.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether somebody listens.
    pub(crate) fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// Runs `swanctl` whatever comes of it, within `deadline`.
    pub(crate) fn attempt(&self, words: &[&str], deadline: Duration) -> Result<Finished> {
        let uri = format!("unix://{}", self.socket.display());
        process::finish(&mut command(&[&["swanctl"], words, &["--uri", &uri]].concat()), deadline)
    }

    /// Runs `swanctl`, which must succeed; gives its output.
    pub(crate) fn swanctl(&self, words: &[&str]) -> Result<String> {
        let uri = format!("unix://{}", self.socket.display());
        process::run(&mut command(&[&["swanctl"], words, &["--uri", &uri]].concat()), Duration::from_secs(30))
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
                    local-ts=[10.1.0.0/24]} net-2 {name=net state=DELETED spi-in=c3 spi-out=c4}}}}\nlist-sas reply {}";
        let ikes = parse(text);
        assert_eq!(ikes.len(), 1);
        assert_eq!((ikes[0].state.as_str(), &*ikes[0].spis.1), ("ESTABLISHED", "bb"));
        assert_eq!(ikes[0].children.len(), 2);
        assert_eq!((&*ikes[0].children[1].state, &*ikes[0].children[1].spi_out), ("DELETED", "c4"));
    }
}

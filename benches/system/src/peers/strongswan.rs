//! strongSwan with its data path in userspace, `kernel-libipsec`. It always sends ESP in UDP, but for `raw_esp` of 6.x.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::tools::line_of;
use super::{Peer, Tools, cygnet};
use crate::bed::{Bed, Namespace, Side};
use crate::daemon::Daemon;
use crate::failure::{Context, Failure, Result};

const REMEDY: &str = "Debian: apt-get install charon-systemd strongswan-swanctl libcharon-extra-plugins \
                      libstrongswan-standard-plugins";
/// Where Debian puts plugins.
const PLUGIN: &str = "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so";
/// How long the daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) struct StrongSwan {
    pub(super) name: &'static str,
    /// IP protocol 50.
    pub(super) raw: bool,
}

/// Runs what follows in a root file system, with devices, processes and files for the time being of this one. The mounts
/// are those of `ip netns exec`, and go with it.
const IN_ROOT: &str = "set -e; root=$1; shift
    for folder in dev proc sys tmp; do mount --rbind /$folder $root/$folder; done
    exec chroot $root $@";

impl StrongSwan {
    /// Where it is, if not in the system itself.
    fn root<'t>(&self, tools: &'t Tools) -> Option<&'t Path> {
        tools.strongswan_root().filter(|_| self.raw)
    }

    fn charon(&self, namespace: &Namespace, tools: &Tools) -> Result<Command> {
        let Some(root) = self.root(tools) else {
            return Ok(namespace.command(&tools.find("charon-systemd", REMEDY)?));
        };
        let mut command = namespace.command(Path::new("sh"));
        command.args(["-c", IN_ROOT, "sh"]).arg(root).arg("/usr/sbin/charon-systemd");
        Ok(command)
    }

    fn daemon_configuration(&self, folder: &Path) -> String {
        let raw = if self.raw { "raw_esp = yes" } else { "" };
        let [socket, log] = ["vici.sock", "log"].map(|name| folder.join(name).display().to_string());
        format!(
            "charon-systemd {{
                load = random nonce openssl kdf kernel-libipsec kernel-netlink socket-default vici updown
                plugins {{
                    kernel-libipsec {{
                        load = yes
                        allow_peer_ts = yes
                        {raw}
                    }}
                    socket-default {{
                        fwmark = 0x42
                    }}
                    kernel-netlink {{
                        fwmark = !0x42
                    }}
                    vici {{
                        socket = unix://{socket}
                    }}
                }}
                filelog {{
                    log {{
                        path = {log}
                        default = 1
                        flush_line = yes
                    }}
                }}
            }}\n"
        )
    }

    fn connection(side: Side) -> String {
        let other = side.other();
        format!(
            "connections {{
                bench {{
                    version = 2
                    local_addrs = {}
                    remote_addrs = {}
                    proposals = aes256gcm16-prfsha384-x25519
                    local {{
                        auth = psk
                        id = {}.example
                    }}
                    remote {{
                        auth = psk
                        id = {}.example
                    }}
                    children {{
                        net {{
                            local_ts = {}/32
                            remote_ts = {}/32
                            esp_proposals = aes128gcm16
                        }}
                    }}
                }}
            }}
            secrets {{
                ike-bench {{
                    secret = \"known to all, for benchmarks\"
                }}
            }}\n",
            side.outer(),
            other.outer(),
            side.letter(),
            other.letter(),
            side.inner(),
            other.inner(),
        )
    }
}

/// `swanctl` for the daemon whose files are in `folder`.
fn swanctl(program: &Path, folder: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(words).arg("--uri").arg(format!("unix://{}", folder.join("vici.sock").display()));
    command.env("SWANCTL_DIR", folder).env("STRONGSWAN_CONF", folder.join("strongswan.conf"));
    let output = command.output().context("swanctl")?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Err(Failure(format!("swanctl {}: {}", words.join(" "), text.lines().last().unwrap_or_default())))
}

impl Peer for StrongSwan {
    fn name(&self) -> &'static str {
        self.name
    }

    fn look(&self, tools: &Tools) -> Result<String> {
        let root = self.root(tools);
        let plugin = root.map_or_else(|| PLUGIN.into(), |root| root.join(PLUGIN.trim_start_matches('/')));
        let control = tools.find("swanctl", REMEDY)?;
        if root.is_none() {
            tools.find("charon-systemd", REMEDY)?;
        }
        if !plugin.is_file() {
            return Err(Failure(format!("there is no {} ({REMEDY})", plugin.display())));
        }
        let mut command = match root {
            None => Command::new(control),
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).arg("swanctl");
                command
            }
        };
        let version = line_of(command.arg("--version"), "strongSwan");
        let version = version.split(" swanctl").next().unwrap_or_default();
        let major = version.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u32>().ok());
        if self.raw && major.is_none_or(|major| major < 6) {
            return Err(Failure(format!("raw_esp needs strongSwan 6, this is {version} (see --strongswan-root)")));
        }
        let way = if self.raw { "IP protocol 50" } else { "ESP in UDP" };
        Ok(format!("{version}, libipsec, aes128gcm16, {way}"))
    }

    fn start(&self, bed: &Bed, tools: &Tools) -> Result<Vec<Daemon>> {
        let control = tools.find("swanctl", REMEDY)?;
        let mut daemons = Vec::new();
        for side in Side::BOTH {
            let folder = bed.folder(side)?;
            let settings: PathBuf = folder.join("strongswan.conf");
            fs::write(&settings, self.daemon_configuration(&folder)).context(settings.display())?;
            fs::write(folder.join("swanctl.conf"), Self::connection(side)).context("swanctl.conf")?;
            let mut command = self.charon(bed.namespace(side), tools)?;
            command.env("STRONGSWAN_CONF", &settings).env("SWANCTL_DIR", &folder);
            let mut daemon = Daemon::start(command, &folder)?;
            let begun = Instant::now();
            while let Err(error) = swanctl(&control, &folder, &["--load-all"]) {
                daemon.check()?;
                if begun.elapsed() > PATIENCE {
                    return Err(error);
                }
                thread::sleep(Duration::from_millis(100));
            }
            daemons.push(daemon);
        }
        swanctl(&control, &bed.folder(Side::A)?, &["--initiate", "--child", "net", "--timeout", "15"])?;
        Ok(daemons)
    }

    fn compared_with(&self) -> &'static str {
        if self.raw { cygnet::RAW } else { super::CYGNET }
    }
}

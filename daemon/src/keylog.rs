//! Session keys for Wireshark and tshark, so that a capture of our own traffic can be read.
//!
//! Two files in one directory, named and written as Wireshark's preference tables of the same names: copy them into
//! its configuration directory, or point `WIRESHARK_CONFIG_DIR` at this one. Who reads them reads all traffic: they
//! are readable by their owner only.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use cygnet_ike::event::SessionKeys;
use cygnet_ike::secret::Secret;
use zeroize::Zeroizing;

/// Keys of IKE SAs, for decrypting SK payloads.
pub const IKE_TABLE: &str = "ikev2_decryption_table";

/// Keys of ESP SAs; Wireshark's preference `esp.enable_encryption_decode` must be on.
pub const ESP_TABLE: &str = "esp_sa";

/// Appends to both files.
#[derive(Debug)]
pub struct KeyLog {
    ike: File,
    esp: File,
}

impl KeyLog {
    /// Opens both files in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// If a file can't be opened for its owner alone.
    pub fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self { ike: open(&directory.join(IKE_TABLE))?, esp: open(&directory.join(ESP_TABLE))? })
    }

    /// Appends one entry.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write(&mut self, keys: &SessionKeys) -> io::Result<()> {
        let line = Zeroizing::new(entry(keys));
        match keys {
            SessionKeys::Ike { .. } => self.ike.write_all(line.as_bytes()),
            SessionKeys::Esp { .. } => self.esp.write_all(line.as_bytes()),
        }
    }
}

/// Opens for appending; an existing file loses the rights of others.
fn open(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// One line of a table.
fn entry(keys: &SessionKeys) -> String {
    let mut line = String::with_capacity(512);
    match keys {
        SessionKeys::Ike { spi_i, spi_r, encr, sk_ei, sk_er, integ, sk_ai, sk_ar } => {
            let _ = write!(line, "{:016x},{:016x},", spi_i.0, spi_r.0);
            hex(&mut line, sk_ei);
            line.push(',');
            hex(&mut line, sk_er);
            let _ = write!(line, ",\"{encr}\",");
            hex(&mut line, sk_ai);
            line.push(',');
            hex(&mut line, sk_ar);
            let _ = writeln!(line, ",\"{integ}\"");
        }
        SessionKeys::Esp { path, outbound, spi, encr, encr_key, integ, integ_key } => {
            let (ours, peer) = (path.local.ip(), path.remote.ip());
            let (source, destination) = if *outbound { (ours, peer) } else { (peer, ours) };
            let family = if peer.is_ipv4() { "IPv4" } else { "IPv6" };
            // The routing table may choose our address: Wireshark's wildcard stands for it then.
            let shown = |address: std::net::IpAddr| match address.is_unspecified() {
                true => "*".to_owned(),
                false => address.to_string(),
            };
            let (source, destination) = (shown(source), shown(destination));
            let _ = write!(line, "\"{family}\",\"{source}\",\"{destination}\",\"0x{:08x}\",\"{encr}\",\"0x", spi.0);
            hex(&mut line, encr_key);
            let _ = write!(line, "\",\"{integ}\",\"");
            if !integ_key.expose().is_empty() {
                line.push_str("0x");
                hex(&mut line, integ_key);
            }
            line.push_str("\"\n");
        }
    }
    line
}

fn hex(line: &mut String, secret: &Secret) {
    for octet in secret.expose() {
        let _ = write!(line, "{octet:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use cygnet_esp::Spi;
    use cygnet_ike::output::Path as Way;

    use super::*;

    fn secret(octet: u8, length: usize) -> Secret {
        Secret::new(vec![octet; length])
    }

    fn esp(outbound: bool) -> SessionKeys {
        SessionKeys::Esp {
            path: Way {
                local: "192.0.2.1:4500".parse().unwrap(),
                remote: "192.0.2.2:4500".parse().unwrap(),
                marker: true,
            },
            outbound,
            spi: Spi(0xc0ff_ee01),
            encr: "AES-GCM with 16 octet ICV [RFC4106]",
            encr_key: secret(0xab, 4),
            integ: "NULL",
            integ_key: secret(0, 0),
        }
    }

    #[test]
    fn entries_are_written_as_wireshark_reads_them() {
        let ike = SessionKeys::Ike {
            spi_i: cygnet_ike::message::IkeSpi(1),
            spi_r: cygnet_ike::message::IkeSpi(0xabc),
            encr: "AES-GCM-256 with 16 octet ICV [RFC5282]",
            sk_ei: secret(1, 2),
            sk_er: secret(2, 2),
            integ: "NONE [RFC4306]",
            sk_ai: secret(0, 0),
            sk_ar: secret(0, 0),
        };
        let wanted = "0000000000000001,0000000000000abc,0101,0202,\
                      \"AES-GCM-256 with 16 octet ICV [RFC5282]\",,,\"NONE [RFC4306]\"\n";
        assert_eq!(entry(&ike), wanted);
        let wanted = "\"IPv4\",\"192.0.2.1\",\"192.0.2.2\",\"0xc0ffee01\",\
                      \"AES-GCM with 16 octet ICV [RFC4106]\",\"0xabababab\",\"NULL\",\"\"\n";
        assert_eq!(entry(&esp(true)), wanted);
        assert!(entry(&esp(false)).starts_with("\"IPv4\",\"192.0.2.2\",\"192.0.2.1\","));
    }

    #[test]
    fn only_the_owner_may_read() {
        let directory = std::env::temp_dir().join(format!("cygnet-keylog-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(ESP_TABLE), "").unwrap();
        std::fs::set_permissions(directory.join(ESP_TABLE), std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut log = KeyLog::open(&directory).unwrap();
        log.write(&esp(true)).unwrap();
        log.write(&esp(false)).unwrap();
        for table in [IKE_TABLE, ESP_TABLE] {
            assert_eq!(std::fs::metadata(directory.join(table)).unwrap().mode() & 0o777, 0o600, "{table}");
        }
        assert_eq!(std::fs::read_to_string(directory.join(ESP_TABLE)).unwrap().lines().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

//! Reading of the files that a configuration names.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// Longest file read, octets: far beyond any key, chain or set of authorities.
const MAX_FILE: u64 = 1024 * 1024;

/// Where named files come from: the disk, or nowhere when only the text is to be checked.
pub(super) trait Files {
    /// The content of `path`. A `secret` one must not be open to others.
    ///
    /// # Errors
    /// What is wrong with the file, and the remedy.
    fn read(&self, path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, Unreadable>;
}

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// One clause, without the path.
    pub(super) cause: String,
    /// What to do.
    pub(super) remedy: String,
}

/// The file system.
pub(super) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let failed = |error: std::io::Error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("create {}, or correct the path (it is relative to the configuration file)", path.display())
                }
                std::io::ErrorKind::PermissionDenied => "run as the owner of the file, normally root".to_owned(),
                _ => "give the path of a readable file".to_owned(),
            };
            Unreadable { cause: lower_first(&error.to_string()), remedy }
        };
        // Not blocking: opening a FIFO would wait for somebody to write.
        let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
        let mut file = open.map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            let remedy = "give the path of a regular file".to_owned();
            return Err(Unreadable { cause: "not a regular file".to_owned(), remedy });
        }
        if secret && about.mode() & 0o077 != 0 {
            return Err(Unreadable {
                cause: format!("others may read it: its mode is {:04o}", about.mode() & 0o7777),
                remedy: format!("chmod 600 {}", path.display()),
            });
        }
        let us = nix::unistd::geteuid().as_raw();
        if secret && about.uid() != us && about.uid() != 0 {
            return Err(Unreadable {
                cause: format!("it belongs to another user, of number {}", about.uid()),
                remedy: format!("chown {us} {}", path.display()),
            });
        }
        if about.len() > MAX_FILE {
            let remedy = "give the path of the key or certificate itself".to_owned();
            return Err(Unreadable { cause: format!("longer than {MAX_FILE} octets"), remedy });
        }
        let mut content = Zeroizing::new(Vec::with_capacity(about.len() as usize + 1));
        file.by_ref().take(MAX_FILE).read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }
}

/// No files at all: what needs one is a mistake, everything else is still checked. For fuzzing.
pub(super) struct Nowhere;

impl Files for Nowhere {
    fn read(&self, _path: &Path, _secret: bool) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        Err(Unreadable { cause: "no files here".to_owned(), remedy: "none".to_owned() })
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_secret_is_a_regular_file_of_ours_that_nobody_else_reads() {
        let directory = std::env::temp_dir().join(format!("cygnet-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (file, link, pipe) = (directory.join("key"), directory.join("link"), directory.join("pipe"));
        std::fs::write(&file, "secret").unwrap();
        symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = |path: &Path| Disk.read(path, true).unwrap_err().cause;

        mode(0o644);
        assert!(refused(&file).contains("0644"));
        assert!(refused(&link).contains("0644"), "what counts is the file, not the link");
        mode(0o600);
        assert_eq!(&**Disk.read(&link, true).unwrap(), b"secret");
        assert!(refused(&pipe).contains("not a regular file"), "and nobody waits for a writer");
        if nix::unistd::geteuid().is_root() {
            chown(&file, Some(65_534), None).unwrap();
            assert!(refused(&file).contains("another user"));
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

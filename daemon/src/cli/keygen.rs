//! `keygen`: secrets that nobody has to invent.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64ct::{Base64, Encoding};
use clap::Subcommand;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// What to make.
#[derive(Debug, Subcommand)]
pub(super) enum Keygen {
    /// A pre-shared key: random octets in Base64 (RFC 7296 §2.15 wants as much randomness as the strongest key).
    Psk {
        /// Write to this new file, for its owner only, instead of to standard output.
        #[arg(long, short, value_name = "PATH")]
        output: Option<PathBuf>,
        /// Random octets.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(32..=1024))]
        octets: u16,
    },
}

pub(super) fn keygen(what: Keygen) -> Result<(), Report> {
    let Keygen::Psk { output, octets } = what;
    let mut secret = Zeroizing::new(vec![0; octets.into()]);
    SystemRandom::new().fill(&mut secret).map_err(|_| miette!("the system's random number generator failed"))?;
    let mut text = Zeroizing::new(Base64::encode_string(&secret));
    text.push('\n');
    match output {
        None => std::io::stdout().write_all(text.as_bytes()).into_diagnostic(),
        Some(path) => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .into_diagnostic()
            .wrap_err_with(|| format!("{} can't be written (an existing file is never overwritten)", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_new_secret_is_the_owners_and_never_overwrites() {
        let path = std::env::temp_dir().join(format!("cygnet-keygen-{}.psk", std::process::id()));
        let psk = || Keygen::Psk { output: Some(path.clone()), octets: 32 };
        keygen(psk()).unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        assert_eq!(first.trim_end().len(), 44);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(keygen(psk()).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        std::fs::remove_file(&path).unwrap();
    }
}

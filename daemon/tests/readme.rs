//! What the README says is so: its configurations are legal, the files it points at exist.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// A folder with the files that the examples name.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("cygnet-readme-{}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        folder.write("ca.pem", &params.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["a.example".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        folder.write("a.pem", &certificate.pem());
        folder.write("a.key", &key.serialize_pem());
        folder.write("mesh.psk", "a secret that all the nodes of a network share");
        folder.write("lab-in.key", &"07".repeat(64));
        folder.write("lab-out.key", &"08".repeat(64));
        folder.write("b.psk", "a secret of the example on the first page");
        folder.write("branch.psk", "a secret of the long example further down");
        folder
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn its_configurations_are_legal() {
    let folder = Folder::new();
    let readme = readme();
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let config =
            cygnet::config::parse(example, "README.md", &folder.0).unwrap_or_else(|report| panic!("{report:?}"));
        // Manual SAs are warned about, and nothing else is.
        assert_eq!(config.warnings.len(), usize::from(!config.manual.is_empty()), "{:?}", config.warnings);
        assert!(!config.ike.connections.is_empty() || !config.manual.is_empty());
    }
}

#[test]
fn the_files_it_points_at_exist() {
    let root = root();
    let readme = readme();
    let named: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with('|') || line.starts_with("**Reading") || line.starts_with("`ike/"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('/'))
        .collect();
    assert!(named.len() > 50, "the tables are gone");
    for name in named {
        assert!(root.join(name).exists() || root.join("ike/src").join(name).exists(), "{name} is not there");
    }
}

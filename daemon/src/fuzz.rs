//! Bodies of the fuzz targets for what the daemon itself reads: `fuzz/` calls them with new inputs.

/// Any octets as a configuration file.
pub fn config(octets: &[u8]) {
    crate::config::fuzz(octets);
}

/// Any octets as a packet on the control socket.
pub fn vici(octets: &[u8]) {
    crate::control::vici::fuzz(octets);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/config")).unwrap();
        let replayed = corpus.map(|entry| super::config(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
    }

    #[test]
    fn the_control_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/vici")).unwrap();
        let replayed = corpus.map(|entry| super::vici(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
    }
}

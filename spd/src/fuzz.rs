//! Bodies of fuzz targets: laws that hold for any octets. `cargo test` replays the corpus.

use crate::flow::{Direction, Flow};
use crate::selector::Selector;

/// Whatever the octets, [`Flow::parse`] gives a flow or an error, and the flow is the same one seen from both sides.
///
/// # Panics
/// If a law is broken.
pub fn flow(data: &[u8]) {
    let out = Flow::parse(data, Direction::Outbound);
    let inbound = Flow::parse(data, Direction::Inbound);
    assert_eq!(out.map(|f| (f.local, f.remote, f.protocol)), inbound.map(|f| (f.remote, f.local, f.protocol)));
    for flow in out.into_iter().chain(inbound) {
        let (local, remote) = flow.selectors();
        assert_eq!(local.to_string().parse(), Ok(local));
        assert!(Selector { local: vec![local], remote: vec![remote] }.contains(&flow));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/flow")).unwrap();
        let replayed = corpus.map(|entry| super::flow(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
    }
}

//! Linux's own SAs as `ip xfrm state` tells them: an independent witness of what was negotiated.

use crate::failure::{Context, Result};

/// An SA of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// SPI, 0x and eight digits.
    pub(crate) spi: String,
    /// `tunnel` or `transport`.
    pub(crate) mode: String,
    /// Key, salt included, 0x and digits.
    pub(crate) key: String,
    /// Whether its sequence numbers have 64 bits.
    pub(crate) esn: bool,
    /// Whether it is encapsulated in UDP.
    pub(crate) udp: bool,
}

/// Reads `ip xfrm state`.
pub(crate) fn states(text: &str) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| words.iter().skip_while(|word| **word != name).nth(1).map(|word| (*word).to_owned());
        match (words.first(), states.last_mut()) {
            (Some(&"src"), _) => states.push(State::default()),
            (Some(&"proto"), Some(state)) => {
                state.spi = after("spi").unwrap_or_default();
                state.mode = after("mode").unwrap_or_default();
            }
            (Some(&"replay-window"), Some(state)) => state.esn |= words.contains(&"esn"),
            (Some(&"aead" | &"enc"), Some(state)) => {
                state.key = words.get(2).map_or_else(String::new, |key| (*key).into())
            }
            (Some(&"encap"), Some(state)) => state.udp = true,
            _ => {}
        }
    }
    states
}

/// SPIs and keys of a key log's table `esp_sa`: the latest entry of an SPI is the one in force.
pub(crate) fn logged(table: &str, spi: &str) -> Result<String> {
    let entries =
        table.lines().rev().map(|line| line.split(',').map(|word| word.trim_matches('"')).collect::<Vec<_>>());
    let mut of_spi = entries.filter(|words| words.get(3) == Some(&spi));
    let entry = of_spi.next().context(format!("no key of {spi} in the key log"))?;
    Ok((*entry.get(5).context("a short line in the key log")?).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ip_prints() {
        let text = "src 192.0.2.2 dst 192.0.2.1\n\tproto esp spi 0xc0ffee01 reqid 1 mode tunnel\n\
                    \treplay-window 0 flag af-unspec esn\n\taead rfc4106(gcm(aes)) 0xabcd 128\n\
                    \tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0\n\tanti-replay esn context:\n\
                    src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00000001 reqid 1 mode transport\n\
                    \treplay-window 32 flag af-unspec\n\taead rfc4106(gcm(aes)) 0x12 128\n";
        let [a, b] = &states(text)[..] else { panic!("two") };
        assert_eq!(
            (a.spi.as_str(), a.mode.as_str(), a.key.as_str(), a.esn, a.udp),
            ("0xc0ffee01", "tunnel", "0xabcd", true, true)
        );
        assert_eq!((b.spi.as_str(), b.mode.as_str(), b.esn, b.udp), ("0x00000001", "transport", false, false));
    }

    #[test]
    fn finds_the_latest_key() {
        let table = "\"IPv4\",\"a\",\"b\",\"0x01\",\"AES\",\"0xaa\",\"NULL\",\"\"\n\"IPv4\",\"a\",\"b\",\"0x01\",\"AES\",\"0xbb\",\"NULL\",\"\"\n";
        assert_eq!(logged(table, "0x01").expect("there"), "0xbb");
        assert!(logged(table, "0x02").is_err());
    }
}

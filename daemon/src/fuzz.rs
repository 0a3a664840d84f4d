//! Bodies of the fuzz targets for what the daemon itself reads: `fuzz/` calls them with new inputs.

/// Any octets as a configuration file.
pub fn config(octets: &[u8]) {
    crate::config::fuzz(octets);
}

/// Any octets as a packet on the control socket.
pub fn vici(octets: &[u8]) {
    crate::control::vici::fuzz(octets);
}

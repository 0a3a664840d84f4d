//! What both sides announce in IKE_SA_INIT besides the key exchange: where they think they are (NAT detection, RFC 7296
//! §2.23), fragmentation (RFC 7383 §2.3), hash functions (RFC 7427 §4).

use std::net::SocketAddr;

use crate::auth::{SIGNATURE_HASHES, decode_hashes, encode_hashes};
use crate::config::{Config, Connection};
use crate::message::{Chain, IkeSpi, MessageBuilder, NotifyType};
use crate::output::Path;
use crate::sa::{IkeSa, PeerFeatures, nat};
use crate::status::NatStatus;

/// NAT_DETECTION_* (RFC 7296 §2.23), IKEV2_FRAGMENTATION_SUPPORTED (RFC 7383 §2.3), SIGNATURE_HASH_ALGORITHMS
/// (RFC 7427 §4).
pub(crate) fn notify_support(
    message: &mut MessageBuilder,
    path: Path,
    fake_nat: bool,
    (spi_i, spi_r): (IkeSpi, IkeSpi),
) {
    // A source that is not ours makes the peer see a NAT, and so use UDP encapsulation.
    let source: SocketAddr = if fake_nat { ([0, 0, 0, 0], 0).into() } else { path.local };
    message.notify(NotifyType::NAT_DETECTION_SOURCE_IP, &nat::hash(spi_i.0, spi_r.0, source));
    message.notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &nat::hash(spi_i.0, spi_r.0, path.remote));
    message.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]);
    message.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &encode_hashes(&SIGNATURE_HASHES));
}

/// Whether we pretend to be behind a NAT, to get UDP encapsulation.
pub(crate) fn fakes_nat(config: &Config, connection: &Connection) -> bool {
    connection.force_encap || !config.raw_esp
}

/// Reads what the peer announces.
pub(crate) fn peer_features(payloads: &Chain<'_>) -> PeerFeatures {
    PeerFeatures {
        fragmentation: payloads.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
        hashes: payloads.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).map(|notify| decode_hashes(notify.data)),
        nat_traversal: payloads.has_notify(NotifyType::NAT_DETECTION_SOURCE_IP)
            && payloads.has_notify(NotifyType::NAT_DETECTION_DESTINATION_IP),
    }
}

/// Compares the peer's NAT_DETECTION hashes with what we see (RFC 7296 §2.23).
pub(crate) fn learn_nat(sa: &mut IkeSa, path: Path, payloads: &Chain<'_>) {
    // The route chose our address; now we know it.
    if sa.path.local.ip().is_unspecified() {
        sa.path.local.set_ip(path.local.ip());
    }
    let sources: Vec<&[u8]> = payloads
        .notifies()
        .filter(|notify| notify.kind == NotifyType::NAT_DETECTION_SOURCE_IP)
        .map(|notify| notify.data)
        .collect();
    let destination = payloads.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).map(|notify| notify.data);
    // The request's hashes were made when the responder's SPI was not known; the response's with it.
    let spis = (sa.spi_i.0, if sa.initiator { sa.spi_r.0 } else { 0 });
    if let Some(found) = nat::detect(spis, path.local, path.remote, &sources, destination) {
        sa.nat = NatStatus { faked: sa.nat.faked, ..found };
    }
}

/// With a NAT between, or one pretended, the initiator goes on at the NAT traversal port (RFC 7296 §2.23).
pub(crate) fn float(config: &Config, sa: &mut IkeSa) {
    if sa.encapsulates() && !sa.path.marker {
        sa.path.local.set_port(config.nat_port);
        sa.path.remote.set_port(config.nat_port);
        sa.path.marker = true;
    }
}

//! The keys of an IKE SA and what they protect (RFC 7296 §2.14, §2.15, §3.14).

use crate::auth::signed_octets;
use crate::crypto::key_schedule::{IkeKeys, SkD, SkP};
use crate::endpoint::context::Ctx;
use crate::event::{Event, SessionKeys};
use crate::message::{IkeSpi, Opener, Sealer};
use crate::status::IkeAlgorithms;

/// An IKE SA whose key exchange is done.
pub(crate) struct Secured {
    pub(crate) algorithms: IkeAlgorithms,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) sk_d: SkD,
}

/// SK_pi and SK_pr: used once, for AUTH.
pub(crate) struct AuthKeys {
    pub(crate) sk_pi: SkP,
    pub(crate) sk_pr: SkP,
}

/// Splits fresh keys by purpose, as the SA's initiator or responder; reports them if that is configured.
pub(crate) fn secure(
    cx: &mut Ctx,
    keys: IkeKeys,
    algorithms: IkeAlgorithms,
    initiator: bool,
    (spi_i, spi_r): (IkeSpi, IkeSpi),
) -> (Secured, AuthKeys) {
    let IkeKeys { sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr } = keys;
    let encr = algorithms.encr;
    let (own, peer) =
        if initiator { ((&sk_ei, &sk_ai), (&sk_er, &sk_ar)) } else { ((&sk_er, &sk_ar), (&sk_ei, &sk_ai)) };
    // The schedule cut the keys to the lengths that this very row asked for.
    let sealer = Sealer::new(encr, own.0.expose(), own.1.expose()).expect("keys fit their algorithm");
    let opener = Opener::new(encr, peer.0.expose(), peer.1.expose()).expect("keys fit their algorithm");
    if let (true, Some(names)) = (cx.config.report_keys, encr.wireshark_ike) {
        let (encr, integ) = (names.encr, names.integ);
        cx.event(Event::Keys(SessionKeys::Ike { spi_i, spi_r, encr, sk_ei, sk_er, integ, sk_ai, sk_ar }));
    }
    (Secured { algorithms, sealer, opener, sk_d }, AuthKeys { sk_pi, sk_pr })
}

/// What IKE_AUTH authenticates: both IKE_SA_INIT messages as sent last, and both nonces (RFC 7296 §2.15).
pub(crate) struct Transcript {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) ni: Vec<u8>,
    pub(crate) nr: Vec<u8>,
    pub(crate) keys: AuthKeys,
}

impl Transcript {
    /// What the initiator signs, who is `id_body`.
    pub(crate) fn initiator_octets(&self, id_body: &[u8]) -> Vec<u8> {
        signed_octets(&self.request, &self.nr, &self.keys.sk_pi, id_body)
    }

    /// What the responder signs, who is `id_body`.
    pub(crate) fn responder_octets(&self, id_body: &[u8]) -> Vec<u8> {
        signed_octets(&self.response, &self.ni, &self.keys.sk_pr, id_body)
    }
}

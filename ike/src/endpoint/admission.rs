//! Who may make us keep state: stateless cookies over a threshold, a bound on half-open SAs (RFC 7296 §2.6), and a
//! bound on answers to strangers (RFC 7296 §2.21.4).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::CryptoRng;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::limits::{COOKIE_SECRET_LIFETIME, HALF_OPEN_PER_ADDRESS, UNKNOWN_ANSWERS_PER_SECOND};

/// Octets of our cookies: secret version, then a truncated MAC.
const COOKIE_LEN: usize = 1 + MAC_LEN;
const MAC_LEN: usize = 16;

/// What to do with an IKE_SA_INIT request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Process it.
    Admit,
    /// Answer with this cookie and keep nothing.
    Challenge(Vec<u8>),
    /// Drop it.
    Refuse,
}

/// Cookie secrets and rate bounds of one endpoint.
pub(crate) struct Admission {
    threshold: usize,
    max_half_open: usize,
    current: CookieSecret,
    previous: Option<CookieSecret>,
    answers: Bucket,
}

struct CookieSecret {
    version: u8,
    key: hmac::Key,
    until: Option<Instant>,
}

impl CookieSecret {
    fn new(rng: &mut dyn CryptoRng, version: u8) -> Self {
        let mut octets = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut octets[..]);
        Self { version, key: hmac::Key::new(hmac::HMAC_SHA256, &octets[..]), until: None }
    }

    /// `Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>)`, as RFC 7296 §2.6 suggests.
    fn cookie(&self, ni: &[u8], from: SocketAddr, spi_i: u64) -> [u8; COOKIE_LEN] {
        let mut mac = hmac::Context::with_key(&self.key);
        mac.update(&spi_i.to_be_bytes());
        match from.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&from.port().to_be_bytes());
        mac.update(ni);
        let mut cookie = [self.version; COOKIE_LEN];
        cookie[1..].copy_from_slice(&mac.sign().as_ref()[..MAC_LEN]);
        cookie
    }
}

impl Admission {
    /// Fresh secrets.
    pub(crate) fn new(rng: &mut dyn CryptoRng, threshold: usize, max_half_open: usize) -> Self {
        let current = CookieSecret::new(rng, 0);
        Self { threshold, max_half_open, current, previous: None, answers: Bucket::default() }
    }

    /// Other bounds; cookies that are out stay valid.
    pub(crate) fn set_bounds(&mut self, threshold: usize, max_half_open: usize) {
        (self.threshold, self.max_half_open) = (threshold, max_half_open);
    }

    /// Judges an IKE_SA_INIT request while `half_open` SAs wait for their IKE_AUTH. Only a sender that proved its
    /// address is held to the bound of that address: before, it would be a way to shut others out.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        rng: &mut dyn CryptoRng,
        half_open: HalfOpen<'_>,
        request: InitRequest<'_>,
    ) -> Verdict {
        if half_open.all >= self.max_half_open {
            return Verdict::Refuse;
        }
        if half_open.all < self.threshold {
            return Verdict::Admit;
        }
        self.rotate(now, rng);
        match request.cookie {
            Some(cookie) if self.is_valid(cookie, &request) => match (half_open.from_here)() {
                0..HALF_OPEN_PER_ADDRESS => Verdict::Admit,
                _ => Verdict::Refuse,
            },
            _ => Verdict::Challenge(self.current.cookie(request.ni, request.from, request.spi_i).to_vec()),
        }
    }

    /// Whether one more answer to a stranger is within bounds.
    pub(crate) fn may_answer_stranger(&mut self, now: Instant) -> bool {
        self.answers.take(now)
    }

    fn is_valid(&self, cookie: &[u8], request: &InitRequest<'_>) -> bool {
        let secrets = [Some(&self.current), self.previous.as_ref()];
        secrets.into_iter().flatten().any(|secret| {
            let ours = secret.cookie(request.ni, request.from, request.spi_i);
            ours.ct_eq(cookie).into()
        })
    }

    /// A secret lives until its time is over, then one period more as the previous one.
    fn rotate(&mut self, now: Instant, rng: &mut dyn CryptoRng) {
        let until = *self.current.until.get_or_insert(now + COOKIE_SECRET_LIFETIME);
        if now < until {
            return;
        }
        let mut fresh = CookieSecret::new(rng, self.current.version.wrapping_add(1));
        fresh.until = Some(now + COOKIE_SECRET_LIFETIME);
        let spent = std::mem::replace(&mut self.current, fresh);
        self.previous = (now < until + COOKIE_SECRET_LIFETIME).then_some(spent);
    }
}

/// SAs that wait for their IKE_AUTH.
#[derive(Clone, Copy)]
pub(crate) struct HalfOpen<'a> {
    /// How many there are.
    pub(crate) all: usize,
    /// How many of them are the sender's.
    pub(crate) from_here: &'a dyn Fn() -> usize,
}

/// What a cookie covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InitRequest<'a> {
    /// Initiator's SPI.
    pub(crate) spi_i: u64,
    /// Initiator's nonce.
    pub(crate) ni: &'a [u8],
    /// Source of the datagram.
    pub(crate) from: SocketAddr,
    /// The cookie it returned.
    pub(crate) cookie: Option<&'a [u8]>,
}

/// At most [`UNKNOWN_ANSWERS_PER_SECOND`] within any one-second period.
#[derive(Default)]
struct Bucket {
    since: Option<Instant>,
    taken: u32,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now >= since + Duration::from_secs(1)) {
            *self = Self { since: Some(now), taken: 0 };
        }
        self.taken += 1;
        self.taken <= UNKNOWN_ANSWERS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn request<'a>(cookie: Option<&'a [u8]>) -> InitRequest<'a> {
        InitRequest { spi_i: 1, ni: &[9; 32], from: "192.0.2.1:500".parse().unwrap(), cookie }
    }

    fn few(all: usize) -> HalfOpen<'static> {
        HalfOpen { all, from_here: &|| HALF_OPEN_PER_ADDRESS - 1 }
    }

    #[test]
    fn one_address_does_not_take_every_place() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        let mut admission = Admission::new(&mut rng, 2, 1000);
        let many = HalfOpen { all: 100, from_here: &|| HALF_OPEN_PER_ADDRESS };
        // Without a cookie the address is only a claim: the answer is the same as for anybody.
        let Verdict::Challenge(cookie) = admission.judge(now, &mut rng, many, request(None)) else { panic!() };
        assert_eq!(admission.judge(now, &mut rng, many, request(Some(&cookie))), Verdict::Refuse);
        assert_eq!(admission.judge(now, &mut rng, few(100), request(Some(&cookie))), Verdict::Admit);
    }

    #[test]
    fn a_cookie_admits_its_own_request_only_and_for_a_while() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Instant::now();
        let mut admission = Admission::new(&mut rng, 2, 4);
        assert_eq!(admission.judge(now, &mut rng, few(1), request(None)), Verdict::Admit);
        assert_eq!(admission.judge(now, &mut rng, few(4), request(None)), Verdict::Refuse);
        let Verdict::Challenge(cookie) = admission.judge(now, &mut rng, few(2), request(None)) else { panic!() };
        assert_eq!(admission.judge(now, &mut rng, few(2), request(Some(&cookie))), Verdict::Admit);
        let other = InitRequest { spi_i: 2, ..request(Some(&cookie)) };
        assert!(matches!(admission.judge(now, &mut rng, few(2), other), Verdict::Challenge(_)));
        let other = InitRequest { ni: &[8; 32], ..request(Some(&cookie)) };
        assert!(matches!(admission.judge(now, &mut rng, few(2), other), Verdict::Challenge(_)));
        let other = InitRequest { from: "192.0.2.2:500".parse().unwrap(), ..request(Some(&cookie)) };
        assert!(matches!(admission.judge(now, &mut rng, few(2), other), Verdict::Challenge(_)));

        let next = now + COOKIE_SECRET_LIFETIME;
        assert_eq!(admission.judge(next, &mut rng, few(2), request(Some(&cookie))), Verdict::Admit);
        let late = next + COOKIE_SECRET_LIFETIME;
        assert!(matches!(admission.judge(late, &mut rng, few(2), request(Some(&cookie))), Verdict::Challenge(_)));
    }

    #[test]
    fn strangers_get_few_answers() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut admission = Admission::new(&mut rng, 2, 4);
        let now = Instant::now();
        let answers = (0..1000).filter(|_| admission.may_answer_stranger(now)).count();
        assert_eq!(answers, UNKNOWN_ANSWERS_PER_SECOND as usize);
        assert!(admission.may_answer_stranger(now + Duration::from_secs(1)));
    }
}

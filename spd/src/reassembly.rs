//! Putting fragmented packets together (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! Only the first fragment of a packet shows its ports, so where a policy asks for them, the others can't be judged.
//! RFC 4301 §7 leaves a choice: SAs of their own for fragments without ports (§7.2), to remember from the first
//! fragment what becomes of the others (stateful inspection, §7.3), or to put the packet together before it is judged.
//! This is the third. The second needs memory for fragments too, because they arrive in any order, and still lets
//! through those that overlap; the first gives each peer fragments that nothing else belongs to. Besides, transport
//! mode takes whole packets only (RFC 4303 §3.3.4). Policies that do not ask for ports get their fragments as they are
//! (RFC 4301 §7.1), and BYPASS and DISCARD see whole packets, too (RFC 4301 §7.4): see
//! [`Policies::needs_whole`](crate::Policies::needs_whole).
//!
//! Fragments that overlap discard their packet, as RFC 5722 demands for IPv6: no honest sender makes them, and what
//! the receiver makes of them is anybody's guess. The same is done for IPv4 (RFC 1858 §4, RFC 3128).

mod pieces;
#[cfg(test)]
pub(crate) mod tests;
mod whole;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::flow::{Direction, Flow};
use crate::fragment::Fragment;
use crate::protocol::FRAGMENT;

use pieces::{Added, Pieces};
use whole::Head;

/// Packets in the making. Without a bound, memory is whatever a sender of first fragments likes. With it, such a
/// sender pushes out the packets of others (the oldest goes first), for as long as it keeps sending.
pub const PACKETS: usize = 64;

/// Packets in the making from one source address: what one sender can occupy. Beyond, it pushes out its own.
pub const PACKETS_PER_SOURCE: usize = 16;

/// Fragments of one packet: enough for 64 KiB over a link of 576 octets. Without a bound, packets in pieces of 8
/// octets make each fragment cost a search among 8,192.
pub const FRAGMENTS: usize = 128;

/// How long a packet may take from the first fragment that arrives to the last. Longer, and identifications come
/// round again and mix packets (RFC 4963); RFC 8200 §4.5 allows 60 s.
pub const TIME_OUT: Duration = Duration::from_secs(30);

/// Octets of headers that fragments repeat: an IPv6 header with 472 octets of extension headers.
const HEAD: usize = 512;

/// Octets that can follow them: offsets end there.
const DATA: usize = 65_536;

/// Puts fragments together. For one worker. All its memory, 4 MiB, is taken at construction, and lent by the system
/// as it is used.
#[derive(Debug)]
pub struct Reassembler {
    waiting: Box<[Option<Waiting>]>,
    /// `HEAD + DATA` octets for each.
    octets: Box<[u8]>,
    counters: Counters,
}

/// What became of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It was the last one missing.
    Whole,
    /// It is kept, or was there already.
    Kept,
    /// It is dropped. Those of its packet are, too, or will be.
    Dropped(Loss),
}

/// Why a fragment is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Not a fragment, or its header can't be right: data that ends within eight octets though more follows, no data,
    /// or headers cut in two (RFC 7112).
    Malformed,
    /// It overlaps another fragment of its packet, or contradicts it.
    Overlapping,
    /// The packet would exceed 65,535 octets, its headers 512, or it is in more than [`FRAGMENTS`] pieces.
    TooLarge,
}

/// Packets by their end, except `malformed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Put together.
    pub completed: u64,
    /// Incomplete after [`TIME_OUT`].
    pub timed_out: u64,
    /// Discarded because fragments overlapped or contradicted each other.
    pub overlapping: u64,
    /// Discarded for their size, or the number of their fragments.
    pub too_large: u64,
    /// Pushed out, incomplete, by newer ones: see [`PACKETS`] and [`PACKETS_PER_SOURCE`].
    pub no_room: u64,
    /// Fragments, not packets, that could belong to none.
    pub malformed: u64,
}

/// What fragments of one packet share. RFC 8200 §4.5 leaves out the protocol, RFC 791 does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    id: u32,
    /// 0 for IPv6.
    protocol: u8,
}

/// A packet in the making.
#[derive(Debug)]
struct Waiting {
    key: Key,
    deadline: Instant,
    /// What was wrong with it: it is remembered so that its other fragments don't begin a new packet.
    spoilt: Option<Loss>,
    /// Of the first fragment, once it is here.
    head: Option<Head>,
    pieces: Pieces,
    /// Which of the four ECN values were seen, a bit each.
    ecn: u8,
}

impl Default for Reassembler {
    fn default() -> Self {
        Self::new()
    }
}

impl Reassembler {
    /// With nothing in it.
    pub fn new() -> Self {
        Self {
            waiting: (0..PACKETS).map(|_| None).collect(),
            octets: vec![0; PACKETS * (HEAD + DATA)].into(),
            counters: Counters::default(),
        }
    }

    /// Takes a fragment. On [`Progress::Whole`], `packet` holds the packet, with the headers of its first fragment:
    /// lengths set, fragment fields or Fragment header gone, IPv4 header checksum computed. Don't-fragment is not
    /// set: the sender allowed this. Congestion seen by one fragment is seen by the whole (RFC 3168 §5.3). Otherwise
    /// `packet` is empty.
    pub fn push(&mut self, fragment: &[u8], now: Instant, packet: &mut Vec<u8>) -> Progress {
        packet.clear();
        self.expire(now);
        match self.add(fragment, now, packet) {
            Ok(true) => {
                self.counters.completed += 1;
                Progress::Whole
            }
            Ok(false) => Progress::Kept,
            Err(loss) => Progress::Dropped(loss),
        }
    }

    /// Gives up packets whose time is over. [`push`](Self::push) does it too.
    pub fn expire(&mut self, now: Instant) {
        for slot in &mut self.waiting {
            if let Some(waiting) = slot.take_if(|waiting| waiting.deadline <= now) {
                self.counters.timed_out += u64::from(waiting.spoilt.is_none());
            }
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the packet is whole now.
    fn add(&mut self, fragment: &[u8], now: Instant, packet: &mut Vec<u8>) -> Result<bool, Loss> {
        let Some(parsed) = readable(fragment) else {
            self.counters.malformed += 1;
            return Err(Loss::Malformed);
        };
        if parsed.is_atomic() {
            whole::write(packet, &Head::new(&parsed), parsed.head, parsed.data, 1 << whole::ecn(parsed.head));
            return Ok(true);
        }
        let key = Key::new(&parsed);
        let place = self.place(&key);
        let waiting = self.waiting[place].get_or_insert_with(|| Waiting::new(key, now));
        if let Some(loss) = waiting.spoilt {
            return Err(loss);
        }
        let (head, data) = self.octets[place * (HEAD + DATA)..][..HEAD + DATA].split_at_mut(HEAD);
        let done = waiting.add(&parsed, head, data, packet);
        match done {
            Ok(true) => self.waiting[place] = None,
            Ok(false) => {}
            Err(loss) => {
                waiting.spoilt = Some(loss);
                match loss {
                    Loss::TooLarge => self.counters.too_large += 1,
                    _ => self.counters.overlapping += 1,
                }
            }
        }
        done
    }

    /// The place of this packet, or a free one. If there is none, or its source has too many, the oldest leaves.
    fn place(&mut self, key: &Key) -> usize {
        let (mut free, mut oldest, mut own, mut count) = (None, None, None, 0);
        let older = |a: Option<(Instant, usize)>, b| Some(a.map_or(b, |a| a.min(b)));
        for (place, slot) in self.waiting.iter().enumerate() {
            match slot {
                None => free = free.or(Some(place)),
                Some(waiting) if waiting.key == *key => return place,
                Some(waiting) => {
                    oldest = older(oldest, (waiting.deadline, place));
                    if waiting.key.source == key.source {
                        own = older(own, (waiting.deadline, place));
                        count += 1;
                    }
                }
            }
        }
        let leaves = if count >= PACKETS_PER_SOURCE { own } else { oldest.filter(|_| free.is_none()) };
        let Some((_, place)) = leaves else { return free.unwrap_or(0) };
        let gone = self.waiting[place].take();
        self.counters.no_room += u64::from(gone.is_some_and(|waiting| waiting.spoilt.is_none()));
        place
    }
}

/// A fragment that may belong to a packet.
fn readable(octets: &[u8]) -> Option<Fragment<'_>> {
    let fragment = Fragment::parse(octets)?;
    if !fragment.is_atomic() && (fragment.data.is_empty() || fragment.more && fragment.data.len() % 8 != 0) {
        return None;
    }
    if fragment.source.is_ipv6() && fragment.offset == 0 {
        // A Fragment header behind this one would make a fragment of the whole. Of the first fragment, RFC 8200 §4.5
        // demands all headers up to the next layer's.
        let complete = fragment.next != FRAGMENT && Flow::parse(octets, Direction::Outbound).is_ok();
        return complete.then_some(fragment);
    }
    Some(fragment)
}

impl Key {
    fn new(fragment: &Fragment<'_>) -> Self {
        let Fragment { source, destination, id, next, .. } = *fragment;
        Self { source, destination, id, protocol: if source.is_ipv4() { next } else { 0 } }
    }
}

impl Waiting {
    fn new(key: Key, now: Instant) -> Self {
        Self { key, deadline: now + TIME_OUT, spoilt: None, head: None, pieces: Pieces::default(), ecn: 0 }
    }

    /// Whether `packet` is whole now. `head` and `data` are this packet's memory.
    fn add(
        &mut self,
        fragment: &Fragment<'_>,
        head: &mut [u8],
        data: &mut [u8],
        packet: &mut Vec<u8>,
    ) -> Result<bool, Loss> {
        let (start, end) = (fragment.offset, fragment.offset + fragment.data.len());
        if fragment.head.len() > HEAD || whole::length(self.key.source, fragment.head.len(), end).is_none() {
            return Err(Loss::TooLarge);
        }
        match self.pieces.add(start, end, fragment.more)? {
            // The network may deliver a fragment twice, but the same (RFC 8200 §4.5).
            Added::Before if data[start..end] == *fragment.data => return Ok(false),
            Added::Before => return Err(Loss::Overlapping),
            Added::New => {}
        }
        data[start..end].copy_from_slice(fragment.data);
        self.ecn |= 1 << whole::ecn(fragment.head);
        if start == 0 {
            head[..fragment.head.len()].copy_from_slice(fragment.head);
            self.head = Some(Head::new(fragment));
        }
        let (Some(first), Some(len)) = (&self.head, self.pieces.whole()) else { return Ok(false) };
        let head = &head[..first.len];
        if whole::length(self.key.source, head.len(), len).is_none() {
            return Err(Loss::TooLarge);
        }
        if whole::contradictory(self.ecn) {
            return Err(Loss::Overlapping);
        }
        whole::write(packet, first, head, &data[..len], self.ecn);
        Ok(true)
    }
}

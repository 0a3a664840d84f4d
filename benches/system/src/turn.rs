//! One peer's turn in a round: a fresh test bed, fresh daemons, every test.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;

use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::{Failure, Result};
use crate::load::tcp::{Transfer, transfer};
use crate::load::{Route, ping, udp};
use crate::metric::{Metric, Turn, quantile};
use crate::peers::{Peer, Tools};

/// How long a tunnel may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests for a ping without load.
const PINGS: usize = 200;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// TCP, 1 stream, each direction; and processor time per GiB of it.
    Tcp1,
    /// TCP, 4 streams, each direction.
    Tcp4,
    /// UDP datagrams of 200 octets: the highest rate with at most 1 % lost.
    Udp,
    /// Ping, idle.
    Ping,
    /// Ping beside TCP.
    Load,
}

/// What is measured, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) tests: Vec<Test>,
    /// Of each transfer.
    pub(crate) time: Duration,
}

/// Measures. What failed is told beside what did not.
pub(crate) fn take(peer: &dyn Peer, tools: &Tools, plan: &Plan) -> (Turn, Vec<Failure>) {
    let mut turn = Turn::default();
    let mut failures = Vec::new();
    if let Err(failure) = attempt(peer, tools, plan, &mut turn, &mut failures) {
        failures.push(failure);
    }
    (turn, failures)
}

fn attempt(peer: &dyn Peer, tools: &Tools, plan: &Plan, turn: &mut Turn, failures: &mut Vec<Failure>) -> Result<()> {
    let bed = Bed::new()?;
    // Dropped before the test bed.
    let mut daemons = peer.start(&bed, tools)?;
    let there = Route::from(&bed, Side::A, peer.address());
    let up = ping::until_answered(there, PATIENCE, || daemons.iter_mut().try_for_each(Daemon::check));
    up.map_err(|failure| {
        let words: Vec<_> = daemons.iter().map(Daemon::last_words).collect();
        Failure(format!("{failure}; {}", words.join(" || ")))
    })?;
    let tests = [
        (Test::Ping, idle as fn(&Measured<'_>, &mut Turn) -> Result<()>),
        (Test::Tcp1, one_stream),
        (Test::Tcp4, four_streams),
        (Test::Load, loaded),
        (Test::Udp, datagrams),
    ];
    let back = Route::from(&bed, Side::B, peer.address());
    let measured = Measured { there, back, daemons: &daemons, time: plan.time };
    for (_, test) in tests.iter().filter(|(test, _)| plan.tests.contains(test)) {
        failures.extend(test(&measured, turn).err());
    }
    if !daemons.is_empty() {
        let memory = daemons.iter().map(Daemon::memory).collect::<Result<Vec<_>>>()?;
        turn.set(Metric::Resident, memory.iter().map(|memory| memory.resident).sum());
        turn.set(Metric::Peak, memory.iter().map(|memory| memory.peak).sum());
    }
    Ok(())
}

/// A tunnel that is up.
struct Measured<'b> {
    there: Route<'b>,
    back: Route<'b>,
    daemons: &'b [Daemon],
    time: Duration,
}

impl Measured<'_> {
    fn cpu(&self) -> Result<f64> {
        self.daemons.iter().map(Daemon::cpu).sum()
    }

    fn transfer(&self, route: Route<'_>, streams: usize) -> Result<Transfer> {
        transfer(route, streams, self.time, &AtomicBool::new(false))
    }
}

fn idle(measured: &Measured<'_>, turn: &mut Turn) -> Result<()> {
    let trips = ping::ping(measured.there, PINGS, &AtomicBool::new(false))?;
    set_pings(turn, &trips, Metric::PingMedian, Metric::PingP99);
    Ok(())
}

fn one_stream(measured: &Measured<'_>, turn: &mut Turn) -> Result<()> {
    let before = measured.cpu()?;
    let there = measured.transfer(measured.there, 1)?;
    turn.set(Metric::Tcp1Ab, there.rate);
    let back = measured.transfer(measured.back, 1)?;
    turn.set(Metric::Tcp1Ba, back.rate);
    let octets = there.octets + back.octets;
    if !measured.daemons.is_empty() && octets > 0 {
        let gibibytes = octets as f64 / f64::from(1 << 30);
        turn.set(Metric::Cpu, (measured.cpu()? - before) / gibibytes);
    }
    Ok(())
}

fn four_streams(measured: &Measured<'_>, turn: &mut Turn) -> Result<()> {
    turn.set(Metric::Tcp4Ab, measured.transfer(measured.there, 4)?.rate);
    turn.set(Metric::Tcp4Ba, measured.transfer(measured.back, 4)?.rate);
    Ok(())
}

fn loaded(measured: &Measured<'_>, turn: &mut Turn) -> Result<()> {
    let end = AtomicBool::new(false);
    let trips = thread::scope(|scope| {
        let pings = scope.spawn(|| ping::ping(measured.there, usize::MAX, &end));
        let load = transfer(measured.there, 1, measured.time, &end);
        // Also when it failed.
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        let pings = pings.join().map_err(|_| Failure("ping panicked".to_owned()))?;
        load.and(pings)
    })?;
    set_pings(turn, &trips, Metric::LoadMedian, Metric::LoadP99);
    Ok(())
}

fn set_pings(turn: &mut Turn, trips: &[f64], median: Metric, p99: Metric) {
    for (metric, share) in [(median, 0.5), (p99, 0.99)] {
        if let Some(value) = quantile(trips, share) {
            turn.set(metric, value);
        }
    }
}

fn datagrams(measured: &Measured<'_>, turn: &mut Turn) -> Result<()> {
    let time = Duration::from_millis(400).min(measured.time);
    turn.set(Metric::Udp, udp::highest_rate(measured.there, time)? / 1e3);
    Ok(())
}

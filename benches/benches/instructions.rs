//! Instructions per packet, counted by valgrind (callgrind): a guard against what makes the data path dearer, on any
//! machine, however busy. The counts of the last record are in `instructions.toml`.
//!
//! `cargo bench -p cygnet-benches --bench instructions` compares, and fails where one is more than a quarter above its
//! record. `-- --record` writes them anew. Valgrind knows AES-NI, PCLMULQDQ and AVX2, but neither VAES nor AVX-512: the
//! ciphers count as on a CPU that has no more than those.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs};

use cygnet_benches::gateways::{Gateways, TRAIN, Traffic};
use cygnet_benches::{flow, pair, policies, spi};
use cygnet_esp::{Inbound, NextHeader, Outbound, PacketBuf, Spi};
use cygnet_sad::Sad;
use cygnet_spd::PolicyId;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");
const HEAD: &str = "\
# Instructions per packet or look-up, on x86_64 with AES-NI and AVX2. To record them anew:
# cargo bench -p cygnet-benches --bench instructions -- --record
";
/// How much more than the record is too much: compilers differ, and hash tables are seeded at random.
const BOUND: f64 = 1.25;
/// SAs and policies that look-ups search.
const MANY: u32 = 1000;
/// Packets, or look-ups, of which the mean is taken.
const COUNT: u32 = 2048;

/// What is counted: its name, and its preparation, which gives what is done once for each packet and how many that are.
type Case = (&'static str, fn() -> (Box<dyn FnMut()>, u32));

const CASES: [Case; 13] = [
    ("esp: seal 64 octets", || seal(64)),
    ("esp: seal 1400 octets", || seal(1400)),
    ("esp: open 64 octets", || open(64)),
    ("esp: open 1400 octets", || open(1400)),
    ("spd: policy of 1000", policy),
    ("sad: inbound SA of 1000", inbound_sa),
    ("sad: outbound SA of 1000", outbound_sa),
    ("worker: out 64 octets", || out(Traffic::Singles(64), COUNT, COUNT)),
    ("worker: out 1400 octets", || out(Traffic::Singles(1400), COUNT, COUNT)),
    ("worker: out 1400 octets of TCP in frames", || out(Traffic::Trains, COUNT / TRAIN, COUNT)),
    ("worker: in 64 octets", || into(Traffic::Singles(64), COUNT)),
    ("worker: in 1400 octets", || into(Traffic::Singles(1400), COUNT)),
    ("worker: in 1400 octets of TCP in frames", || into(Traffic::Trains, COUNT / TRAIN)),
];

/// What valgrind looks at: nothing before and after counts.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn cygnet_counted(work: &mut Box<dyn FnMut()>) {
    work();
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|&word| word != "--bench").collect();
    match words[..] {
        // Ourselves, below valgrind.
        ["--case", name] => {
            let (_, prepare) = CASES.iter().find(|(known, _)| *known == name).expect("a case");
            let (mut work, count) = prepare();
            cygnet_counted(&mut work);
            println!("{count}");
            ExitCode::SUCCESS
        }
        ["--record"] => finish(record()),
        [] if cfg!(target_arch = "x86_64") => finish(compare()),
        [] => {
            println!("the record is of x86_64: nothing to compare with");
            ExitCode::SUCCESS
        }
        _ => finish(Err("usage: instructions [--record]".to_owned())),
    }
}

fn finish(result: Result<(), String>) -> ExitCode {
    result.map_or_else(
        |cause| {
            eprintln!("{cause}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn record() -> Result<(), String> {
    let mut text = HEAD.to_owned();
    for (name, _) in CASES {
        let counted = count(name)?;
        println!("{name}: {counted:.0}");
        let _ = writeln!(text, "\"{name}\" = {counted:.0}");
    }
    fs::write(RECORD, text).map_err(|cause| format!("{RECORD}: {cause}"))
}

fn compare() -> Result<(), String> {
    let text = fs::read_to_string(RECORD).map_err(|cause| format!("{RECORD}: {cause}"))?;
    let recorded = read(&text);
    let mut worse = Vec::new();
    for (name, _) in CASES {
        let recorded = *recorded.get(name).ok_or_else(|| format!("{RECORD} has no {name:?}: record anew"))?;
        let counted = count(name)?;
        let ratio = counted / recorded;
        println!("{name}: {counted:.0}, {ratio:.2} of the record");
        if ratio > BOUND {
            worse.push(format!("{name}: {counted:.0} instructions, {recorded:.0} in the record"));
        }
    }
    if worse.is_empty() { Ok(()) } else { Err(format!("more than {BOUND} of the record:\n{}", worse.join("\n"))) }
}

/// Reads lines of `"name" = number`.
fn read(text: &str) -> BTreeMap<&str, f64> {
    fn named(line: &str) -> Option<(&str, f64)> {
        let (name, number) = line.rsplit_once(" = ")?;
        Some((name.trim_matches('"'), number.parse().ok()?))
    }
    text.lines().filter_map(named).collect()
}

/// Instructions of a case per packet.
fn count(name: &str) -> Result<f64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=cygnet_counted"]);
    valgrind.arg(env::current_exe().map_err(|cause| cause.to_string())?).args(["--case", name]);
    let output =
        valgrind.output().map_err(|cause| format!("valgrind is needed (apt-get install valgrind): {cause}"))?;
    let [told, report] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<f64>().ok());
    match (collected, told.trim().parse::<f64>()) {
        (Some(collected), Ok(packets)) if output.status.success() && collected > 0.0 => Ok(collected / packets),
        _ => Err(format!("{name} below valgrind: {}\n{report}", output.status)),
    }
}

const KEY: [u8; 20] = [7; 20];

fn sas() -> (Outbound, Inbound) {
    let encr = cygnet_esp::ENCR.iter().find(|row| row.name == "aes128gcm16").expect("a row of the registry");
    (
        Outbound::new(Spi(0x1000), encr, &KEY, &[], true).expect("legal keys"),
        Inbound::new(Spi(0x1000), encr, &KEY, &[], true, 1024).expect("legal keys"),
    )
}

/// As many packets as a worker has at a time.
fn packets(size: usize) -> Vec<PacketBuf> {
    let packet = || {
        let mut packet = PacketBuf::for_mtu(size);
        packet.append(size).expect("room").fill(0x5a);
        packet
    };
    (0..64).map(|_| packet()).collect()
}

fn seal_all(sa: &Outbound, packets: &mut [PacketBuf]) {
    let mut sequence = sa.reserve(packets.len() as u32).expect("sequence numbers last");
    for packet in packets {
        sequence.seal(NextHeader::IPV4, packet).expect("room for ESP");
    }
}

fn seal(size: usize) -> (Box<dyn FnMut()>, u32) {
    let ((sa, _), mut all) = (sas(), packets(size));
    (Box::new(move || seal_all(&sa, black_box(&mut all))), 64)
}

fn open(size: usize) -> (Box<dyn FnMut()>, u32) {
    let ((from, to), mut all) = (sas(), packets(size));
    seal_all(&from, &mut all);
    (Box::new(move || to.open_batch(&mut all, |_, _, next| assert_eq!(next, Ok(NextHeader::IPV4)))), 64)
}

fn policy() -> (Box<dyn FnMut()>, u32) {
    let policies = policies(MANY);
    let flows: Vec<_> = (0..COUNT).map(|n| flow(n * 7 % MANY)).collect();
    let work = move || {
        for flow in &flows {
            black_box(policies.outbound(black_box(flow)));
        }
    };
    (Box::new(work), COUNT)
}

fn database() -> Sad {
    let (sad, now) = (Sad::new(), Instant::now());
    sad.edit(|edit| (0..MANY).for_each(|n| drop(edit.install(now, pair(n)).expect("names and SPIs are distinct"))));
    sad
}

fn inbound_sa() -> (Box<dyn FnMut()>, u32) {
    let tables = database().snapshot();
    let work = move || {
        for n in 0..COUNT {
            assert!(black_box(tables.inbound(black_box(spi(n * 7 % MANY)))).is_some());
        }
    };
    (Box::new(work), COUNT)
}

fn outbound_sa() -> (Box<dyn FnMut()>, u32) {
    let tables = database().snapshot();
    let flows: Vec<_> = (0..COUNT).map(|n| (PolicyId(n * 7 % MANY), flow(n * 7 % MANY))).collect();
    let work = move || flows.iter().for_each(|(policy, flow)| assert!(tables.outbound(*policy, flow).is_some()));
    (Box::new(work), COUNT)
}

/// A gateway that has sent before: its flows are known, its buffers warm.
fn warm(traffic: Traffic, frames: u32) -> Gateways {
    let mut gateways = Gateways::new(1);
    gateways.plan(traffic);
    gateways.seal(frames);
    gateways.open();
    gateways
}

fn out(traffic: Traffic, frames: u32, packets: u32) -> (Box<dyn FnMut()>, u32) {
    let mut gateways = warm(traffic, frames);
    (Box::new(move || gateways.seal(frames)), packets)
}

fn into(traffic: Traffic, frames: u32) -> (Box<dyn FnMut()>, u32) {
    let mut gateways = warm(traffic, frames);
    gateways.seal(frames);
    (Box::new(move || assert_eq!(gateways.open(), u64::from(COUNT))), COUNT)
}

//! A run: cases taken from a queue, done some at a time, told one line each, and everything cleared away after.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process, thread};

use tokio::signal::unix::{SignalKind, signal};

use crate::Options;
use crate::bed::{Bed, Lab};
use crate::engine::Engine;
use crate::failure::{Context, Failure, Result};
use crate::guest::Pool;
use crate::namespace::{self, PREFIX};
use crate::pki::PkiStore;
use crate::process::until;
use crate::scenario::{self, Case, Version};
use crate::tally::Tally;
use crate::{host, mesh, step};

/// Lines of each log that a failure shows; the whole logs are kept beside the build's output.
const SHOWN: usize = 60;

/// Cargo, the one that runs us if one does.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Runs a command whose output goes on to ours, line by line.
pub(crate) fn echo(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("start")?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            println!("{line}");
            each(&line);
        }
    }
    child.wait().context("wait")
}

/// Runs the interoperability tests; `None` where only their names were asked for.
pub(crate) fn interop(options: &Options) -> Result<Option<Tally>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases = scenario::load(&root.join("scenarios"))?;
    if !options.filter.is_empty() {
        cases.retain(|case| options.filter.iter().any(|part| case.to_string().contains(part.as_str())));
    }
    if options.list {
        cases.iter().for_each(|case| println!("{case}"));
        return Ok(None);
    }
    let daemon = match (&options.daemon, options.self_check) {
        (_, true) => None,
        (Some(binary), false) => Some(binary.clone()),
        (None, false) => Some(build()?),
    };
    if !host::is_root() {
        return Ok(Some(as_root(options, daemon.as_deref(), cases.len())?));
    }
    let asked = cases.len();
    let not_run = |cause: Failure| {
        println!("interop did not run: {cause}");
        Ok(Some(Tally { skipped: asked, ..Tally::default() }))
    };
    let scratch = env::temp_dir().join(format!("{PREFIX}{}", process::id()));
    fs::create_dir_all(&scratch).context(scratch.display())?;
    let _scratch = Scratch(scratch.clone());
    let engine = match host::prepare().and_then(|()| Engine::find(&scratch)) {
        Ok(engine) => engine,
        Err(cause) => return not_run(cause),
    };
    sweep(&engine, |pid| !is_harness(pid));
    watch_signals(&scratch)?;
    if cases.iter().any(|case| case.peer == Version::Kernel) {
        let ready =
            if options.self_check { Err(Failure::new("only Cygnet speaks to it")) } else { host::prepare_guests() };
        if let Err(cause) = ready {
            println!("cases with a Linux kernel did not run: {cause}");
            cases.retain(|case| case.peer != Version::Kernel);
        }
    }
    let skipped = asked - cases.len();
    let mut images = Vec::new();
    for case in &cases {
        if images.iter().all(|(version, _)| *version != case.peer) {
            let image = match engine.image(case.peer, &root.join("Containerfile")) {
                Ok(image) => image,
                Err(cause) => return not_run(cause),
            };
            println!("peer {}: strongSwan {}", case.peer.label(), engine.version(&image)?);
            images.push((case.peer, image));
        }
    }
    let guests = match images.iter().find(|(version, _)| *version == Version::Kernel) {
        Some((_, image)) => Some(Pool::new(&engine, image, &scratch)?),
        None => None,
    };
    let tool = scratch.join("tool");
    fs::copy(env::current_exe().context("own path")?, &tool).context(tool.display())?;
    let (pki, keep) = (PkiStore::default(), options.keep);
    let lab = Lab { engine, images, guests, tool, daemon, pki, scratch, keep };
    let mut tally = run_all(&lab, cases, options.jobs);
    tally.skipped += skipped;
    Ok(Some(tally))
}

/// Builds our daemon in the profile that we were built in; gives its binary.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = output_folder()?;
    let mut build = Command::new(cargo());
    build.args(["build", "--quiet", "-p", "cygnet", "--bin", "cygnet"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = build.status().context("cargo build")?;
    let binary = folder.join("cygnet");
    if status.success() { Ok(binary) } else { Err(Failure::new("the daemon does not build")) }
}

fn output_folder() -> Result<PathBuf> {
    let exe = env::current_exe().context("own path")?;
    Ok(exe.parent().context("own folder")?.to_owned())
}

/// Does it all again as root, where `sudo` lets us without asking.
fn as_root(options: &Options, daemon: Option<&Path>, cases: usize) -> Result<Tally> {
    if crate::process::sh(&["sudo", "-n", "true"]).is_err() {
        println!("interop did not run: network namespaces need root, and sudo does not let us become it");
        return Ok(Tally { skipped: cases, ..Tally::default() });
    }
    let mut again = Command::new("sudo");
    again.arg("-n").arg(env::current_exe().context("own path")?).arg("--jobs").arg(options.jobs.to_string());
    again.args(options.filter.iter().flat_map(|filter| ["--filter", filter]));
    match daemon {
        Some(binary) => again.arg("--daemon").arg(binary),
        None => again.arg("--self-check"),
    };
    let mut last = String::new();
    echo(&mut again, |line| line.clone_into(&mut last)).context("sudo")?;
    Ok(Tally::from_counts(&last))
}

fn run_all(lab: &Lab, cases: Vec<Case>, jobs: usize) -> Tally {
    let start = Instant::now();
    let queue: Mutex<VecDeque<(usize, Case)>> = Mutex::new(cases.into_iter().enumerate().collect());
    let tally = Mutex::new(Tally::default());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((number, case)) = next() {
                    let passed = run_one(lab, &case, number);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    if passed { tally.passed += 1 } else { tally.failed += 1 }
                }
            });
        }
    });
    println!("interop took {:.0} s", start.elapsed().as_secs_f32());
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(lab: &Lab, case: &Case, number: usize) -> bool {
    let start = Instant::now();
    let folder = lab.scratch.join(number.to_string());
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| steps(lab, case, number, &folder)));
    let outcome = outcome.unwrap_or_else(|_| Err(Failure::new("the harness panicked")));
    let seconds = start.elapsed().as_secs_f32();
    match &outcome {
        Ok(()) => {
            println!("pass  {case}  {seconds:.1} s");
            if lab.keep
                && let Err(cause) = keep(&folder, case)
            {
                println!("not kept: {cause}");
            }
        }
        Err(cause) => {
            let kept = keep(&folder, case);
            println!("FAIL  {case}  {seconds:.1} s\n  ({})\n{cause}{}", case.scenario.about, logs(&folder));
            println!(
                "---- all of it: {}",
                kept.map_or_else(|cause| cause.to_string(), |kept| kept.display().to_string())
            );
        }
    }
    // What cannot be removed now goes with the run's folder.
    let _ = fs::remove_dir_all(&folder);
    outcome.is_ok()
}

fn steps(lab: &Lab, case: &Case, number: usize, folder: &Path) -> Result<()> {
    if let Some(play) = case.scenario.play {
        return mesh::perform(lab, play, case, number, folder);
    }
    let mut bed = Bed::new(lab, case, number, folder).context("test bed")?;
    case.scenario.steps.iter().try_for_each(|step| step::perform(&mut bed, step).context(format!("{step:?}")))
}

fn logs(folder: &Path) -> String {
    let mut text = String::new();
    for side in ["ours", "theirs"] {
        let log = fs::read(folder.join(side).join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        text += &format!("\n---- {side}\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
    }
    text
}

/// Keeps a case's files beside the build's output.
fn keep(folder: &Path, case: &Case) -> Result<PathBuf> {
    let kept = output_folder()?.with_file_name("interop").join(case.to_string().replace('/', "-"));
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept).context(kept.display())?;
    let (from, to) = (folder.join("."), kept.to_string_lossy());
    crate::process::sh(&["cp", "-r", &from.to_string_lossy(), &to])?;
    Ok(kept)
}

/// The run's folder, removed when dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is swept by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// On SIGINT, SIGTERM or SIGHUP everything of this run is removed, then the process ends.
fn watch_signals(scratch: &Path) -> Result<()> {
    // Handlers, not a blocked mask: children would inherit the mask and could not be stopped by SIGTERM.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    let scratch = scratch.to_owned();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut interrupt, mut terminate, mut hangup] = {
        let _guard = runtime.enter();
        let [interrupt, terminate, hangup] = kinds.map(signal);
        [interrupt.context("signals")?, terminate.context("signals")?, hangup.context("signals")?]
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        eprintln!("stopped by a signal: clearing away");
        namespace::close();
        if let Ok(engine) = Engine::find(&scratch) {
            sweep(&engine, |pid| pid == process::id());
        }
        // Cases that are failing now may still write.
        let _ = until("the folder's removal", Duration::from_secs(5), || fs::remove_dir_all(&scratch).ok());
        process::exit(130);
    });
    Ok(())
}

/// Removes the containers, namespaces and folders of those harnesses that `goes` picks by process id.
fn sweep(engine: &Engine, goes: impl Fn(u32) -> bool) {
    let goes = |name: &str| owner(name).is_some_and(&goes);
    engine.remove_stale(goes);
    namespace::all().iter().filter(|name| goes(name)).for_each(|name| namespace::remove(name));
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(goes) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The process id in a name that a harness gave.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_harness(pid: u32) -> bool {
    // A process that ended without having been waited for has no `exe` any more.
    let exe = fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|exe| exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cygnet-interop")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_folder_is_well_formed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let cases = scenario::load(&root).expect("scenarios load");
        assert!(cases.len() > 50);
    }

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("cygnet-interop-12-3-ours"), Some(12));
        assert_eq!(owner("other"), None);
    }
}

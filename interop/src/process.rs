//! Child processes that never outlive their owner and never run without a deadline.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Context, Result, fail};

/// How a finished command ended, and all it wrote.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Standard output, then standard error.
    pub(crate) text: String,
    /// Standard output alone.
    pub(crate) stdout: String,
}

/// A command from words: the first is the program.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Runs a command to its end, whatever its exit status.
///
/// # Errors
/// When it cannot start, or does not end before `deadline` (it is killed then).
pub(crate) fn finish(command: &mut Command, deadline: Duration) -> Result<Finished> {
    let name = format!("{command:?}");
    let mut child = Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = drain(child.0.stdout.take());
    let stderr = drain(child.0.stderr.take());
    let status = child.wait(deadline)?;
    if status.is_none() {
        child.0.kill().context("kill")?;
    }
    let stdout = stdout.join().unwrap_or_default();
    let text = format!("{stdout}{}", stderr.join().unwrap_or_default());
    match status {
        Some(status) => Ok(Finished { status, text, stdout }),
        None => fail!("{name} did not end within {deadline:?}\n{text}"),
    }
}

/// Runs a command that must succeed; gives its standard output.
///
/// # Errors
/// As [`finish`], and when the exit status is not zero.
pub(crate) fn run(command: &mut Command, deadline: Duration) -> Result<String> {
    let finished = finish(command, deadline)?;
    if !finished.status.success() {
        fail!("{command:?}: {}\n{}", finished.status, finished.text.trim_end());
    }
    Ok(finished.stdout)
}

/// Runs words that must succeed within half a minute.
pub(crate) fn sh(words: &[&str]) -> Result<String> {
    run(&mut command(words), Duration::from_secs(30))
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe leaves what was read so far, which is all there is to report.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A background process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        command.spawn().map(Self).context(format!("start {:?}", command.get_program()))
    }

    /// Starts a command that appends what it writes to `log`.
    pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).context(log.display())?;
        let again = file.try_clone().context(log.display())?;
        Self::start(command.stdin(Stdio::null()).stdout(file).stderr(again))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Asks it to end.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).context(format!("{signal} to {}", self.0.id()))
    }

    /// Waits for its end; `None` when `deadline` passes first.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.0.try_wait().context("wait")? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM and waits; an error if that did not end it in time.
    pub(crate) fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline)?.context(format!("process {} ignores SIGTERM for {deadline:?}", self.0.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Calls `ready` every few milliseconds until it gives a value.
///
/// # Errors
/// When `deadline` passes first: `what` names the thing that did not come.
pub(crate) fn until<T>(what: &str, deadline: Duration, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            fail!("{what} did not happen within {deadline:?}");
        }
        thread::sleep(Duration::from_millis(25));
    }
}

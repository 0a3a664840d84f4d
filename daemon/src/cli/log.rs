//! The log, written by a thread of its own: whoever reads standard error, and however slowly, the gateway goes on.
//! What finds no room is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written.
const QUEUE: usize = 4096;
/// How long the end of the program waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug, Clone)]
pub(super) struct Log {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before this is written.
    Mark(mpsc::Sender<()>),
}

impl Log {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new().name("cygnet-log".to_owned()).spawn(move || write(out, &entries, &counter))?;
        Ok(Self { queue, lost })
    }

    /// Waits until everything so far is written, for a bounded time.
    pub(super) fn flush(&self) {
        let (mark, reached) = channel();
        let mut entry = Entry::Mark(mark);
        for _ in 0..PATIENCE.as_millis() / 10 {
            match self.queue.try_send(entry) {
                Ok(()) => {
                    let _: Result<(), RecvTimeoutError> = reached.recv_timeout(PATIENCE);
                    return;
                }
                Err(TrySendError::Full(back)) => entry = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn write(mut out: impl Write, entries: &Receiver<Entry>, lost: &AtomicU64) {
    for entry in entries {
        // Standard error may be closed: then nobody wants to know.
        match entry {
            Entry::Line(line) => drop(out.write_all(&line)),
            Entry::Mark(reached) => {
                let _ = out.flush();
                let _ = reached.send(());
            }
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => drop(writeln!(out, "{lost} lines of the log were lost: they came faster than they were read")),
        }
    }
}

/// One line: `tracing_subscriber` writes each as a whole.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.0.queue.try_send(Entry::Line(octets.to_vec())) {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let log = Log::to(writer).expect("a thread");
        let begun = Instant::now();
        // Several times what pipe and queue hold.
        for _ in 0..4 * QUEUE {
            log.make_writer().write_all(&[b'x'; 100]).expect("never fails");
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(log.lost.load(Ordering::Relaxed) > 0);
        log.flush();
        assert!(begun.elapsed() < Duration::from_secs(10));
        let reading = thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).map(|_| all)
        });
        drop(log);
        let all = reading.join().expect("no panic").expect("text");
        assert!(all.contains("lines of the log were lost"));
    }
}

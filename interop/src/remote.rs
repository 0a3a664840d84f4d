//! Programs run on another machine: an agent there starts them, and a client here stands for each of them, with its
//! output, its exit status and its signals. Guests have no other way in; one TCP connection carries one program.
//!
//! ```text
//! client ─► agent   count of words (u32), then length (u32) and octets of each; later one octet per signal
//! agent ─► client   frames: kind (u8), length (u32), octets; the exit status (i32) is the last one
//! ```
//! Integers are big-endian. A client that vanishes takes its program with it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use crate::failure::{Context, Result, fail};

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
/// Octets of a frame or a word, and words of a program: more is not ours.
const LIMIT: usize = 1 << 20;

/// Serves clients at `address` for ever.
pub(crate) fn agent(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).context(address)?;
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        thread::spawn(move || {
            if let Err(cause) = serve(&stream) {
                eprintln!("{cause}");
            }
            // The client is told by this end of the connection, the thread below by the other.
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

fn serve(stream: &TcpStream) -> Result<()> {
    let words = read_words(&mut &*stream).context("request")?;
    let out = Arc::new(Mutex::new(stream.try_clone().context("clone")?));
    let Some((program, arguments)) = words.split_first() else { fail!("no program") };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => {
            frame(&out, STDERR, format!("{program}: {cause}\n").as_bytes()).context("answer")?;
            return frame(&out, EXIT, &127_i32.to_be_bytes()).context("answer");
        }
    };
    let group = Pid::from_raw(child.id().cast_signed());
    let mut signals = stream.try_clone().context("clone")?;
    thread::spawn(move || {
        let mut signal = [0];
        while signals.read_exact(&mut signal).is_ok() {
            let _ = Signal::try_from(i32::from(signal[0])).map(|signal| killpg(group, signal));
        }
        // The client has gone, or the program has: then there is nobody left to kill.
        let _ = killpg(group, Signal::SIGKILL);
    });
    let pumps = [pump(child.stdout.take(), STDOUT, out.clone()), pump(child.stderr.take(), STDERR, out.clone())];
    let status = child.wait().context("wait")?;
    for pump in pumps {
        let _ = pump.join();
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    frame(&out, EXIT, &code.to_be_bytes()).context("answer")
}

/// Copies `from` to the client, until either ends.
fn pump(from: Option<impl Read + Send + 'static>, kind: u8, out: Arc<Mutex<TcpStream>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let Some(mut from) = from else { return };
        let mut block = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut block) {
            if frame(&out, kind, &block[..length]).is_err() {
                return;
            }
        }
    })
}

fn frame(out: &Mutex<TcpStream>, kind: u8, octets: &[u8]) -> io::Result<()> {
    let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
    let whole = [&[kind], &length.to_be_bytes()[..], octets].concat();
    out.lock().unwrap_or_else(PoisonError::into_inner).write_all(&whole)
}

/// Runs `words` at the agent at `address`: its output becomes ours; gives its exit status, 128 and more for a signal.
/// SIGTERM and SIGINT go to the program.
pub(crate) fn client(address: SocketAddr, words: &[String]) -> Result<i32> {
    let mut handled = SigSet::empty();
    handled.add(Signal::SIGTERM);
    handled.add(Signal::SIGINT);
    // Before any thread starts: all of them leave these signals to the one that waits for them.
    handled.thread_block().context("signals")?;
    let stream = TcpStream::connect(address).context(address)?;
    write_words(&mut &stream, words).context("request")?;
    let mut signals = stream.try_clone().context("clone")?;
    thread::spawn(move || {
        while let Ok(signal) = handled.wait() {
            let _ = signals.write_all(&[signal as u8]);
        }
    });
    loop {
        let (kind, octets) = read_frame(&mut &stream).context("the agent's answer")?;
        match kind {
            STDOUT => io::stdout().write_all(&octets).context("standard output")?,
            STDERR => io::stderr().write_all(&octets).context("standard error")?,
            _ => {
                let code = octets.try_into().map_err(|_| "not an exit status").context("the agent's answer")?;
                io::stdout().flush().context("standard output")?;
                return Ok(i32::from_be_bytes(code));
            }
        }
    }
}

fn write_words(out: &mut impl Write, words: &[String]) -> io::Result<()> {
    let mut whole = Vec::new();
    let number = |out: &mut Vec<u8>, value: usize| -> io::Result<()> {
        out.extend(u32::try_from(value).map_err(io::Error::other)?.to_be_bytes());
        Ok(())
    };
    number(&mut whole, words.len())?;
    for word in words {
        number(&mut whole, word.len())?;
        whole.extend(word.as_bytes());
    }
    out.write_all(&whole)
}

fn read_words(from: &mut impl Read) -> io::Result<Vec<String>> {
    let count = read_length(from)?;
    (0..count).map(|_| String::from_utf8(read_octets(from)?).map_err(io::Error::other)).collect()
}

fn read_frame(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    Ok((kind[0], read_octets(from)?))
}

fn read_octets(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; read_length(from)?];
    from.read_exact(&mut octets)?;
    Ok(octets)
}

fn read_length(from: &mut impl Read) -> io::Result<usize> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LIMIT { Err(io::Error::other("too long")) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_way() {
        let words = ["sh", "-c", "echo 'a b'", ""].map(str::to_owned).to_vec();
        let mut wire = Vec::new();
        write_words(&mut wire, &words).expect("short words");
        assert_eq!(read_words(&mut &wire[..]).expect("whole"), words);
        assert!(read_words(&mut &wire[..wire.len() - 7]).is_err());
        assert!(read_words(&mut &[255; 8][..]).is_err());
    }

    #[test]
    fn a_program_answers_and_dies_with_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(&stream));
            }
        });
        let ask = |script: &str| {
            let stream = TcpStream::connect(address).expect("connect");
            write_words(&mut &stream, &["sh", "-c", script].map(str::to_owned)).expect("request");
            stream
        };
        let stream = ask("echo out; echo err >&2; kill -TERM $$");
        let mut frames: Vec<_> = (0..3).map(|_| read_frame(&mut &stream).expect("frame")).collect();
        frames.sort();
        let wanted = [(STDOUT, b"out\n".to_vec()), (STDERR, b"err\n".to_vec()), (EXIT, 143_i32.to_be_bytes().into())];
        assert_eq!(frames, wanted);
        let mut stream = ask("echo $$; sleep 60");
        let (_, pid) = read_frame(&mut &stream).expect("frame");
        stream.write_all(&[Signal::SIGTERM as u8]).expect("signal");
        assert_eq!(read_frame(&mut &stream).expect("frame"), (EXIT, 143_i32.to_be_bytes().to_vec()));
        assert!(!std::path::Path::new(&format!("/proc/{}", String::from_utf8_lossy(&pid).trim())).exists());
    }
}

//! Just enough HTTP/1.1 over TCP to move a large body each way and compare checksums.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ring::digest::{Context as Sha256, SHA256};

use crate::failure::{Context, Result, fail};

const BLOCK: usize = 1 << 18;
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves one request: `GET` is answered with `size` octets, `PUT` takes a body; either answer's head tells the
/// body's checksum.
pub(crate) fn serve(address: SocketAddr, size: usize) -> Result<()> {
    let listener = TcpListener::bind(address).context(address)?;
    let (stream, _) = listener.accept().context("accept")?;
    answer(stream, size)
}

fn answer(stream: TcpStream, size: usize) -> Result<()> {
    patient(&stream)?;
    let mut reader = BufReader::new(stream.try_clone().context("clone")?);
    let (request, length, _) = head(&mut reader)?;
    let mut stream = stream;
    if request.starts_with("GET ") {
        let sum = checksum_of_body(size);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nX-Sha256: {sum}\r\n\r\n").context("answer")?;
        return send_body(&mut stream, size);
    }
    let sum = receive_body(&mut reader, length)?;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sha256: {sum}\r\n\r\n").context("answer")
}

/// Downloads from `server`; gives the number of octets.
///
/// # Errors
/// When the transfer breaks, stalls, or the checksums differ.
pub(crate) fn download(server: SocketAddr) -> Result<usize> {
    let mut stream = connect(server)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {server}\r\n\r\n").context("request")?;
    let mut reader = BufReader::new(stream);
    let (_, length, sum) = head(&mut reader)?;
    let received = receive_body(&mut reader, length)?;
    if sum != received {
        fail!("download: sent with checksum {sum}, received with {received}");
    }
    Ok(length)
}

/// Uploads `size` octets to `server`.
///
/// # Errors
/// As [`download`].
pub(crate) fn upload(server: SocketAddr, size: usize) -> Result<()> {
    let mut stream = connect(server)?;
    write!(stream, "PUT / HTTP/1.1\r\nHost: {server}\r\nContent-Length: {size}\r\n\r\n").context("request")?;
    send_body(&mut stream, size)?;
    let (_, _, received) = head(&mut BufReader::new(stream))?;
    let sum = checksum_of_body(size);
    if sum != received {
        fail!("upload: sent with checksum {sum}, received with {received}");
    }
    Ok(())
}

/// Connects; a server that does not listen yet is waited for.
fn connect(server: SocketAddr) -> Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&server, PATIENCE) {
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            other => {
                let stream = other.context(format!("connect to {server}"))?;
                patient(&stream)?;
                return Ok(stream);
            }
        }
    }
}

fn patient(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE)).context("timeout")?;
    stream.set_write_timeout(Some(PATIENCE)).context("timeout")
}

/// Reads a head: first line, content length, checksum.
fn head(reader: &mut impl BufRead) -> Result<(String, usize, String)> {
    let (mut first, mut length, mut sum) = (String::new(), 0, String::new());
    reader.read_line(&mut first).context("head")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).context("head")? == 0 {
            fail!("connection closed within the head");
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().context("Content-Length")?,
            Some(("X-Sha256", value)) => sum = value.to_owned(),
            Some(_) => {}
            None => return Ok((first, length, sum)),
        }
    }
}

fn send_body(stream: &mut TcpStream, size: usize) -> Result<()> {
    blocks(size, |block| stream.write_all(block).context("send"))
}

fn receive_body(reader: &mut impl Read, length: usize) -> Result<String> {
    let mut sum = Sha256::new(&SHA256);
    let mut block = vec![0; BLOCK];
    let mut left = length;
    while left > 0 {
        let want = left.min(BLOCK);
        let got = reader.read(&mut block[..want]).context(format!("receive, {left} octets before the end"))?;
        if got == 0 {
            fail!("connection closed {left} octets before the end");
        }
        sum.update(&block[..got]);
        left -= got;
    }
    Ok(hex(sum.finish().as_ref()))
}

fn checksum_of_body(size: usize) -> String {
    let mut sum = Sha256::new(&SHA256);
    // Infallible: the closure never fails.
    let _ = blocks(size, |block| {
        sum.update(block);
        Ok(())
    });
    hex(sum.finish().as_ref())
}

/// A body that does not repeat within a block and differs from block to block, so that loss and reordering show.
fn blocks(size: usize, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut block: Vec<u8> = (0..BLOCK as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    for (number, start) in (0_u64..).zip((0..size).step_by(BLOCK)) {
        block[..8].copy_from_slice(&number.to_be_bytes());
        each(&block[..BLOCK.min(size - start)])?;
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

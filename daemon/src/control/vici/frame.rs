//! The frame: a packet behind its length in four octets, over any byte stream.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

/// Longest packet, octets: strongSwan's own limit.
pub const MAX_FRAME: usize = 512 * 1024;

/// Reads one frame; `None` if the stream ends before it. The buffer is wiped when dropped.
///
/// # Errors
/// If the stream fails or ends within the frame, or if the length is beyond [`MAX_FRAME`] (nothing is allocated then).
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut length = [0; 4];
    match stream.read(&mut length).await? {
        0 => return Ok(None),
        n => stream.read_exact(&mut length[n..]).await?,
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        let cause = format!("frame of {length} octets announced, at most {MAX_FRAME} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
    }
    let mut packet = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut packet).await?;
    Ok(Some(packet))
}

/// Writes one encoded packet as a frame.
///
/// # Errors
/// If the stream fails or the packet is beyond [`MAX_FRAME`].
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), packet: &[u8]) -> io::Result<()> {
    let length = u32::try_from(packet.len()).ok().filter(|&length| length as usize <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "packet too long for a frame"))?;
    let mut frame = Zeroizing::new(Vec::with_capacity(4 + packet.len()));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(packet);
    stream.write_all(&frame).await
}

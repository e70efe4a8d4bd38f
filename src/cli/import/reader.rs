//! Reads a file block by block, unpacks and parses it, and hands pieces on; blocks when the store is behind.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use crate::domain::exposition::{ParseError, Stream};
use crate::domain::metric::Metadata;
use crate::store::samples::SeriesBatch;

/// Samples stored together: large enough that the commit does not count, small enough for memory.
const PIECE_SAMPLES: usize = 100_000;
const BLOCK_BYTES: usize = 1 << 20;

/// What is stored together.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) series: SeriesBatch,
    pub(super) samples: usize,
    /// With the last piece of a file.
    pub(super) metadata: Vec<Metadata>,
}

pub(super) enum Failed {
    Io(io::Error),
    Parse(ParseError),
    /// Nobody takes pieces any more.
    Gone,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

/// How many series the file has. `position` follows the bytes of the file as it lies on disk.
pub(super) fn read(path: &Path, position: &AtomicU64, pieces: &mpsc::Sender<Piece>) -> Result<usize, Failed> {
    let raw: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    let mut counted = BufReader::with_capacity(BLOCK_BYTES, Counted { inner: raw, position });
    let packed = counted.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut input: Box<dyn Read + '_> = if packed { Box::new(MultiGzDecoder::new(counted)) } else { Box::new(counted) };
    let (mut stream, mut block) = (Stream::new(), vec![0; BLOCK_BYTES]);
    loop {
        let read = match input.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        let fed = stream.feed(&block[..read]);
        if fed.is_err() || stream.waiting() >= PIECE_SAMPLES {
            hand_on(&mut stream, Vec::new(), pieces)?;
        }
        fed.map_err(Failed::Parse)?;
    }
    let finished = stream.finish();
    let metadata = stream.take_metadata();
    hand_on(&mut stream, metadata, pieces)?;
    finished.map_err(Failed::Parse)?;
    Ok(stream.series())
}

fn hand_on(stream: &mut Stream, metadata: Vec<Metadata>, pieces: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    let samples = stream.waiting();
    let piece = Piece { series: stream.take(), samples, metadata };
    pieces.blocking_send(piece).map_err(|_| Failed::Gone)
}

struct Counted<'a> {
    inner: Box<dyn Read>,
    position: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

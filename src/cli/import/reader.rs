//! Reads a file block by block, unpacks and parses it, and hands pieces on; blocks when the store is behind.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use super::victoria::Lines;
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
    let input: Box<dyn Read + '_> = if packed { Box::new(MultiGzDecoder::new(counted)) } else { Box::new(counted) };
    let mut input = BufReader::with_capacity(BLOCK_BYTES, input);
    let mut parser: Box<dyn Parser> = match Lines::begin_with(input.fill_buf()?) {
        true => Box::new(Lines::default()),
        false => Box::new(Stream::new()),
    };
    loop {
        let block = match input.fill_buf() {
            Ok([]) => break,
            Ok(block) => block,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        let (fed, read) = (parser.feed(block), block.len());
        input.consume(read);
        if fed.is_err() || parser.waiting() >= PIECE_SAMPLES {
            hand_on(&mut *parser, Vec::new(), pieces)?;
        }
        fed.map_err(Failed::Parse)?;
    }
    let finished = parser.finish();
    let metadata = parser.take_metadata();
    hand_on(&mut *parser, metadata, pieces)?;
    finished.map_err(Failed::Parse)?;
    Ok(parser.series())
}

fn hand_on(parser: &mut dyn Parser, metadata: Vec<Metadata>, pieces: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    let samples = parser.waiting();
    let piece = Piece { series: parser.take(), samples, metadata };
    pieces.blocking_send(piece).map_err(|_| Failed::Gone)
}

/// One for each format: fed with blocks, emptied into pieces.
trait Parser {
    fn feed(&mut self, block: &[u8]) -> Result<(), ParseError>;
    fn finish(&mut self) -> Result<(), ParseError>;
    fn waiting(&self) -> usize;
    fn take(&mut self) -> SeriesBatch;
    fn take_metadata(&mut self) -> Vec<Metadata>;
    fn series(&self) -> usize;
}

impl Parser for Stream {
    fn feed(&mut self, block: &[u8]) -> Result<(), ParseError> {
        Stream::feed(self, block)
    }
    fn finish(&mut self) -> Result<(), ParseError> {
        Stream::finish(self)
    }
    fn waiting(&self) -> usize {
        Stream::waiting(self)
    }
    fn take(&mut self) -> SeriesBatch {
        Stream::take(self)
    }
    fn take_metadata(&mut self) -> Vec<Metadata> {
        Stream::take_metadata(self)
    }
    fn series(&self) -> usize {
        Stream::series(self)
    }
}

impl Parser for Lines {
    fn feed(&mut self, block: &[u8]) -> Result<(), ParseError> {
        Lines::feed(self, block)
    }
    fn finish(&mut self) -> Result<(), ParseError> {
        Lines::finish(self)
    }
    fn waiting(&self) -> usize {
        Lines::waiting(self)
    }
    fn take(&mut self) -> SeriesBatch {
        Lines::take(self)
    }
    /// The export says nothing of types.
    fn take_metadata(&mut self) -> Vec<Metadata> {
        Vec::new()
    }
    fn series(&self) -> usize {
        Lines::series(self)
    }
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

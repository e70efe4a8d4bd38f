//! Reads a body piece by piece: unpacks gzip, stops at the limit, refuses what swells too much.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use super::client::NetError;

/// Unpacked bytes per received byte; real text stays far below, a zip bomb reaches a thousand.
pub(super) const INFLATE_RATIO_MAX: usize = 100;

/// Below this size swelling harms nobody, and a page of zeros is legal.
const INFLATE_FREE_BYTES: usize = 1 << 20;

/// A sink that takes at most `limit` bytes and remembers that there were more.
struct Capped {
    out: Vec<u8>,
    limit: usize,
    over: bool,
}

impl Write for Capped {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let room = self.limit - self.out.len();
        if buf.len() > room {
            self.out.extend_from_slice(&buf[..room]);
            self.over = true;
            return Err(std::io::Error::other("body limit"));
        }
        self.out.extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Identity(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

pub(super) struct Collector {
    decoder: Decoder,
    wire_bytes: usize,
    limit: usize,
    truncate: bool,
}

/// Does the collector want more?
#[derive(Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    /// The limit is reached and the request asked for a truncated body.
    Enough,
}

impl Collector {
    /// `encoding` is the `content-encoding` header.
    pub(super) fn new(encoding: Option<&str>, limit: usize, truncate: bool) -> Result<Collector, NetError> {
        let sink = Capped { out: Vec::new(), limit, over: false };
        let decoder = match encoding.map(|e| e.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Decoder::Identity(sink),
            Some("gzip" | "x-gzip") => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Some(other) => {
                let shown: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(NetError::Protocol(format!("content-encoding {shown} was not asked for")));
            }
        };
        Ok(Collector { decoder, wire_bytes: 0, limit, truncate })
    }

    /// So much is announced: room that need not grow piece by piece. Promises of more than a little are not believed.
    pub(super) fn expect(&mut self, bytes: Option<u64>) {
        const BELIEVED_MAX: usize = 1 << 20;
        if let Decoder::Identity(sink) = &mut self.decoder {
            let bytes = bytes.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            sink.out.reserve_exact(bytes.min(self.limit).min(BELIEVED_MAX));
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<More, NetError> {
        self.wire_bytes += chunk.len();
        let written = match &mut self.decoder {
            Decoder::Identity(sink) => sink.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk),
        };
        let sink = self.sink();
        if sink.over {
            return if self.truncate { Ok(More::Enough) } else { Err(NetError::BodyTooLarge(self.limit)) };
        }
        if sink.out.len() > INFLATE_FREE_BYTES && sink.out.len() > self.wire_bytes.saturating_mul(INFLATE_RATIO_MAX) {
            return Err(NetError::BodyTooLarge(self.wire_bytes.saturating_mul(INFLATE_RATIO_MAX)));
        }
        written.map_err(|_| NetError::Protocol("the gzip body is damaged".into()))?;
        Ok(More::Yes)
    }

    /// The body, and whether it was cut at the limit.
    pub(super) fn finish(self) -> Result<(Bytes, bool), NetError> {
        let sink = match self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) if self.wire_bytes == 0 || decoder.get_ref().over => {
                // An empty body (HEAD, 304) has no gzip trailer, and a cut one cannot.
                let mut decoder = decoder;
                std::mem::replace(decoder.get_mut(), Capped { out: Vec::new(), limit: 0, over: false })
            }
            Decoder::Gzip(mut decoder) => {
                if decoder.try_finish().is_err() && !decoder.get_ref().over {
                    return Err(NetError::Protocol("the gzip body is cut short".into()));
                }
                std::mem::replace(decoder.get_mut(), Capped { out: Vec::new(), limit: 0, over: false })
            }
        };
        if sink.over && !self.truncate {
            return Err(NetError::BodyTooLarge(self.limit));
        }
        Ok((sink.out.into(), sink.over))
    }

    fn sink(&self) -> &Capped {
        match &self.decoder {
            Decoder::Identity(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn collect(encoding: Option<&str>, data: &[u8], limit: usize, truncate: bool) -> Result<(Bytes, bool), NetError> {
        let mut collector = Collector::new(encoding, limit, truncate)?;
        for piece in data.chunks(7000) {
            if collector.push(piece)? == More::Enough {
                break;
            }
        }
        collector.finish()
    }

    #[test]
    fn plain_and_packed_bodies_come_back_whole() {
        let text: Vec<u8> = (0..50_000u32).flat_map(|i| i.to_string().into_bytes()).collect();
        assert_eq!(collect(None, &text, 1 << 20, false), Ok((text.clone().into(), false)));
        assert_eq!(collect(Some("gzip"), &gzip(&text), 1 << 20, false), Ok((text.into(), false)));
        assert_eq!(collect(Some("gzip"), b"", 10, false), Ok((Bytes::new(), false)));
    }

    #[test]
    fn limits_cut_or_fail() {
        let text = vec![b'x'; 5000];
        assert_eq!(collect(None, &text, 100, false), Err(NetError::BodyTooLarge(100)));
        assert_eq!(collect(Some("gzip"), &gzip(&text), 100, true), Ok((vec![b'x'; 100].into(), true)));
        assert_eq!(collect(None, &text, 5000, false), Ok((text.into(), false)));
    }

    #[test]
    fn a_bomb_and_a_torn_body_are_refused() {
        let bomb = gzip(&vec![0u8; 64 << 20]);
        assert!(matches!(collect(Some("gzip"), &bomb, 512 << 20, false), Err(NetError::BodyTooLarge(_))));
        let packed = gzip(b"hello hello hello");
        let torn = &packed[..packed.len() - 4];
        assert_eq!(
            collect(Some("gzip"), torn, 100, false),
            Err(NetError::Protocol("the gzip body is cut short".into()))
        );
        assert!(matches!(collect(Some("gzip"), b"not gzip at all", 100, false), Err(NetError::Protocol(_))));
        assert!(matches!(collect(Some("br"), b"", 100, false), Err(NetError::Protocol(_))));
    }
}

//! Files within archives: zip (jar, war, whl, docx and their like), gzip and tar. Read in memory, nothing is unpacked to
//! the disk, so no path can lead anywhere; sizes and counts are bounded, and what is over the bound is said.
//!
//! Sources: PKWARE's APPNOTE 6.3 (end of central directory, central directory header), POSIX pax/ustar, RFC 1952.

use std::io::Read as _;

use flate2::read::{DeflateDecoder, MultiGzDecoder};

/// One file of an archive.
pub(super) struct Entry {
    pub path: String,
    pub bytes: Vec<u8>,
}

/// What was found in one archive.
#[derive(Default)]
pub(super) struct Unpacked {
    pub entries: Vec<Entry>,
    /// Something was too large, encrypted, damaged, or of a kind that is not read.
    pub partly: bool,
}

/// Of one archive, after unpacking.
const TOTAL_BYTES_MAX: u64 = 64 << 20;
const ENTRY_BYTES_MAX: u64 = 8 << 20;
const ENTRIES_MAX: usize = 20_000;

/// The files of an archive, by its first bytes; `None` when it is none.
pub(super) fn unpack(path: &str, bytes: &[u8]) -> Option<Unpacked> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(zip(bytes));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut out = Unpacked::default();
        let mut inner = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(TOTAL_BYTES_MAX).read_to_end(&mut inner);
        out.partly = read.is_err() || inner.len() as u64 == TOTAL_BYTES_MAX;
        if is_tar(&inner) {
            let mut tar = tar(&inner);
            tar.partly |= out.partly;
            return Some(tar);
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let name = name.strip_suffix(".gz").unwrap_or(name).to_string();
        out.entries.push(Entry { path: name, bytes: inner });
        return Some(out);
    }
    is_tar(bytes).then(|| tar(bytes))
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b)))
}

fn zip(bytes: &[u8]) -> Unpacked {
    let mut out = Unpacked::default();
    out.partly = zip_entries(bytes, &mut out.entries).is_none();
    out
}

/// `None` when something was left out.
fn zip_entries(bytes: &[u8], entries: &mut Vec<Entry>) -> Option<()> {
    const END_BYTES: usize = 22;
    // A comment of up to 64 KiB may stand behind the end record.
    let tail = bytes.len().saturating_sub(END_BYTES + 0xffff);
    let end = tail + bytes[tail..].windows(4).rposition(|w| w == b"PK\x05\x06")?;
    let (count, mut at) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    let (mut whole, mut left) = (Some(()), TOTAL_BYTES_MAX);
    for _ in 0..count.min(ENTRIES_MAX) {
        if bytes.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let field = |offset: usize, length: usize| number(bytes, at + offset, length);
        let (flags, method) = (field(8, 2)?, field(10, 2)?);
        let (packed, name, extra, comment) = (field(20, 4)?, field(28, 2)?, field(30, 2)?, field(32, 2)?);
        let header = field(42, 4)?;
        let path = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
        at += 46 + name + extra + comment;
        if path.ends_with('/') {
            continue;
        }
        let data = number(bytes, header + 26, 2)
            .zip(number(bytes, header + 28, 2))
            .and_then(|(name, extra)| bytes.get(header + 30 + name + extra..)?.get(..packed));
        let entry = data.filter(|_| flags & 1 == 0).and_then(|data| inflated(method, data, left.min(ENTRY_BYTES_MAX)));
        match entry {
            Some(inner) => {
                left -= inner.len() as u64;
                entries.push(Entry { path, bytes: inner });
            }
            None => whole = None,
        }
    }
    whole.filter(|()| count <= ENTRIES_MAX)
}

/// `None` when it is damaged, of another method, or has more than `limit` bytes.
fn inflated(method: usize, data: &[u8], limit: u64) -> Option<Vec<u8>> {
    let mut inner = Vec::new();
    match method {
        0 => inner.extend_from_slice(data.get(..data.len().min(limit as usize + 1))?),
        8 => drop(DeflateDecoder::new(data).take(limit + 1).read_to_end(&mut inner).ok()?),
        _ => return None,
    }
    (inner.len() as u64 <= limit).then_some(inner)
}

const BLOCK: usize = 512;

fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

fn tar(bytes: &[u8]) -> Unpacked {
    let (mut out, mut at) = (Unpacked::default(), 0);
    while let Some(header) = bytes.get(at..at + BLOCK).filter(|h| h.iter().any(|b| *b != 0)) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let Ok(size) = usize::from_str_radix(text(124..136).trim(), 8) else {
            out.partly = true;
            break;
        };
        let prefix = text(345..500);
        let path = if prefix.is_empty() { text(0..100) } else { format!("{prefix}/{}", text(0..100)) };
        let data = bytes.get(at + BLOCK..).and_then(|rest| rest.get(..size));
        let file = matches!(header[156], b'0' | 0);
        match data.filter(|d| d.len() as u64 <= ENTRY_BYTES_MAX && out.entries.len() < ENTRIES_MAX) {
            Some(data) if file => out.entries.push(Entry { path, bytes: data.to_vec() }),
            Some(_) => {}
            None => out.partly |= file,
        }
        at = at.saturating_add(BLOCK).saturating_add(size.saturating_add(BLOCK - 1) / BLOCK * BLOCK);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn shown(unpacked: &Unpacked) -> Vec<(&str, &[u8])> {
        unpacked.entries.iter().map(|e| (&*e.path, &*e.bytes)).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    /// By the programs that people use: Python's zipfile and tarfile.
    fn by_python(code: &str) -> Vec<u8> {
        let program =
            format!("import io,sys,zipfile,tarfile\nout=io.BytesIO()\n{code}\nsys.stdout.buffer.write(out.getvalue())");
        let done = std::process::Command::new("python3").args(["-c", &program]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    #[test]
    fn zip_gzip_and_tar() {
        let zip = by_python(
            "z=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nz.writestr('a/b.txt','x'*5000)\nz.writestr(zipfile.ZipInfo('c'),'plain')\nz.comment=b'said'\nz.close()",
        );
        let unpacked = unpack("x.zip", &zip).unwrap();
        assert_eq!(shown(&unpacked), [("a/b.txt", "x".repeat(5000).as_bytes()), ("c", b"plain")]);
        assert!(!unpacked.partly);
        let tar = by_python(
            "t=tarfile.open(fileobj=out,mode='w')\nfor n,d in (('a/b',b'x'*700),('c',b'y')):\n i=tarfile.TarInfo(n); i.size=len(d); t.addfile(i,io.BytesIO(d))\nt.close()",
        );
        for packed in [tar.clone(), gzip(&tar)] {
            let unpacked = unpack("x", &packed).unwrap();
            assert_eq!(shown(&unpacked), [("a/b", "x".repeat(700).as_bytes()), ("c", b"y")]);
            assert!(!unpacked.partly);
        }
        let unpacked = unpack("logs/app.log.gz", &gzip(b"hello")).unwrap();
        assert_eq!(shown(&unpacked), [("app.log", &b"hello"[..])]);
        assert!(unpack("a.txt", b"hello").is_none());
    }

    #[test]
    fn what_is_cut_or_too_large_is_said() {
        let zip = by_python(
            "z=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nz.writestr('a',b'0'*(9<<20))\nz.writestr('b','x')\nz.close()",
        );
        let unpacked = unpack("x.zip", &zip).unwrap();
        assert!(unpacked.partly && shown(&unpacked) == [("b", &b"x"[..])]);
        for length in [4, zip.len() / 2, zip.len() - 1] {
            assert!(unpack("x.zip", &zip[..length]).unwrap().partly, "{length}");
        }
        let cut = gzip(&[7; 10_000]);
        assert!(unpack("x.gz", &cut[..cut.len() - 9]).unwrap().partly);
    }

    proptest::proptest! {
        #[test]
        fn damaged_archives_never_panic(at in 0usize..400, byte in proptest::prelude::any::<u8>(), cut in 0usize..400) {
            thread_local! {
                static ZIP: Vec<u8> = by_python("z=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nz.writestr('a/b.txt','hello '*20)\nz.writestr('c','plain')\nz.close()");
            }
            ZIP.with(|zip| {
                let mut bytes = zip.clone();
                let place = at % bytes.len();
                bytes[place] = byte;
                bytes.truncate(bytes.len() - cut % bytes.len());
                let _ = unpack("x.zip", &bytes);
            });
        }
    }
}

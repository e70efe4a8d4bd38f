//! Files within archives: zip (jar, war, whl, docx and their like), gzip and tar, also one in the other. Read in memory,
//! nothing is unpacked to the disk, so no path can lead anywhere; sizes, counts and depth are bounded, and what is over
//! the bound is said.
//!
//! Sources: PKWARE's APPNOTE 6.3 (end of central directory, central directory header), POSIX pax/ustar, RFC 1952.

use std::io::Read as _;

use flate2::read::{DeflateDecoder, MultiGzDecoder};

/// Of one archive, with all that lies within, after unpacking.
const TOTAL_BYTES_MAX: usize = 64 << 20;
const ENTRY_BYTES_MAX: usize = 8 << 20;
/// A packed file, or a packed archive.
const STREAM_BYTES_MAX: usize = 32 << 20;
const ENTRIES_MAX: usize = 20_000;
/// A `.tar.gz` in a `.jar` in a `.zip` has 4.
const DEPTH_MAX: u8 = 5;

/// Kinds that are known and not read: bzip2, xz, zstd, 7-Zip, RAR.
const OTHERS: [&[u8]; 5] =
    [b"BZh", b"\xfd7zXZ\0", &[0x28, 0xb5, 0x2f, 0xfd], &[0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], b"Rar!\x1a\x07"];

/// Hands each file of an archive to `each`, by a path such as `lib/a.jar!config.yml`. `None`: it is no archive, by its
/// first bytes; else whether all of it was read: not, where something is too large, encrypted, damaged, or of a kind
/// that is not read.
pub(super) fn unpack(path: &str, bytes: &[u8], each: &mut dyn FnMut(&str, &[u8])) -> Option<bool> {
    let mut left = Left { bytes: TOTAL_BYTES_MAX, entries: ENTRIES_MAX };
    opened(path, bytes, &mut left, DEPTH_MAX, each)
}

/// What may still be unpacked.
struct Left {
    bytes: usize,
    entries: usize,
}

impl Left {
    /// Takes one entry of that size, if there is room for it.
    fn take(&mut self, bytes: usize) -> bool {
        let room = self.entries > 0 && bytes <= self.bytes;
        if room {
            (self.entries, self.bytes) = (self.entries - 1, self.bytes - bytes);
        }
        room
    }
}

type Each<'e> = &'e mut dyn FnMut(&str, &[u8]);

fn opened(path: &str, bytes: &[u8], left: &mut Left, depth: u8, each: Each<'_>) -> Option<bool> {
    let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    let is_other = OTHERS.iter().any(|magic| bytes.starts_with(magic));
    if !(is_zip || is_gzip || is_tar || is_other) {
        return None;
    }
    let Some(depth) = depth.checked_sub(1) else { return Some(false) };
    if is_zip {
        return Some(zip(path, bytes, left, depth, each).is_some());
    }
    if is_tar {
        return Some(tar(path, bytes, left, depth, each));
    }
    Some(is_gzip && gzip(path, bytes, left, depth, each))
}

/// One file of an archive, which may be an archive itself. Whether all of it was read.
fn entry(path: &str, bytes: &[u8], left: &mut Left, depth: u8, each: Each<'_>) -> bool {
    opened(path, bytes, left, depth, each).unwrap_or_else(|| {
        each(path, bytes);
        true
    })
}

fn gzip(path: &str, bytes: &[u8], left: &mut Left, depth: u8, each: Each<'_>) -> bool {
    let mut inner = Vec::new();
    let most = STREAM_BYTES_MAX.min(left.bytes);
    let read = MultiGzDecoder::new(bytes).take(most as u64).read_to_end(&mut inner);
    let whole = read.is_ok() && inner.len() < most && left.take(inner.len());
    let name = path.rsplit(['/', '!']).next().unwrap_or(path);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    // A packed tar is one archive to people.
    let is_tar = inner.get(257..262) == Some(b"ustar");
    let path = if is_tar { path.to_string() } else { format!("{path}!{name}") };
    whole & entry(&path, &inner, left, depth, each)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(field.iter().rev().fold(0usize, |sum, b| sum << 8 | usize::from(*b)))
}

/// `None` when something was left out.
fn zip(path: &str, bytes: &[u8], left: &mut Left, depth: u8, each: Each<'_>) -> Option<()> {
    const END_BYTES: usize = 22;
    // A comment of up to 64 KiB may stand behind the end record.
    let tail = bytes.len().saturating_sub(END_BYTES + 0xffff);
    let end = tail + bytes[tail..].windows(4).rposition(|w| w == b"PK\x05\x06")?;
    let (count, mut at) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    let mut whole = Some(());
    for _ in 0..count {
        if bytes.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let field = |offset: usize, length: usize| number(bytes, at + offset, length);
        let (flags, method) = (field(8, 2)?, field(10, 2)?);
        let (packed, name, extra, comment) = (field(20, 4)?, field(28, 2)?, field(30, 2)?, field(32, 2)?);
        let header = field(42, 4)?;
        let named = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
        at += 46 + name + extra + comment;
        if named.ends_with('/') || super::files::is_noise(&named) {
            continue;
        }
        let data = number(bytes, header + 26, 2)
            .zip(number(bytes, header + 28, 2))
            .and_then(|(name, extra)| bytes.get(header + 30 + name + extra..)?.get(..packed));
        let most = ENTRY_BYTES_MAX.min(left.bytes);
        let inner = data.filter(|_| flags & 1 == 0).and_then(|data| inflated(method, data, most));
        match inner.filter(|inner| left.take(inner.len())) {
            Some(inner) if entry(&format!("{path}!{named}"), &inner, left, depth, each) => {}
            _ => whole = None,
        }
        if left.entries == 0 {
            return None;
        }
    }
    whole
}

/// `None` when it is damaged, of another method, or has more than `limit` bytes.
fn inflated(method: usize, data: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut inner = Vec::new();
    match method {
        0 => inner.extend_from_slice(data.get(..data.len().min(limit + 1))?),
        8 => drop(DeflateDecoder::new(data).take(limit as u64 + 1).read_to_end(&mut inner).ok()?),
        _ => return None,
    }
    (inner.len() <= limit).then_some(inner)
}

const BLOCK: usize = 512;

/// Whether all of it was read.
fn tar(path: &str, bytes: &[u8], left: &mut Left, depth: u8, each: Each<'_>) -> bool {
    let (mut whole, mut at) = (true, 0);
    while let Some(header) = bytes.get(at..at + BLOCK).filter(|h| h.iter().any(|b| *b != 0)) {
        let text = |range: std::ops::Range<usize>| {
            let field = &header[range];
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let Ok(size) = usize::from_str_radix(text(124..136).trim(), 8) else { return false };
        let prefix = text(345..500);
        let named = if prefix.is_empty() { text(0..100) } else { format!("{prefix}/{}", text(0..100)) };
        let data = bytes.get(at + BLOCK..).and_then(|rest| rest.get(..size));
        if matches!(header[156], b'0' | 0) && !super::files::is_noise(&named) {
            match data.filter(|data| data.len() <= ENTRY_BYTES_MAX && left.take(data.len())) {
                Some(data) => whole &= entry(&format!("{path}!{named}"), data, left, depth, each),
                None => whole = false,
            }
        }
        at = at.saturating_add(BLOCK).saturating_add(size.saturating_add(BLOCK - 1) / BLOCK * BLOCK);
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Files = Vec<(String, Vec<u8>)>;

    /// What was handed out, and whether that was all.
    fn read(path: &str, bytes: &[u8]) -> Option<(Files, bool)> {
        let mut out = Vec::new();
        let whole = unpack(path, bytes, &mut |path, bytes| out.push((path.to_string(), bytes.to_vec())))?;
        Some((out, whole))
    }

    fn files(of: &[(&str, &[u8])]) -> Files {
        of.iter().map(|(path, bytes)| (path.to_string(), bytes.to_vec())).collect()
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
        let expect = files(&[("x.zip!a/b.txt", "x".repeat(5000).as_bytes()), ("x.zip!c", b"plain")]);
        assert_eq!(read("x.zip", &zip), Some((expect, true)));
        let tar = by_python(
            "t=tarfile.open(fileobj=out,mode='w')\nfor n,d in (('a/b',b'x'*700),('c',b'y')):\n i=tarfile.TarInfo(n); i.size=len(d); t.addfile(i,io.BytesIO(d))\nt.close()",
        );
        for packed in [tar.clone(), gzip(&tar)] {
            let expect = files(&[("x!a/b", "x".repeat(700).as_bytes()), ("x!c", b"y")]);
            assert_eq!(read("x", &packed), Some((expect, true)));
        }
        let expect = files(&[("logs/app.log.gz!app.log", b"hello")]);
        assert_eq!(read("logs/app.log.gz", &gzip(b"hello")), Some((expect, true)));
        assert_eq!(read("a.txt", b"hello"), None);
    }

    #[test]
    fn one_within_the_other() {
        let zip = by_python(
            "t=io.BytesIO()\nw=tarfile.open(fileobj=t,mode='w:gz')\ni=tarfile.TarInfo('k/.env'); i.size=5; w.addfile(i,io.BytesIO(b'A=123'))\nw.close()\nz=zipfile.ZipFile(out,'w')\nz.writestr('lib/in.tgz',t.getvalue())\nz.writestr('logo.png','x')\nz.close()",
        );
        assert_eq!(read("x.zip", &zip), Some((files(&[("x.zip!lib/in.tgz!k/.env", b"A=123")]), true)));
        let (mut deep, mut path) = (b"hello".to_vec(), "a".to_string());
        for _ in 0..DEPTH_MAX {
            (deep, path) = (gzip(&deep), path + ".gz");
        }
        assert_eq!(read(&path, &deep).map(|(found, whole)| (found.len(), whole)), Some((1, true)));
        assert_eq!(read(&path, &gzip(&deep)), Some((vec![], false)), "a matryoshka is not opened for ever");
    }

    #[test]
    fn what_is_cut_or_too_large_is_said() {
        let zip = by_python(
            "z=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nz.writestr('a',b'0'*(9<<20))\nz.writestr('b','x')\nz.close()",
        );
        assert_eq!(read("x.zip", &zip), Some((files(&[("x.zip!b", b"x")]), false)));
        for length in [4, zip.len() / 2, zip.len() - 1] {
            assert!(!read("x.zip", &zip[..length]).unwrap().1, "{length}");
        }
        let cut = gzip(&[7; 10_000]);
        assert!(!read("x.gz", &cut[..cut.len() - 9]).unwrap().1);
        // Forty times seven MiB in a few KiB.
        let bomb = by_python(
            "z=zipfile.ZipFile(out,'w',zipfile.ZIP_DEFLATED)\nfor i in range(40): z.writestr(str(i),b'0'*(7<<20))\nz.close()",
        );
        let mut bytes = 0;
        assert_eq!(unpack("x.zip", &bomb, &mut |_, inner| bytes += inner.len()), Some(false));
        assert!(bomb.len() < 1 << 20 && bytes <= TOTAL_BYTES_MAX);
        for other in OTHERS {
            assert_eq!(read("x", &[other, b"rest"].concat()), Some((vec![], false)));
        }
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
                let _ = read("x.zip", &bytes);
            });
        }
    }
}

//! A file as the texts that it holds: those of an archive, and those in UTF-16 as everybody reads them. Pure.

use std::borrow::Cow;

use super::archives;

/// Hands each text of a file to `each`, with its path. Whether all of it could be read.
pub(super) fn texts(path: &str, bytes: &[u8], each: &mut dyn FnMut(&str, &[u8])) -> bool {
    let mut inner = |path: &str, bytes: &[u8]| each(path, &plain(bytes));
    archives::unpack(path, bytes, &mut inner).unwrap_or_else(|| {
        each(path, &plain(bytes));
        true
    })
}

/// UTF-16 as UTF-8, line for line; everything else as it is.
fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (body, little) = match bytes {
        [0xff, 0xfe, body @ ..] => (body, true),
        [0xfe, 0xff, body @ ..] => (body, false),
        // Without a mark: every other byte of plain text is zero.
        _ => match unmarked(bytes) {
            Some(little) => (bytes, little),
            None => return Cow::Borrowed(bytes),
        },
    };
    let unit = |pair: &[u8]| match little {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    };
    let text: String = char::decode_utf16(body.chunks_exact(2).map(unit)).map(|c| c.unwrap_or('\u{fffd}')).collect();
    Cow::Owned(text.into_bytes())
}

/// Is it UTF-16 without a mark, and with the small byte first?
fn unmarked(bytes: &[u8]) -> Option<bool> {
    const LOOKED_AT: usize = 512;
    let head = &bytes[..bytes.len().min(LOOKED_AT) & !1];
    let zeros = |at: usize| head.iter().skip(at).step_by(2).filter(|b| **b == 0).count();
    let most = head.len() / 2 * 9 / 10;
    match (zeros(0), zeros(1)) {
        _ if head.len() < 16 => None,
        (0, odd) if odd > most => Some(true),
        (even, 0) if even > most => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        let mut out = String::new();
        assert!(texts("a", bytes, &mut |_, text| out += &String::from_utf8_lossy(text)));
        out
    }

    #[test]
    fn utf16_is_read_like_any_text() {
        let text = "[db]\r\npassword = \u{e4}bc\r\nuser = me and others\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [[&[0xff, 0xfe], &little[..]].concat(), [&[0xfe, 0xff], &big[..]].concat(), little, big] {
            assert_eq!(read(&bytes), text);
        }
        assert_eq!(read(text.as_bytes()), text);
        assert_eq!(read(&[0; 64]), "\0".repeat(64));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = texts("a", &bytes, &mut |_, _| {});
        }
    }
}

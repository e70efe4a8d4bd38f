//! The protobuf wire format, as much as remote write and OTLP need: fields one after the other, borrowed, with the byte
//! at which a message is broken. Knows no message.
//!
//! Source: protobuf.dev, "Encoding". Groups are refused: proto3 has none.

/// Where and why bytes are no protobuf message. `at` counts bytes of the whole body from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Malformed {
    pub at: usize,
    pub what: &'static str,
}

/// What stands behind a field's number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A message, a text, bytes, or packed numbers.
    Bytes(Reader<'a>),
}

/// A cursor over a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    /// Offset of `body` in the whole request: for errors only.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { body, at: 0, base: 0 }
    }
    pub(super) fn with_base(body: &'a [u8], base: usize) -> Reader<'a> {
        Reader { body, at: 0, base }
    }
    /// Where the next byte stands in the whole body.
    pub(super) fn position(&self) -> usize {
        self.base + self.at
    }
    pub(super) fn error(&self, what: &'static str) -> Malformed {
        Malformed { at: self.position(), what }
    }
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.body.len()
    }
    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }
    /// The caller has looked at [`Reader::rest`] and knows that so many bytes are there.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.body.len());
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let rest = &self.body[self.at..];
        if let [byte @ 0..=0x7f, ..] = rest {
            self.at += 1;
            return Ok(u64::from(*byte));
        }
        let mut value = 0;
        for (i, byte) in rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(if rest.len() < 10 {
            "the message ends inside a number"
        } else {
            "a number of more than 64 bits"
        }))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let found = self.rest().get(..bytes).ok_or_else(|| self.error("the message ends inside a field"))?;
        self.at += bytes;
        Ok(found)
    }
    pub(super) fn fixed64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }
    fn fixed32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
    }
    /// What a length announces.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<Reader<'a>, Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| self.error("a field longer than the message"))?;
        let base = self.position();
        self.take(length).map(|body| Reader { body, at: 0, base })
    }

    /// The next field's number and value; `None` at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = *self;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let number = number.ok_or_else(|| start.error("not a field's number"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => Value::Bytes(self.bytes()?),
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(start.error("not a wire type of proto3")),
        };
        Ok(Some((number, value)))
    }

    /// The whole of it as a text.
    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.body)
            .map_err(|e| Malformed { at: self.base + e.valid_up_to(), what: "a text is not UTF-8" })
    }
    pub(super) fn whole(&self) -> &'a [u8] {
        self.body
    }
}

impl<'a> Value<'a> {
    pub(super) fn message(self, place: &Reader) -> Result<Reader<'a>, Malformed> {
        match self {
            Value::Bytes(reader) => Ok(reader),
            _ => Err(place.error("expected a message or a text before here")),
        }
    }
    pub(super) fn text(self, place: &Reader) -> Result<&'a str, Malformed> {
        self.message(place)?.text()
    }
    pub(super) fn number(self, place: &Reader) -> Result<u64, Malformed> {
        match self {
            Value::Varint(v) | Value::Fixed64(v) => Ok(v),
            Value::Fixed32(v) => Ok(u64::from(v)),
            Value::Bytes(_) => Err(place.error("expected a number before here")),
        }
    }
    /// The bits of a double, whatever they are.
    pub(super) fn double(self, place: &Reader) -> Result<f64, Malformed> {
        match self {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(place.error("expected a double before here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_every_length() {
        for (bytes, expect) in [
            (&[0x00][..], Ok(0)),
            (&[0x96, 0x01], Ok(150)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Err("a number of more than 64 bits")),
            (&[0x80], Err("the message ends inside a number")),
            (&[], Err("the message ends inside a number")),
        ] {
            assert_eq!(Reader::new(bytes).varint().map_err(|e| e.what), expect, "{bytes:x?}");
        }
    }

    #[test]
    fn fields_name_the_byte_that_is_wrong() {
        for (bytes, at) in [(&[0x0a, 0x05, 1][..], 2), (&[0x08, 1, 0x0b], 2), (&[0x00, 1], 0), (&[0x09, 1, 2], 1)] {
            let mut reader = Reader::new(bytes);
            let error = std::iter::from_fn(|| reader.field().transpose()).find_map(Result::err).unwrap();
            assert_eq!(error.at, at, "{bytes:x?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.field() {}
            prop_assert!(reader.position() <= bytes.len());
        }
    }
}

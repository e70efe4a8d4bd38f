//! Numbers in seven bits a byte, the lowest first (LEB128, Protocol Buffers' varint).

/// Appends `number`.
pub fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_protocol_buffers_writes_them() {
        for (number, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[128, 1]), (300, &[0xac, 2])] {
            let mut out = Vec::new();
            super::put(&mut out, number);
            assert_eq!(out, bytes);
        }
        let mut out = Vec::new();
        super::put(&mut out, u64::MAX);
        assert_eq!((out.len(), out[9]), (10, 1));
    }
}

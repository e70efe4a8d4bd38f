//! Numbers in seven bits a byte, the lowest first (LEB128, Protocol Buffers' varint).

/// Appends `number`.
pub fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Small numbers of either sign as small ones without (Protocol Buffers' ZigZag).
pub fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// What [`zigzag`] was given.
pub fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
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

//! HTTP/1.1 from the client's side, as far as load needs it: a request is spelt out once and sent as it stands, an answer
//! is read for its status, its length and its end, and thrown away.
//!
//! hyper does the same with about four times the processor time, because it keeps what a client would want to look at.
//! Source: RFC 9112, sections 6.3 (how long a body is), 7.1 (chunks), 9.3 (when a connection stays open).

use bytes::Bytes;

use super::Shot;

/// A head longer than this is no answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 128;
/// A chunk's size with its extensions, or one line of a trailer.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Request {
    pub wire: Bytes,
    /// An answer to HEAD has no body, whatever its length says.
    pub head: bool,
}

/// Spells a request. Headers given by the user replace ours.
pub fn spell(shot: &Shot, authority: &str, headers: &[(String, String)]) -> Request {
    use std::fmt::Write as _;
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut text = format!("{} {} HTTP/1.1\r\n", shot.method, shot.path);
    let mut add = |name: &str, value: &str| {
        // A String takes everything.
        let _ = write!(text, "{name}: {value}\r\n");
    };
    if !given("host") {
        add("host", authority);
    }
    if !given("user-agent") {
        add("user-agent", concat!("hypercare/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in headers {
        add(name, value);
    }
    let may_have_none = matches!(shot.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE" | "TRACE");
    if !(given("content-length") || (shot.body.is_empty() && may_have_none)) {
        add("content-length", &shot.body.len().to_string());
    }
    text.push_str("\r\n");
    let mut wire = text.into_bytes();
    wire.extend_from_slice(&shot.body);
    Request { wire: wire.into(), head: shot.method == "HEAD" }
}

/// What the server sent is not HTTP/1, or not an answer to one request.
#[derive(Debug, PartialEq)]
pub struct Malformed;

/// How far an answer has been read.
#[derive(Debug)]
enum Stage {
    /// Its head; what came of it so far stands in `kept`.
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    /// A chunk's size line comes.
    Size,
    /// So many bytes of a chunk are to come, and its line end.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// The body ends with the connection.
    UntilClose,
    Done,
}

/// Reads one answer from pieces of any size. Keeps nothing of a body.
#[derive(Debug)]
pub struct Reader {
    stage: Stage,
    head: bool,
    status: u16,
    body_bytes: u64,
    keep_alive: bool,
    /// A head or a line that came in pieces.
    kept: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { stage: Stage::Done, head: false, status: 0, body_bytes: 0, keep_alive: true, kept: Vec::new() }
    }
}

impl Reader {
    /// Before each answer.
    pub fn start(&mut self, to_head: bool) {
        (self.stage, self.head, self.status, self.body_bytes) = (Stage::Head, to_head, 0, 0);
        self.kept.clear();
    }

    /// Is the answer whole?
    pub fn done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// May another request follow on this connection?
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The next piece. Bytes behind the answer's end are an error: nobody asked for them.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.stage {
                Stage::Head => self.head(rest)?,
                Stage::Length(left) => {
                    let (taken, rest) = self.body(rest, left);
                    self.stage = if left == taken { Stage::Done } else { Stage::Length(left - taken) };
                    rest
                }
                Stage::Chunk(left) => {
                    let (taken, rest) = self.body(rest, left);
                    self.stage = if left == taken { Stage::ChunkEnd } else { Stage::Chunk(left - taken) };
                    rest
                }
                Stage::UntilClose => self.body(rest, u64::MAX).1,
                Stage::Size | Stage::ChunkEnd | Stage::Trailer => self.line(rest)?,
                Stage::Done => return Err(Malformed),
            };
        }
        Ok(())
    }

    /// The connection was closed by the server. Whether that ends the answer, or cuts it.
    pub fn closed(&mut self) -> bool {
        self.keep_alive = false;
        if matches!(self.stage, Stage::UntilClose) {
            self.stage = Stage::Done;
        }
        self.done()
    }

    fn body<'a>(&mut self, rest: &'a [u8], left: u64) -> (u64, &'a [u8]) {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        self.body_bytes += taken as u64;
        (taken as u64, &rest[taken..])
    }

    fn head<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if self.kept.is_empty() {
            return match self.parse(rest)? {
                Some(length) => Ok(&rest[length..]),
                None => {
                    self.kept.extend_from_slice(rest);
                    Ok(&[])
                }
            };
        }
        let before = self.kept.len();
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(rest);
        match self.parse(&kept)? {
            // A head that was not whole before ends within this piece.
            Some(length) => Ok(&rest[length - before..]),
            None if kept.len() > HEAD_BYTES_MAX => Err(Malformed),
            None => {
                self.kept = kept;
                Ok(&[])
            }
        }
    }

    /// The length of the head, once it is whole.
    fn parse(&mut self, text: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut headers = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut response, text, &mut headers) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed),
        };
        let status = response.code.ok_or(Malformed)?;
        if (100..200).contains(&status) {
            // An interim answer: the real one follows. Nobody asked for another protocol.
            return if status == 101 { Err(Malformed) } else { Ok(Some(length)) };
        }
        self.status = status;
        self.keep_alive = response.version == Some(1);
        let (mut content_length, mut chunked, mut coded) = (None, false, false);
        for header in response.headers.iter() {
            let says = |word: &[u8]| {
                header.value.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
            };
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let value = std::str::from_utf8(header.value).ok().and_then(|v| v.trim().parse::<u64>().ok());
                    let value = value.ok_or(Malformed)?;
                    if content_length.is_some_and(|other| other != value) {
                        return Err(Malformed);
                    }
                    content_length = Some(value);
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    coded = true;
                    chunked = header
                        .value
                        .rsplit(|b| *b == b',')
                        .next()
                        .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    if says(b"close") {
                        self.keep_alive = false;
                    } else if says(b"keep-alive") {
                        self.keep_alive = true;
                    }
                }
                _ => {}
            }
        }
        self.stage = match () {
            () if self.head || matches!(status, 204 | 304) => Stage::Done,
            () if chunked => Stage::Size,
            () if coded => Stage::UntilClose,
            () => match content_length {
                Some(0) => Stage::Done,
                Some(length) => Stage::Length(length),
                None => Stage::UntilClose,
            },
        };
        if matches!(self.stage, Stage::UntilClose) {
            self.keep_alive = false;
        }
        Ok(Some(length))
    }

    /// One line of the chunked coding: a size, the end of a chunk, a trailer.
    fn line<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            self.kept.extend_from_slice(rest);
            return if self.kept.len() > LINE_BYTES_MAX { Err(Malformed) } else { Ok(&[]) };
        };
        let mut whole = std::mem::take(&mut self.kept);
        let line = if whole.is_empty() {
            &rest[..end]
        } else {
            whole.extend_from_slice(&rest[..end]);
            &whole
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.stage = match self.stage {
            Stage::Size => match size(line).ok_or(Malformed)? {
                0 => Stage::Trailer,
                size => Stage::Chunk(size),
            },
            Stage::ChunkEnd if line.is_empty() => Stage::Size,
            Stage::Trailer if line.is_empty() => Stage::Done,
            Stage::Trailer => Stage::Trailer,
            _ => return Err(Malformed),
        };
        Ok(&rest[end + 1..])
    }
}

/// `1a`, `1a;name=value`.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body bytes, whether the connection may be used again; read whole and byte by byte.
    fn read(text: &str, to_head: bool) -> Result<(u16, u64, bool), &'static str> {
        let whole = piecewise(text, to_head, text.len().max(1));
        assert_eq!(piecewise(text, to_head, 1), whole, "{text:?}");
        assert_eq!(piecewise(text, to_head, 7), whole, "{text:?}");
        whole
    }

    fn piecewise(text: &str, to_head: bool, length: usize) -> Result<(u16, u64, bool), &'static str> {
        let mut reader = Reader::default();
        reader.start(to_head);
        for piece in text.as_bytes().chunks(length) {
            reader.feed(piece).map_err(|_| "malformed")?;
        }
        if !reader.done() && !reader.closed() {
            return Err("cut");
        }
        Ok((reader.status(), reader.body_bytes(), reader.keep_alive()))
    }

    #[test]
    fn lengths_as_the_rfc_orders_them() {
        for (text, expect) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", (200, 5, true)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", (200, 0, false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", (200, 1, false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive\r\n\r\nx", (200, 1, true)),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
                (200, 13, true),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\ncontent-length: 99\r\n\r\n1\nx\n0\nA: b\n\n",
                (200, 1, true),
            ),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, 13, false)),
            ("HTTP/1.1 204 No\r\ncontent-length: 7\r\n\r\n", (204, 0, true)),
            ("HTTP/1.1 304 No\r\n\r\n", (304, 0, true)),
            (
                "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",
                (503, 2, true),
            ),
        ] {
            assert_eq!(read(text, false), Ok(expect), "{text}");
        }
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", true), Ok((200, 0, true)));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "not http at all\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhello",
        ] {
            assert_eq!(read(text, false), Err("malformed"), "{text}");
        }
        for text in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"] {
            assert_eq!(read(text, false), Err("cut"), "{text}");
        }
        let mut reader = Reader::default();
        reader.start(false);
        assert_eq!((0..100).try_for_each(|_| reader.feed(&[b'x'; 4096])), Err(Malformed));
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(20_000));
        assert_eq!(piecewise(&endless, false, 1000), Err("malformed"));
    }

    #[test]
    fn requests_are_spelt_with_a_length_where_a_body_is_expected() {
        let post = Shot { method: "POST".into(), path: "/a?b".into(), body: Bytes::from_static(b"{}"), weight: 1 };
        let headers = [("Content-Type".to_string(), "application/json".to_string())];
        let text = String::from_utf8(spell(&post, "shop.test:8080", &headers).wire.to_vec()).unwrap();
        let agent = concat!("user-agent: hypercare/", env!("CARGO_PKG_VERSION"));
        let expect = format!(
            "POST /a?b HTTP/1.1\r\nhost: shop.test:8080\r\n{agent}\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        assert_eq!(text, expect);
        let own = [("Host".to_string(), "other.test".to_string()), ("User-Agent".to_string(), "x".to_string())];
        let text = spell(&Shot::get("/"), "shop.test", &own).wire;
        assert_eq!(&text[..], b"GET / HTTP/1.1\r\nHost: other.test\r\nUser-Agent: x\r\n\r\n");
        let empty = Shot { method: "POST".into(), ..Shot::get("/") };
        assert!(String::from_utf8_lossy(&spell(&empty, "s", &[]).wire).contains("content-length: 0\r\n"));
    }

    proptest::proptest! {
        #[test]
        fn pieces_change_nothing(parts in proptest::collection::vec(0..12usize, 0..12), length in 1..9usize) {
            let words = [
                "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n", "content-length: 3\r\n", "transfer-encoding: chunked\r\n", "\r\n",
                "3\r\n", "0\r\n", "abc", "\n", "connection: close\r\n", "x: y\r\n", "F",
            ];
            let text: String = parts.into_iter().map(|i| words[i]).collect();
            proptest::prop_assert_eq!(piecewise(&text, false, length), piecewise(&text, false, text.len().max(1)));
        }
    }
}

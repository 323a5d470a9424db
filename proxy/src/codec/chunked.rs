//! Reading bodies: where the next piece of data lies in what was received.

use super::fields::Fields;
use super::head::Framing;

/// Longest chunk-size line, extensions included.
const LINE_MAX: usize = 4096;
/// Most bytes of trailers.
const TRAILERS_MAX: usize = 16 * 1024;
/// Most trailer fields.
const TRAILER_FIELDS_MAX: usize = 100;

/// What the received bytes hold next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `skip` bytes of framing, then `data` bytes of body.
    Data {
        /// Framing bytes before the data.
        skip: usize,
        /// Body bytes.
        data: usize,
    },
    /// `skip` bytes of framing, then the body is over.
    End {
        /// Framing bytes.
        skip: usize,
    },
    /// More bytes are needed; `skip` bytes are used up.
    More {
        /// Framing bytes.
        skip: usize,
    },
}

/// The body's framing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broken body framing")]
pub struct Broken;

/// Reads one body.
#[derive(Debug, Default)]
pub struct BodyReader {
    state: State,
    /// Trailers of a chunked body, without framing and routing fields.
    pub trailers: Option<Box<Fields>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Done,
    Length(u64),
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
}

impl BodyReader {
    /// For a body with this framing.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            trailers: None,
        }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection ends the body properly.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Bytes that are known to come.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(rest) => Some(rest),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Notes that `n` bytes of data were taken.
    pub fn took(&mut self, n: usize) {
        let n = n as u64;
        self.state = match self.state {
            State::Length(rest) if rest <= n => State::Done,
            State::Length(rest) => State::Length(rest - n),
            State::Chunk(rest) if rest <= n => State::ChunkEnd,
            State::Chunk(rest) => State::Chunk(rest - n),
            other => other,
        };
    }

    /// What comes next in `input`.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Broken> {
        let mut skip = 0;
        loop {
            let rest = input.get(skip..).unwrap_or_default();
            let available = |limit: u64| usize::try_from(limit).map_or(rest.len(), |l| l.min(rest.len()));
            match self.state {
                State::Done => return Ok(Step::End { skip }),
                State::Length(limit) | State::Chunk(limit) => {
                    let data = available(limit);
                    return Ok(if data == 0 {
                        Step::More { skip }
                    } else {
                        Step::Data { skip, data }
                    });
                }
                State::UntilClose => {
                    let data = rest.len();
                    return Ok(if data == 0 {
                        Step::More { skip }
                    } else {
                        Step::Data { skip, data }
                    });
                }
                State::Size => match size_line(rest)? {
                    None => return Ok(Step::More { skip }),
                    Some((used, 0)) => {
                        skip += used;
                        self.state = State::Trailers;
                    }
                    Some((used, size)) => {
                        skip += used;
                        self.state = State::Chunk(size);
                    }
                },
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More { skip }),
                    _ => return Err(Broken),
                },
                State::Trailers => match self.read_trailers(rest)? {
                    None => return Ok(Step::More { skip }),
                    Some(used) => {
                        skip += used;
                        self.state = State::Done;
                    }
                },
            }
        }
    }

    fn read_trailers(&mut self, input: &[u8]) -> Result<Option<usize>, Broken> {
        if input.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        let mut slots = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
        match httparse::parse_headers(input, &mut slots) {
            Ok(httparse::Status::Complete((used, headers))) => {
                let section = input.get(..used).unwrap_or_default();
                let bare = section
                    .iter()
                    .zip(std::iter::once(&0).chain(section))
                    .any(|(byte, before)| *byte == b'\n' && *before != b'\r');
                if bare || used > TRAILERS_MAX {
                    return Err(Broken);
                }
                let mut fields = Box::<Fields>::default();
                for header in headers {
                    if may_be_trailer(header.name) {
                        fields.push(header.name.as_bytes(), header.value);
                    }
                }
                if !fields.is_empty() {
                    self.trailers = Some(fields);
                }
                Ok(Some(used))
            }
            Ok(httparse::Status::Partial) if input.len() < TRAILERS_MAX => Ok(None),
            _ => Err(Broken),
        }
    }
}

/// Trailers never carry what frames, routes or authenticates.
#[must_use]
pub fn may_be_trailer(name: &str) -> bool {
    const NEVER: [&str; 16] = [
        "transfer-encoding",
        "content-length",
        "host",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "authorization",
        "cookie",
        "set-cookie",
        "content-encoding",
        "content-type",
        "content-range",
        "expect",
        "cache-control",
    ];
    !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
        && !["x-forwarded-", "x-envoy-"].iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

/// `1*HEXDIG [ ; extension ] CRLF`: bytes used and size.
fn size_line(input: &[u8]) -> Result<Option<(usize, u64)>, Broken> {
    let Some(end) = memchr::memchr(b'\n', input.get(..input.len().min(LINE_MAX)).unwrap_or_default()) else {
        let digits = input.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let plausible = digits <= 16
            && match input.get(digits) {
                None => true,
                Some(b';' | b' ' | b'\t') => digits > 0 && extension_is_good(input.get(digits..), true),
                Some(b'\r') => digits > 0 && input.len() == digits + 1,
                Some(_) => false,
            };
        return if plausible && input.len() < LINE_MAX {
            Ok(None)
        } else {
            Err(Broken)
        };
    };
    let line = input
        .get(..end)
        .and_then(|l| l.strip_suffix(b"\r"))
        .ok_or(Broken)?;
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 || !extension_is_good(line.get(digits..), false) {
        return Err(Broken);
    }
    let size = line
        .get(..digits)
        .and_then(|d| std::str::from_utf8(d).ok())
        .and_then(|d| u64::from_str_radix(d, 16).ok())
        .filter(|size| *size < 1 << 62)
        .ok_or(Broken)?;
    Ok(Some((end + 1, size)))
}

fn extension_is_good(extension: Option<&[u8]>, partial: bool) -> bool {
    let extension = extension.unwrap_or_default();
    let extension = if partial {
        extension.strip_suffix(b"\r").unwrap_or(extension)
    } else {
        extension
    };
    let start = extension
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .unwrap_or(extension.len());
    match extension.get(start) {
        None => true,
        Some(b';') => extension
            .iter()
            .all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)),
        Some(_) => false,
    }
}

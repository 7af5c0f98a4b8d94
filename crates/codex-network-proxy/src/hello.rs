//! The first bytes of a tunnel: are they a TLS ClientHello, and what does it ask for (RFC 8446 section 4.1.2)?
//!
//! [`HelloReader`] takes bytes as they come, split in whatever way, and says once what they are. It has no I/O and keeps
//! no copy but that of the message itself. It deliberately reads only what a tunnel's identity needs, in one strict way:
//! what two programs could read differently is [`HelloName::Unreadable`], and unreadable is refused. Not a TLS
//! implementation: whether the hello is acceptable otherwise is for whoever answers it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use codex_network_gate::{ClientHello, HelloName};
use codex_network_policy::Host;

/// Largest ClientHello that is read. Post-quantum key shares make them 2 KiB; nothing known comes near this.
pub(crate) const LONGEST_HELLO: usize = 64 * 1024;

/// The most that is received for one, with the headers of its records. Records of a byte each would be six times as
/// long, and nobody writes them.
const LONGEST_RECEIVED: usize = 2 * LONGEST_HELLO;

/// Largest fragment of a record (RFC 8446 section 5.1).
const LONGEST_FRAGMENT: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// Encrypted ClientHello (RFC 9849), and the draft that came before it.
const ENCRYPTED: [u16; 2] = [0xfe0d, 0xffce];

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// Not enough of them to tell.
    NeedMore,
    /// Something else than TLS.
    NotTls,
    /// A ClientHello, complete; or what can be nothing else and cannot be read.
    Hello(Hello),
}

/// A ClientHello, as far as we care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// What the gate judges.
    pub(crate) asks: ClientHello,
    /// The HTTP versions that the client offers by ALPN; neither where it offers none.
    pub(crate) offers_http1: bool,
    pub(crate) offers_http2: bool,
    /// The same for every hello of one client program, so that a warning about it can be given once.
    pub(crate) program: u64,
}

impl Hello {
    fn unreadable() -> Self {
        Self {
            asks: ClientHello {
                server_name: HelloName::Unreadable,
                encrypted: false,
            },
            offers_http1: false,
            offers_http2: false,
            program: 0,
        }
    }
}

/// Puts a ClientHello together from its records.
#[derive(Debug, Default)]
pub(crate) struct HelloReader {
    /// How many of the received bytes are taken already.
    taken: usize,
    /// How much of the record under way is still to come.
    fragment_left: usize,
    /// The message, without the headers of its records.
    message: Vec<u8>,
}

impl HelloReader {
    /// Looks at everything received so far. `received` must only ever grow.
    pub(crate) fn read(&mut self, received: &[u8]) -> FirstBytes {
        match received {
            [] => return FirstBytes::NeedMore,
            // The version that follows is ignored by servers, as RFC 8446 section 5.1 wants it: whatever it says, what
            // stands behind it can be a hello.
            [HANDSHAKE, ..] => {}
            [_, ..] => return FirstBytes::NotTls,
        }
        match self.advance(received) {
            Ok(true) => {
                FirstBytes::Hello(read_hello(&self.message).unwrap_or_else(Hello::unreadable))
            }
            Ok(false) if received.len() < LONGEST_RECEIVED => FirstBytes::NeedMore,
            Ok(false) | Err(Unreadable) => FirstBytes::Hello(Hello::unreadable()),
        }
    }

    /// Takes what is new, and says whether the message is complete.
    fn advance(&mut self, received: &[u8]) -> Result<bool, Unreadable> {
        loop {
            if let Some(length) = self.message_length()?
                && self.message.len() >= length
            {
                self.message.truncate(length);
                return Ok(true);
            }
            let rest = received.get(self.taken..).unwrap_or_default();
            if self.fragment_left == 0 {
                let Some(header) = rest.first_chunk::<RECORD_HEADER>() else {
                    return Ok(false);
                };
                self.fragment_left = fragment_length(*header)?;
                self.taken += RECORD_HEADER;
                continue;
            }
            let length = rest.len().min(self.fragment_left);
            if length == 0 {
                return Ok(false);
            }
            self.message.extend_from_slice(&rest[..length]);
            self.taken += length;
            self.fragment_left -= length;
        }
    }

    /// The length of the whole message, once its header is there.
    fn message_length(&self) -> Result<Option<usize>, Unreadable> {
        let kind = self.message.first().copied().unwrap_or(CLIENT_HELLO);
        if kind != CLIENT_HELLO {
            return Err(Unreadable);
        }
        let Some([_, high, middle, low]) = self.message.first_chunk::<MESSAGE_HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        match usize::try_from(length) {
            Ok(length) if length <= LONGEST_HELLO - MESSAGE_HEADER => {
                Ok(Some(MESSAGE_HEADER + length))
            }
            Ok(_) | Err(_) => Err(Unreadable),
        }
    }
}

/// Two programs could read it differently, or none could.
#[derive(Debug)]
struct Unreadable;

fn fragment_length(header: [u8; RECORD_HEADER]) -> Result<usize, Unreadable> {
    let [kind, _, _, high, low] = header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // An empty fragment of a handshake is forbidden, and another kind of record cannot come in between.
    if kind == HANDSHAKE && (1..=LONGEST_FRAGMENT).contains(&length) {
        Ok(length)
    } else {
        Err(Unreadable)
    }
}

/// Reads the whole message, header included. `None` where it is malformed.
fn read_hello(message: &[u8]) -> Option<Hello> {
    let mut fields = Fields(message.get(MESSAGE_HEADER..)?);
    let mut program = DefaultHasher::new();
    fields.take(2)?.hash(&mut program);
    let _random = fields.take(32)?;
    let session = fields.vector8()?;
    let suites = fields.vector16()?;
    let compression = fields.vector8()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compression.is_empty() {
        return None;
    }
    for suite in suites.chunks_exact(2).filter(|suite| !is_grease(suite)) {
        suite.hash(&mut program);
    }
    let mut hello = Hello {
        asks: ClientHello {
            server_name: HelloName::Absent,
            encrypted: false,
        },
        offers_http1: false,
        offers_http2: false,
        program: 0,
    };
    // Clients of old send none at all.
    let mut extensions = match fields.0 {
        [] => Fields(&[]),
        _ => Fields(fields.vector16()?),
    };
    if !fields.0.is_empty() {
        return None;
    }
    // Browsers shuffle theirs, so that the order says nothing about the program.
    let mut kinds = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let body = extensions.vector16()?;
        match kind {
            // Which of two would count is another program's choice.
            SERVER_NAME if kinds.contains(&SERVER_NAME) => return None,
            SERVER_NAME => hello.asks.server_name = read_server_name(body),
            ALPN => (hello.offers_http1, hello.offers_http2) = read_protocols(body),
            kind if ENCRYPTED.contains(&kind) => hello.asks.encrypted = true,
            _ => {}
        }
        if !is_grease(&kind.to_be_bytes()) {
            kinds.push(kind);
        }
    }
    kinds.sort_unstable();
    kinds.hash(&mut program);
    hello.program = program.finish();
    Some(hello)
}

/// A list of exactly one host name (RFC 6066 section 3).
fn read_server_name(body: &[u8]) -> HelloName {
    let read = || {
        let mut outer = Fields(body);
        let mut list = Fields(outer.vector16()?);
        let kind = list.take(1)?;
        let name = list.vector16()?;
        if !outer.0.is_empty() || !list.0.is_empty() || kind != [HOST_NAME] {
            return None;
        }
        // Names on this wire are ASCII; Unicode here is one more thing to read in two ways.
        let name = str::from_utf8(name).ok().filter(|name| name.is_ascii())?;
        Host::parse(name).ok()
    };
    read().map_or(HelloName::Unreadable, HelloName::Host)
}

/// Which of the two HTTP versions are offered (RFC 7301). A list that is malformed offers nothing.
fn read_protocols(body: &[u8]) -> (bool, bool) {
    let mut offered = (false, false);
    let Some(mut list) = Fields(body).vector16().map(Fields) else {
        return offered;
    };
    while let Some(protocol) = list.vector8() {
        match protocol {
            b"http/1.1" => offered.0 = true,
            b"h2" => offered.1 = true,
            _ => {}
        }
    }
    offered
}

/// Values that clients send at random, so that servers learn to ignore what they do not know (RFC 8701).
fn is_grease(value: &[u8]) -> bool {
    matches!(value, [first, second] if first == second && first & 0x0f == 0x0a)
}

/// The rest of a message, read from its front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// A vector behind a length of one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        let (taken, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        Some(taken)
    }

    /// A vector behind a length of two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;

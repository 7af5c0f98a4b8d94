//! Every limit of time, size and number that the proxy keeps, with its unit and its default.
//!
//! [`Limits`] is a plain value that the builder hands to whoever waits or buffers. It deliberately holds no
//! behaviour: the place that waits says what happens when a limit is reached.

use core::time::Duration;

/// The limits of one proxy. Start from [`Limits::default`] and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a decider may think about one question. Generous (5 minutes), since an embedder may ask a person.
    pub decider: Duration,
    /// How many questions to the decider may be under way at once (1,024); what would be another one is refused.
    pub questions: usize,
    /// How many of the newest refusals are kept in the history (200). Ten thousand of them take at most 16 MiB.
    pub history: usize,
    /// How long one name may take to resolve (5 s).
    pub lookup: Duration,
    /// How long an answer of the resolver is reused (3 s).
    pub lookup_reuse: Duration,
    /// How many look-ups may be under way at once (256); more wait for their turn within [`Limits::lookup`].
    pub lookups: usize,
    /// How long opening a connection may take, over all its addresses (10 s).
    pub connect: Duration,
    /// Head start of one address over the next one while connecting (250 ms, RFC 8305 section 5).
    pub connect_stagger: Duration,
    /// How long a handshake may take: SOCKS5 greeting and request, TLS, CONNECT with a parent (10 s each).
    pub handshake: Duration,
    /// How long a client may take to send a request head, and may keep a connection idle between two (60 s).
    pub request_head: Duration,
    /// Largest request head, in bytes (64 KiB).
    pub request_head_bytes: usize,
    /// How long an origin may take to begin its answer (15 minutes).
    pub response_head: Duration,
    /// How long a request or response body may stand still, whichever side is slow (15 minutes).
    pub body_idle: Duration,
    /// How long the proxy waits for an origin's `100 Continue` before it sends the body anyway (1 s, RFC 9110
    /// section 10.1.1).
    pub expect_continue: Duration,
    /// How long a tunnel may be idle. `None`, the default, means without limit: clients keep tunnels for hours.
    pub tunnel_idle: Option<Duration>,
    /// After how long without traffic the system asks whether an upstream is still there (60 s).
    pub keepalive: Duration,
    /// How long a tunnel may stand still once one of its sides has ended (15 minutes). A side that is gone for good
    /// looks the same, and the other one may never end by itself.
    pub tunnel_half_closed: Duration,
    /// How long a UDP association may be idle (5 minutes).
    pub association_idle: Duration,
    /// How many downstream connections are served at once, over all listeners (16,384); more wait to be accepted.
    pub connections: usize,
    /// How many UDP associations are served at once (1,024); more are refused.
    pub associations: usize,
    /// How many idle upstream connections are kept in all (1,024).
    pub pooled_connections: usize,
    /// How long an idle upstream connection is kept (30 s).
    pub pooled_idle: Duration,
    /// How long what a client still sends is thrown away after our last word (1 s, RFC 9112 section 9.6). Closing a
    /// socket with unread bytes resets the connection, and the client would lose the refusal that it got.
    pub farewell: Duration,
    /// How long open connections may finish after a shutdown began (10 s).
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decider: Duration::from_secs(300),
            questions: 1_024,
            history: 200,
            lookup: Duration::from_secs(5),
            lookup_reuse: Duration::from_secs(3),
            lookups: 256,
            connect: Duration::from_secs(10),
            connect_stagger: Duration::from_millis(250),
            handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(60),
            request_head_bytes: 64 * 1024,
            response_head: Duration::from_secs(900),
            body_idle: Duration::from_secs(900),
            expect_continue: Duration::from_secs(1),
            tunnel_idle: None,
            keepalive: Duration::from_secs(60),
            tunnel_half_closed: Duration::from_secs(900),
            association_idle: Duration::from_secs(300),
            connections: 16_384,
            associations: 1_024,
            pooled_connections: 1_024,
            pooled_idle: Duration::from_secs(30),
            farewell: Duration::from_secs(1),
            drain: Duration::from_secs(10),
        }
    }
}

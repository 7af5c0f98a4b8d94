//! The CONNECT exchange with a parent proxy.
//!
//! [`connect`] asks for the permit's target and returns the tunnel. It deliberately adds nothing but what the
//! exchange needs, and passes on nothing of the parent's refusal but its status.

use std::fmt::Write as _;

use bytes::BytesMut;
use codex_network_policy::{Host, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connection::Connection;
use crate::error::UpstreamError;
use crate::route::Parent;

/// Largest answer head that a parent may send.
const ANSWER_HEAD_BYTES: usize = 16 * 1024;
const ANSWER_HEADERS: usize = 64;
const TOO_LARGE: UpstreamError = UpstreamError::Protocol("the parent proxy's answer is too large");

/// Makes `connection`, which leads to `parent`, a tunnel to `target`. The caller limits the time.
pub(super) async fn connect(
    mut connection: Connection,
    parent: &Parent,
    target: &Target,
) -> Result<Connection, UpstreamError> {
    connection
        .write_all(request(parent, target)?.as_bytes())
        .await
        .map_err(UpstreamError::Connect)?;
    connection.flush().await.map_err(UpstreamError::Connect)?;
    let mut head = BytesMut::new();
    // Interim answers count as well, so that there is an end to them.
    let mut allowance = ANSWER_HEAD_BYTES;
    loop {
        let read = connection
            .read_buf(&mut head)
            .await
            .map_err(UpstreamError::Connect)?;
        if read == 0 {
            return Err(UpstreamError::Protocol(
                "the parent proxy closed the connection",
            ));
        }
        // One read may bring several heads.
        while let Some((code, length)) = answer(&head)? {
            allowance = allowance.checked_sub(length).ok_or(TOO_LARGE)?;
            match code {
                200..=299 => {
                    // Whatever follows the head is the target's: a server may speak first.
                    let early = head.split_off(length).freeze();
                    return Ok(connection.with_early(early));
                }
                // An interim answer; the real one follows. `101` is none, for nothing was to be switched.
                100 | 102..=199 => drop(head.split_to(length)),
                code => return Err(UpstreamError::ParentRefused(code)),
            }
        }
        if head.len() > allowance {
            return Err(TOO_LARGE);
        }
    }
}

/// The status of the first answer in `bytes` and the length of its head, once that is complete.
fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>, UpstreamError> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            Ok(Some((answer.code.unwrap_or_default(), length)))
        }
        Err(_) => Err(UpstreamError::Protocol(
            "the parent proxy's answer is no HTTP",
        )),
    }
}

fn request(parent: &Parent, target: &Target) -> Result<String, UpstreamError> {
    let Target::Host { host, port } = target else {
        return Err(UpstreamError::Protocol(
            "a unix socket has no way through a parent proxy",
        ));
    };
    let authority = match host {
        Host::Address(literal) if literal.address().is_ipv6() => format!("[{host}]:{port}"),
        Host::Name(_) | Host::Address(_) => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = &parent.authorization {
        let _ = write!(request, "Proxy-Authorization: {value}\r\n");
    }
    request.push_str("\r\n");
    Ok(request)
}

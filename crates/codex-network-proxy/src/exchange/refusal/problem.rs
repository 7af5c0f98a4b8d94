//! Problem details (RFC 9457): a refusal or a failure as JSON that says the same as the usual answer, and what helps.
//!
//! [`Problem`] is the body. Its `type` is stable and one for each reason; the fields that the usual JSON has go by the same
//! names, but for `status`, which RFC 9457 wants to be the number.

use codex_network_gate::Denial;
use http::StatusCode;
use serde::Serialize;

/// What every `type` begins with.
const TYPE: &str = "urn:codex-network-proxy:problem:";

/// The body of an answer in `application/problem+json`.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The line of a network table that would permit the access.
    #[serde(skip_serializing_if = "Option::is_none")]
    permitted_by: Option<&'a str>,
    #[serde(flatten)]
    denial: Option<Denied<'a>>,
}

#[derive(Serialize)]
struct Denied<'a> {
    host: &'a str,
    reason: &'a str,
    decision: &'static str,
    source: &'static str,
    protocol: &'static str,
    port: u16,
    message: &'a str,
}

impl<'a> Problem<'a> {
    /// The gate's no, with the text of the usual answer.
    pub(super) fn of_denial(denial: &'a Denial, status: StatusCode, title: &'a str) -> Self {
        let reason = denial.reason();
        let help = denial.help();
        Self {
            r#type: format!("{TYPE}{}", reason.stable_word()),
            title,
            status: status.as_u16(),
            detail: help.map(codex_network_gate::Help::words),
            permitted_by: help.and_then(codex_network_gate::Help::line),
            denial: Some(Denied {
                host: denial.host(),
                reason: reason.as_str(),
                decision: denial.decision().as_str(),
                source: denial.source().as_str(),
                protocol: denial.protocol().as_str(),
                port: denial.port(),
                message: reason.message(),
            }),
        }
    }

    /// Another answer of ours: its kind, and its text.
    pub(super) fn of_failure(kind: &str, status: StatusCode, title: &'a str) -> Self {
        Self {
            r#type: format!("{TYPE}{kind}"),
            title,
            status: status.as_u16(),
            detail: None,
            permitted_by: None,
            denial: None,
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

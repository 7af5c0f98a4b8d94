//! Whether an audit log is being kept.
//!
//! [`AuditLogHealth`] is said by whoever writes the log and heeded by the gate, where the policy wants that. It is one flag:
//! what was wrong is for the log of the program.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an audit log can be written. Nobody keeps one until somebody says so.
#[derive(Debug, Default)]
pub struct AuditLogHealth(AtomicBool);

impl AuditLogHealth {
    /// Says whether the log can be written.
    pub fn set_kept(&self, kept: bool) {
        self.0.store(kept, Ordering::Release);
    }

    /// Whether it can.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

//! What an embedding program wants to find in each of its audit events: whose session it was.
//!
//! Main type: [`NetworkProxyAuditMetadata`], plain data under the names that existing users know. It is written as it is
//! given, and never derived from traffic.

/// The session that a proxy belongs to, for the audit events. What is not set is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkProxyAuditMetadata {
    /// Becomes `conversation.id`.
    pub conversation_id: Option<String>,
    /// Becomes `app.version`.
    pub app_version: Option<String>,
    /// Becomes `user.account_id`.
    pub user_account_id: Option<String>,
    /// Becomes `auth_mode`.
    pub auth_mode: Option<String>,
    /// Becomes `originator`.
    pub originator: Option<String>,
    /// Becomes `user.email`.
    pub user_email: Option<String>,
    /// Becomes `terminal.type`.
    pub terminal_type: Option<String>,
    /// Becomes `model`.
    pub model: Option<String>,
    /// Becomes `slug`.
    pub slug: Option<String>,
}

//! What an address can be for.
//!
//! [`AddressClass`] is the closed set; which address belongs where stands in the registry.

use core::fmt;

/// What an address is for. Only [`AddressClass::Public`] is reachable without being asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Reachable from everywhere, and nothing special.
    Public,
    /// "No address", or this network.
    Unspecified,
    /// This machine.
    Loopback,
    /// Private networks, unique-local and site-local addresses.
    Private,
    /// The carrier's side of a shared address (CGNAT).
    Shared,
    /// This link only.
    LinkLocal,
    /// A service through which a cloud machine reads its own identity and secrets.
    CloudMetadata,
    /// Many receivers at once.
    Multicast,
    /// All receivers of this network.
    Broadcast,
    /// Examples in documents.
    Documentation,
    /// Measurements in laboratories.
    Benchmarking,
    /// A way between IPv4 and IPv6 that ends somewhere the address does not say.
    Transition,
    /// Protocol assignments of the IETF, anycast services, discard and dummy prefixes.
    Protocol,
    /// Not assigned to anything yet.
    Reserved,
}

impl AddressClass {
    /// Whether the address may be reached like any other.
    pub fn is_public(self) -> bool {
        self == AddressClass::Public
    }

    /// The word in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Shared => "shared",
            AddressClass::LinkLocal => "link-local",
            AddressClass::CloudMetadata => "cloud metadata",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Transition => "transition",
            AddressClass::Protocol => "protocol assignment",
            AddressClass::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

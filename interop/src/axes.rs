//! The axes of a scenario's matrix: what can differ from case to case.

use serde::Deserialize;

macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        pub(crate) enum $name { $($(#[$vdoc])* #[serde(rename = $label)] $variant),+ }
        impl $name {
            /// As scenario files and case names write it.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labelled! {
    /// One of the two sides.
    Who {
        /// Cygnet.
        Ours = "ours",
        /// strongSwan.
        Theirs = "theirs",
    }
}

impl Who {
    /// The other side.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }
}

labelled! {
    /// How both sides authenticate.
    Auth {
        /// Pre-shared key.
        Psk = "psk",
        /// Certificates with ECDSA P-256 keys.
        Ecdsa = "ecdsa",
        /// Certificates with RSA-2048 keys, below an intermediate authority.
        Rsa = "rsa",
        /// Certificates with Ed25519 keys.
        Ed25519 = "ed25519",
    }
}

labelled! {
    /// Which strongSwan.
    Version {
        /// 5.9.8, of Debian bookworm.
        V5 = "5.9",
        /// The newest 6.x that Debian has.
        V6 = "6",
        /// The same, over the ESP of a Linux kernel: a guest.
        Kernel = "kernel",
    }
}

labelled! {
    /// The outer address family.
    Outer {
        /// IPv4.
        V4 = "v4",
        /// IPv6.
        V6 = "v6",
    }
}

labelled! {
    /// How ESP travels.
    Esp {
        /// In UDP (RFC 3948).
        Udp = "udp",
        /// As IP protocol 50.
        Raw = "raw",
    }
}

labelled! {
    /// Mode of the Child SA (RFC 4301 §3.2).
    Mode {
        /// Inner addresses in the selectors.
        Tunnel = "tunnel",
        /// The hosts' own outer addresses in the selectors.
        Transport = "transport",
    }
}

labelled! {
    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
    Esn {
        /// They have 32.
        Off = "noesn",
        /// They have 64.
        On = "esn",
    }
}

labelled! {
    /// Who is behind a router that translates addresses; or what else is between the hosts.
    Nat {
        /// Nobody: the hosts share a link.
        None = "none",
        /// Cygnet.
        Ours = "ours",
        /// strongSwan.
        Theirs = "theirs",
        /// Nobody: two routers translate nothing, and the MTU of the link between them can change.
        Routed = "routed",
    }
}

impl Nat {
    /// The side behind it.
    pub(crate) fn inside(self) -> Option<Who> {
        match self {
            Self::None | Self::Routed => None,
            Self::Ours => Some(Who::Ours),
            Self::Theirs => Some(Who::Theirs),
        }
    }
}

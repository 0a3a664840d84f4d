//! The IANA "Internet Key Exchange Version 2 (IKEv2) Parameters" as types.
//!
//! Each registry is a newtype over its wire number with a constant per known value, so that unknown values survive a
//! round trip. `Display` writes the name of the registry, and the plain number where there is none.

/// Declares a registry: a newtype, its constants, its names.
macro_rules! registry {
    (
        $(#[$doc:meta])* $type:ident($int:ty)
        $( $(#[$item_doc:meta])* $name:ident = $value:literal $text:literal; )*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $int);

        impl $type {
            $(
                #[doc = concat!("`", $text, "` (", stringify!($value), ").")]
                $(#[$item_doc])*
                pub const $name: Self = Self($value);
            )*

            /// Its name in the registry.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $( $value => Some($text), )*
                    _ => None,
                }
            }

            /// Every value that has a name here.
            pub const KNOWN: &'static [Self] = &[ $( Self($value), )* ];
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => std::fmt::Display::fmt(&self.0, f),
                }
            }
        }
    };
}

mod misc;
mod notify;
mod transform;

pub use misc::*;
pub use notify::*;
pub use transform::*;

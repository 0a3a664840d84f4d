//! Bodies of the fuzz targets that meet this crate's untrusted input.

pub use crate::message::fuzz::message;

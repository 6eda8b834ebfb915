//! Not here yet.

pub mod tables;

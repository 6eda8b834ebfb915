//! All integration tests, in one executable: they share one daemon.

mod authority;
mod families;
mod files;
mod guard;
mod harness;
mod network;
mod own_files;
mod sessions;
mod tagging;
mod unix;

//! All integration tests, in one executable: they share one daemon.

mod authority;
mod families;
mod files;
mod guard;
mod harness;
mod network;
mod own_files;
mod policies;
mod restart;
mod scale;
mod sessions;
mod swaps;
mod tagging;
mod unix;

//! All integration tests, in one executable: they share one daemon.

mod authority;
mod cache;
mod exec;
mod families;
mod files;
mod guard;
mod harness;
mod mounts;
mod network;
mod own_files;
mod paths;
mod policies;
mod programs;
mod resolution;
mod restart;
mod scale;
mod sessions;
mod swaps;
mod tagging;
mod unix;

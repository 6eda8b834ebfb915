//! All integration tests, in one executable: they share one daemon.

mod attributes;
mod authority;
mod cache;
mod canary;
mod control;
mod exec;
mod families;
mod files;
mod guard;
mod harness;
mod held;
mod ipc;
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
mod set_id;
mod swaps;
mod tagging;
mod unix;

//! The hooks, one file for each group. A program bears its hook's name. It returns at once if the running task has
//! no tag; else it makes a request of its arguments, and asks [`crate::check`].
//!
//! No program looks at the verdict of programs before it: the kernel stops at the first one that refuses
//! (`invoke_bpf_mod_ret`, arch/x86/net/bpf_jit_comp.c).

mod attribute;
mod control;
mod descriptor;
mod exec;
mod file;
mod guard;
mod ipc;
mod key;
mod lock;
mod open_socket;
mod options;
mod path;
mod queue;
mod socket;
mod task;
mod unix;

//! The hooks, one file a group. Each program bears its hook's name, finds the subject and returns at
//! once if there is none, names the object and asks `check`.
//!
//! The trampoline stops at the first program that refuses, so a verdict that came before never reaches
//! ours (`invoke_bpf_mod_ret`, arch/x86/net/bpf_jit_comp.c): no hook looks at it.

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

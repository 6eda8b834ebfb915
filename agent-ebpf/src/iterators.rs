//! Programs that the daemon runs over tasks, descriptors and connections, one file each.

mod connections;
mod context;
mod given;
mod processes;
mod tasks;

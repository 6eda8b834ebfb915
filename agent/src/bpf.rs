//! The kernel side, seen from user space: the programs are loaded, pinned and attached here, and their maps written.
//! The only module that uses aya.
//!
//! Lowest first: facts on the running kernel (`host`, `faults`, `offsets`), system calls (`sys`), the `pins`, the
//! object's `programs` and `iterators`, the `attachment` of hooks, and on top of them loading ([`load`]), the open maps
//! ([`Kernel`]) and [`doctor`].

mod attachment;
pub mod doctor;
mod enforcer;
mod error;
pub mod events;
mod faults;
#[cfg(feature = "hole")]
mod hole;
mod host;
mod iterators;
mod kernel;
pub mod load;
mod offsets;
pub mod packets;
mod patch;
pub mod pins;
mod programs;
mod shared;
mod sys;
mod tables;
mod vacancies;

pub use self::{
    attachment::Need,
    enforcer::{Confinement, Enforcer},
    error::{KernelError, LoadError},
    kernel::Kernel,
    sys::is_there,
    vacancies::Vacancies,
};

#[cfg(test)]
mod tests {
    /// A build without explicit features has no way to leave a hook out.
    #[test]
    fn hole_is_in_no_build_by_default() {
        let defaults =
            include_str!("../Cargo.toml").lines().find(|line| line.starts_with("default"));
        assert_eq!(defaults.filter(|line| line.contains("hole")), None);
    }
}

//! The policy: from TOML files to the contents of the kernel's maps.
//!
//! One direction: files ([`source`], [`shipped`]) → TOML with places (`syntax`) → all checks, with all errors ([`mod@check`]) →
//! [`Policy`] → tables ([`compile`], [`tables`]), with a bit for each tool ([`tools`]). Everything but reading the
//! files is a pure function. Nothing here knows the registry, maps, or how a policy is put in force.

pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod environment;
pub mod limit;
pub mod links;
pub mod model;
pub mod pattern;
pub mod place;
pub mod shipped;
pub mod source;
mod syntax;
pub mod tables;
pub mod tools;
pub mod value;

pub use self::{
    check::{check, check_files},
    compile::{
        Builtin, Compiled, EndpointExplanation, InstantiateError, PathExplanation, RuleOwner,
        RuleRef,
    },
    diagnostic::{Diagnostic, Severity, Span},
    environment::{EnvValue, Environment},
    limit::LimitError,
    model::{
        Approval, Cidr, Conflict, Data, Denial, Direction, FileRule, Limits, MayStart, NetworkRule,
        OnRevoke, Policy, Profile, Protocol, Recall, Request, Tool, When,
    },
    place::Place,
    shipped::{Files, Shelf, with_shipped},
    source::{ReadError, Source, read},
    tables::{Rules, Tables},
    tools::ToolBits,
};

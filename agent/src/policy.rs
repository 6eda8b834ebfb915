//! The policy: from TOML files to the contents of the kernel's maps.
//!
//! One direction: files ([`source`]) → TOML with places (`syntax`) → everything checked at once
//! ([`mod@check`]) → [`Policy`] → tables ([`compile`], [`tables`]), with a bit for each tool
//! ([`tools`]). Everything but the reading of the files is a pure function. Nothing here knows of
//! sessions' lives, of maps, or of how a policy gets into force.

pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod model;
pub mod pattern;
pub mod source;
mod syntax;
pub mod tables;
pub mod tools;
pub mod value;

pub use self::{
    check::check,
    compile::{
        Builtin, Compiled, EndpointExplanation, InstantiateError, LimitError, PathExplanation,
        RuleOwner, RuleRef,
    },
    diagnostic::{Diagnostic, Severity, Span},
    model::{
        Approval, Cidr, Conflict, Data, Denial, Direction, FileRule, Limits, MayStart, NetworkRule,
        OnRevoke, Place, Policy, Profile, Protocol, Recall, Request, Tool, When,
    },
    source::{ReadError, Source, read},
    tables::{Rules, Tables},
    tools::ToolBits,
};

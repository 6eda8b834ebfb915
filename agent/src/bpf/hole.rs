//! Hooks that are left out to show that a test notices: only in a build with the feature `hole`, which is
//! no default and which the programs `remitd` and `remit` are never built with. Without it, none of this
//! is compiled, and no variable is read.

use super::load::LoadError;

/// Names the hooks to leave out, with commas between.
const VARIABLE: &str = "REMIT_WITHOUT_HOOK";

/// The hooks but those that are to be left out. Says so, loudly.
///
/// # Errors
/// When a name is none of the hooks: a hole that is not there would pass for a test that is not.
pub(super) fn leave_out(mut hooks: Vec<String>) -> Result<Vec<String>, LoadError> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    for name in wanted.split(',').filter(|name| !name.is_empty()) {
        let Some(place) = hooks.iter().position(|hook| hook == name) else {
            return Err(LoadError::NoSuchHook(name.to_owned()));
        };
        hooks.remove(place);
        tracing::error!(hook = name, "BUILT FOR TESTS, WITH A HOLE: this hook is not in force");
    }
    Ok(hooks)
}

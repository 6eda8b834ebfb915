//! Leaves out hooks, to show that a test notices: only in a build with the feature `hole`, which is not a default, and
//! with which `remitd` and `remit` are never built. Without the feature none of this is compiled, and the environment
//! variable is not read.

use super::error::LoadError;

/// The environment variable with the names of the hooks to leave out, separated by commas.
const VARIABLE: &str = "REMIT_WITHOUT_HOOK";

/// The hooks except those to leave out, each of which the log names as an error.
///
/// # Errors
/// A name is no hook: a misspelled one would make a test pass that proves nothing.
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

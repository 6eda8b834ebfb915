//! One component of a path pattern.

use std::borrow::Cow;

/// One component of a pattern, its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component<'a> {
    /// This name.
    Literal(Cow<'a, [u8]>),
    /// Any name that begins and ends so, without the two overlapping.
    Affixes(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The procfs folder of a process of the own session. Such a folder is known by what it is, before
    /// its name is looked at: beside this only `*` means it too, and no pattern that tells numbers apart.
    OwnProcess,
}

impl Component<'_> {
    /// Whether a name, or the fact that it is a folder of an own process, fits.
    pub fn matches(&self, name: &[u8], own_process: bool) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Affixes(prefix, suffix) => {
                name.len() >= prefix.len() + suffix.len()
                    && name.starts_with(prefix)
                    && name.ends_with(suffix)
            }
            Self::OwnProcess => own_process,
        }
    }
}

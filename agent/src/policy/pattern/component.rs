//! One component of a path pattern.

use std::borrow::Cow;

/// One component of a pattern, its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component<'a> {
    /// This name.
    Literal(Cow<'a, [u8]>),
    /// Any number of names, none too: `**` before the end.
    Deep,
    /// Any name that begins and ends so, without the two overlapping.
    Affixes(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The procfs folder of a process of the session itself. Such a folder is recognized before its name is compared:
    /// besides this only `*` matches it, and no pattern with digits.
    OwnProcess,
}

impl Component<'_> {
    /// Whether one name matches; `own_process` says that it is the procfs folder of a process of the session itself.
    pub fn matches(&self, name: &[u8], own_process: bool) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Affixes(prefix, suffix) => {
                name.len() >= prefix.len() + suffix.len()
                    && name.starts_with(prefix)
                    && name.ends_with(suffix)
            }
            Self::OwnProcess => own_process,
            Self::Deep => true,
        }
    }
}

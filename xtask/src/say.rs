//! The one-line progress messages, on stderr, coloured only on a terminal.
//! It must not know what it reports on.

use std::io::{IsTerminal as _, stderr};

/// Says what is about to happen: `» downloading linux-image-6.12 (55 MB)`.
pub(crate) fn step(text: impl AsRef<str>) {
    line("36", "»", text.as_ref());
}

/// Says what went wrong without ending the run.
pub(crate) fn warn(text: impl AsRef<str>) {
    line("33", "!", text.as_ref());
}

/// Says why the run ends, with the causes one after another.
pub(crate) fn error(error: &anyhow::Error) {
    line("31", "✗", &format!("{error:#}"));
}

fn line(colour: &str, mark: &str, text: &str) {
    if stderr().is_terminal() {
        eprintln!("\x1b[{colour}m{mark}\x1b[0m {text}");
    } else {
        eprintln!("{mark} {text}");
    }
}

/// A size in bytes as people read it: `55 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes.div_ceil(1_000_000) {
        0 | 1 => format!("{} kB", bytes.div_ceil(1_000)),
        megabytes => format!("{megabytes} MB"),
    }
}

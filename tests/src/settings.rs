//! Another daemon's settings for a while.

use std::fs;

use crate::{bed, layout::SETTINGS};

/// A daemon with other settings; one with the usual ones again when dropped.
pub struct Changed {
    usual: String,
}

impl Changed {
    /// Starts the daemon anew with these settings, each `key = "value"`, in the place of the usual ones.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(settings: &[(&str, &str)]) -> Self {
        bed().stop();
        let usual = fs::read_to_string(SETTINGS).expect("the settings can be read");
        let is_kept = |line: &&str| !settings.iter().any(|(key, _)| line.starts_with(key));
        let kept = usual.lines().filter(is_kept).map(str::to_owned);
        let changed = settings.iter().map(|(key, value)| format!("{key} = \"{value}\""));
        let text: String = kept.chain(changed).map(|line| line + "\n").collect();
        fs::write(SETTINGS, text).expect("the settings can be written");
        bed().start();
        Self { usual }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        bed().stop();
        fs::write(SETTINGS, &self.usual).expect("the settings can be written");
        bed().start();
    }
}

//! What a guest prints, shown and kept.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Where a guest's output goes that is read afterwards too. Clones share what is kept.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// What was printed so far; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stdout().write(bytes)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

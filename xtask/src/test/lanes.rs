//! Kernels side by side: a guest keeps one processor busy for some two thirds of its time, and waits for the rest.
//! It must not know what runs in them.

use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Guests at once, at most: each has 2 GiB of memory.
const LANES: usize = 4;

/// How many guests run at once, of so many: three for two processors.
pub(super) fn lanes(guests: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    guests.min(processors + processors / 2).clamp(1, LANES)
}

/// Does the work of each item, so many at once, each begun in the order of the items. The results are in that
/// order too.
pub(super) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    lanes: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let lane = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return };
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A writer of whole lines that says before each whose it is: several can write to one place.
pub(super) struct Named<W: Write> {
    to: W,
    name: String,
    line: Vec<u8>,
}

impl<W: Write> Named<W> {
    /// A writer of lines of `name` to `to`.
    pub(super) fn new(to: W, name: &str) -> Self {
        Self { to, name: name.to_owned(), line: Vec::new() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let mut whole = format!("{:>4} │ ", self.name).into_bytes();
        whole.append(&mut self.line);
        whole.push(b'\n');
        // In one piece, so that no other's line gets between.
        self.to.write_all(&whole)
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line()?,
                byte => self.line.push(*byte),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> Drop for Named<W> {
    fn drop(&mut self) {
        // Whoever reads may be gone.
        let _ = self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_by_side_results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..20).collect();
        let squares = side_by_side(&items, 2, |item| {
            thread::sleep(std::time::Duration::from_millis(20 - item));
            item * item
        });
        assert_eq!(squares, items.iter().map(|item| item * item).collect::<Vec<_>>());
    }

    #[test]
    fn named_lines_are_whole_and_say_whose_they_are() {
        let mut output = Vec::new();
        {
            let mut named = Named::new(&mut output, "6.1");
            for part in ["test a ... ", "ok\n\ntest b", " ... ok\nrest"] {
                named.write_all(part.as_bytes()).expect("a vector takes all");
            }
        }
        let text = String::from_utf8(output).expect("it is text");
        assert_eq!(text, " 6.1 │ test a ... ok\n 6.1 │ test b ... ok\n 6.1 │ rest\n");
    }
}

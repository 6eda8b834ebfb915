//! What the hunter and the program that it runs share: memory that both have, and that outlives the program.

use std::{
    ptr,
    sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::program::{LANES, STEPS, User};

/// What came of a step.
#[repr(C)]
pub(crate) struct Outcome {
    /// The epoch in which it began, and one more; 0 if it did not.
    begun: AtomicU32,
    /// 1 when it is over.
    done: AtomicU32,
    /// What the call returned: its value, or an error's number below 0.
    value: AtomicI64,
    /// The second descriptor that it gave.
    second: AtomicI64,
    /// The secrets that were seen in what it read, a bit each.
    secrets: AtomicU64,
}

/// The memory. All zero at first.
#[repr(C)]
pub(crate) struct Shared {
    /// Grows with each event that is over.
    pub(crate) epoch: AtomicU32,
    /// The step of the event that a thread waits for, and one more; 0 for none.
    pub(crate) wanted: AtomicU32,
    /// The step of the last event that is over, and one more.
    pub(crate) over: AtomicU32,
    /// Grows when the hunter has something to look at.
    pub(crate) bell: AtomicU32,
    /// 1 when the program may begin, and when it stopped before it did.
    pub(crate) ready: AtomicU32,
    /// Threads that have done all their steps.
    pub(crate) finished: AtomicU32,
    /// The thread ids of the threads.
    pub(crate) threads: [AtomicU32; LANES],
    /// The step at which each is, and one more.
    pub(crate) at: [AtomicU32; LANES],
    /// What came of each step.
    outcomes: [Outcome; STEPS],
    /// The number of the program that the session of each user is to begin.
    pub(crate) go: [AtomicU32; 2],
    /// The process that does it.
    pub(crate) child: AtomicU32,
    /// 1 when that process is over.
    pub(crate) gone: AtomicU32,
    /// What the session has to know: see [`Shared::order`].
    facts: [AtomicU64; 9],
    text_len: AtomicU32,
    text: [AtomicU8; TEXT],
}

/// Bytes of a program's text, at most.
const TEXT: usize = 16_384;

impl Shared {
    /// Memory that forked processes share.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn make() -> &'static Self {
        let size = size_of::<Self>();
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: the kernel chooses the place; all zeroes are a value; the memory is never unmapped.
        unsafe {
            let place =
                libc::mmap(ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert!(place != libc::MAP_FAILED, "no memory to share");
            &*place.cast::<Self>()
        }
    }

    /// Makes everything zero again.
    pub(crate) fn clear(&self) {
        let words = [
            &self.epoch,
            &self.wanted,
            &self.over,
            &self.ready,
            &self.finished,
            &self.child,
            &self.gone,
        ];
        for word in words {
            word.store(0, Ordering::SeqCst);
        }
        for word in self.threads.iter().chain(&self.at) {
            word.store(0, Ordering::SeqCst);
        }
        for outcome in &self.outcomes {
            outcome.begun.store(0, Ordering::SeqCst);
            outcome.done.store(0, Ordering::SeqCst);
            outcome.value.store(0, Ordering::SeqCst);
            outcome.second.store(-1, Ordering::SeqCst);
            outcome.secrets.store(0, Ordering::SeqCst);
        }
    }

    /// Notes that a step begins.
    pub(crate) fn begin(&self, lane: usize, step: usize) {
        self.at[lane].store(step as u32 + 1, Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        self.outcomes[step].begun.store(epoch + 1, Ordering::SeqCst);
    }

    /// Notes what came of it.
    pub(crate) fn end(&self, step: usize, value: i64, second: i64, secrets: u64) {
        let outcome = &self.outcomes[step];
        outcome.value.store(value, Ordering::SeqCst);
        outcome.second.store(second, Ordering::SeqCst);
        outcome.secrets.fetch_or(secrets, Ordering::SeqCst);
        outcome.done.store(1, Ordering::SeqCst);
    }

    /// The epoch in which a step began; `None` if it did not.
    pub(crate) fn begun(&self, step: usize) -> Option<u32> {
        self.outcomes[step].begun.load(Ordering::SeqCst).checked_sub(1)
    }

    /// What a step returned; `None` if it is not over.
    pub(crate) fn value(&self, step: usize) -> Option<i64> {
        let outcome = &self.outcomes[step];
        (outcome.done.load(Ordering::SeqCst) == 1).then(|| outcome.value.load(Ordering::SeqCst))
    }

    /// The second descriptor that a step gave.
    pub(crate) fn second(&self, step: usize) -> i64 {
        self.outcomes[step].second.load(Ordering::SeqCst)
    }

    /// The secrets that a step read.
    pub(crate) fn secrets(&self, step: usize) -> u64 {
        self.outcomes[step].secrets.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Has a session begin a program, which is given as text.
    ///
    /// # Panics
    /// When the text is too long.
    pub(crate) fn order(&self, user: User, number: u32, facts: [u64; 9], text: &str) {
        assert!(text.len() <= TEXT, "a long program");
        for (place, fact) in self.facts.iter().zip(facts) {
            place.store(fact, Ordering::SeqCst);
        }
        for (place, byte) in self.text.iter().zip(text.bytes()) {
            place.store(byte, Ordering::Relaxed);
        }
        self.text_len.store(text.len() as u32, Ordering::SeqCst);
        let go = &self.go[user as usize];
        go.store(number, Ordering::SeqCst);
        wake(go);
    }

    /// What a session has to know, and the program's text.
    pub(crate) fn ordered(&self) -> ([u64; 9], String) {
        let len = self.text_len.load(Ordering::SeqCst) as usize;
        let bytes: Vec<u8> =
            self.text.iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        let facts = std::array::from_fn(|place| self.facts[place].load(Ordering::SeqCst));
        (facts, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Tells the hunter to look.
    pub(crate) fn ring(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
        wake(&self.bell);
    }
}

/// Sleeps until a word is no more `value`, or the time is up.
pub(crate) fn wait(word: &AtomicU32, value: u32, most: Duration) {
    let end = Instant::now() + most;
    while word.load(Ordering::SeqCst) == value {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let time = libc::timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        // SAFETY: the word and the time are valid for the call.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const time)
        };
    }
}

/// Wakes who waits for a word.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the word is valid for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

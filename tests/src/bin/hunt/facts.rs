//! What a program has to know of what is outside, to aim at it.

/// Numbers of processes and objects outside.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The number of the program.
    pub(crate) number: u32,
    /// A process outside, of the program's user.
    pub(crate) victim: i32,
    /// The address of a secret in that process.
    pub(crate) victim_address: u64,
    /// The hunter, which is the program's parent.
    pub(crate) hunter: i32,
    pub(crate) daemon: i32,
    /// The key of a shared memory, a semaphore and a queue of others.
    pub(crate) key: i32,
    /// Their numbers.
    pub(crate) ipc: [i32; 3],
}

impl Facts {
    /// As words.
    pub(crate) fn words(self) -> [u64; 9] {
        let [memory, semaphore, queue] = self.ipc;
        let small = [self.victim, self.hunter, self.daemon, self.key, memory, semaphore, queue];
        let [victim, hunter, daemon, key, memory, semaphore, queue] =
            small.map(|number| number as u32 as u64);
        [
            self.number.into(),
            victim,
            self.victim_address,
            hunter,
            daemon,
            key,
            memory,
            semaphore,
            queue,
        ]
    }

    /// From [`Self::words`].
    pub(crate) fn of_words(words: [u64; 9]) -> Self {
        let [number, victim, victim_address, hunter, daemon, key, memory, semaphore, queue] = words;
        Self {
            number: number as u32,
            victim: victim as i32,
            victim_address,
            hunter: hunter as i32,
            daemon: daemon as i32,
            key: key as i32,
            ipc: [memory as i32, semaphore as i32, queue as i32],
        }
    }
}

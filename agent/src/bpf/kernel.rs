//! The real [`Enforcer`]: it reads and writes the pinned maps.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::PathBuf,
    thread,
};

use agent_common::{
    authority::{Expiries, Session, ToolSet},
    given::{Given, GivenKey, Giving},
    id::{BootNanos, Generation, SessionId, Slot, Tag},
    limits::{self, POLICY_SLOTS},
    mark::{TaskRecord, Used},
};
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, lpm_trie};

use super::{
    attachment::{Attachment, Need},
    enforcer::{Confinement, Enforcer},
    error::{KernelError, LoadError, chain},
    events::{Counts, Events},
    iterators,
    pins::Pins,
    programs, sys,
    tables::{Active, Network},
    vacancies::Vacancies,
};
use crate::policy::tables::{Rules, Tables};

/// The kernel's maps of sessions and policy, open for writing.
pub struct Kernel {
    tags: MapData,
    /// Copies of the tags by process id, which the kernel programs make on kernels that lose a task's storage; else
    /// empty.
    tags_by_process: HashMap<MapData, u32, Tag>,
    /// The iterator that fills `tags_by_process` when it is read.
    processes: PathBuf,
    sessions: Array<MapData, Session>,
    expiries: Array<MapData, Expiries>,
    tasks: Array<MapData, u64>,
    forks_held: Array<MapData, u64>,
    active: Array<MapData, u64>,
    edge_tables: MapData,
    affix_tables: MapData,
    given: HashMap<MapData, GivenKey, Given>,
    giving: Array<MapData, Giving>,
    attachment: Attachment,
    pins: Pins,
    label_tables: MapData,
    address_tables: MapData,
    port_tables: MapData,
    set_id_tools: Array<MapData, ToolSet>,
    kill_tools: Array<MapData, [ToolSet; POLICY_SLOTS]>,
    used: Array<MapData, u64>,
    /// For each connection to the control socket, the session that made it.
    connectors: MapData,
    control_socket: Array<MapData, u64>,
    /// The tables in force; `None` before this daemon has put a policy in force.
    current: Option<Active>,
}

/// Opens a pinned map as its type.
macro_rules! open {
    ($pins:expr, $name:literal, $variant:ident) => {
        Map::$variant($pins.map($name)?).try_into().map_err(|error: MapError| LoadError::Pin {
            name: $name.to_owned(),
            reason: error.to_string(),
        })?
    };
}

impl Kernel {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// When one is missing or of another type.
    pub fn open(pins: &Pins) -> Result<Self, LoadError> {
        Ok(Self {
            tags: pins.map("TAGS")?,
            tags_by_process: open!(pins, "TAGS_BY_PROCESS", HashMap),
            processes: pins.processes(),
            sessions: open!(pins, "SESSIONS_BY_SLOT", Array),
            expiries: open!(pins, "EXPIRIES", Array),
            tasks: open!(pins, "TASK_COUNTS", Array),
            forks_held: open!(pins, "FORKS_HELD", Array),
            active: open!(pins, "ACTIVE", Array),
            edge_tables: pins.map("EDGE_TABLES")?,
            affix_tables: pins.map("AFFIX_TABLES")?,
            given: open!(pins, "GIVEN_FILES", HashMap),
            giving: open!(pins, "GIVING", Array),
            attachment: Attachment::new(pins.clone(), programs::pinned_hooks(pins)),
            pins: pins.clone(),
            label_tables: pins.map("LABEL_TABLES")?,
            address_tables: pins.map("ADDRESS_TABLES")?,
            port_tables: pins.map("PORT_TABLES")?,
            set_id_tools: open!(pins, "SET_ID_TOOLS", Array),
            kill_tools: open!(pins, "DEADLY", Array),
            used: open!(pins, "USED_MARKS", Array),
            connectors: pins.map("CONNECTORS")?,
            control_socket: open!(pins, "CONTROL_SOCKET", Array),
            current: None,
        })
    }

    /// The ring of events.
    ///
    /// # Errors
    /// When the ring can't be mapped.
    pub fn events(pins: &Pins) -> Result<Events, LoadError> {
        let counts = Counts {
            lost: pins.map("LOST_EVENTS")?,
            sent: pins.map("SENT_BYTES")?,
            taken: open!(pins, "TAKEN_BYTES", Array),
        };
        Events::new(pins.map("EVENTS")?, counts).map_err(|error| LoadError::Pin {
            name: "EVENTS".to_owned(),
            reason: error.to_string(),
        })
    }

    /// The ring of notices that a session has no tasks left.
    ///
    /// # Errors
    /// When the ring can't be mapped.
    pub fn vacancies(pins: &Pins) -> Result<Vacancies, LoadError> {
        Ok(Vacancies::new(open!(pins, "VACANCIES", RingBuf)))
    }

    /// Stores a generation's tables at its index of the outer arrays, and clears the stale index. Each change of an
    /// outer array waits for every running program (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c), so all are made
    /// in parallel.
    fn publish(
        &mut self,
        place: u32,
        stale: u32,
        active: &Active,
        network: &Network,
    ) -> io::Result<()> {
        let puts = [
            (self.edge_tables.fd(), active.edges.map().fd()),
            (self.affix_tables.fd(), active.affixes.map().fd()),
            (self.label_tables.fd(), active.labels.map().fd()),
            (self.address_tables.fd(), network.addresses.map().fd()),
            (self.port_tables.fd(), network.ports.map().fd()),
        ];
        thread::scope(|scope| {
            let waits = puts.map(|(outer, inner)| {
                let (outer, inner) = (outer.as_fd(), inner.as_fd());
                [
                    scope.spawn(move || sys::put_inner(outer, place, inner)),
                    scope.spawn(move || sys::drop_inner(outer, stale)),
                ]
            });
            waits.into_iter().flatten().try_for_each(|wait| {
                wait.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            })
        })
    }
}

impl Kernel {
    /// The tag of the process behind a pidfd, from task storage or, where this kernel can lose that, from the copy.
    fn find_tag(&self, pidfd: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
        let tag = sys::tag(self.tags.fd().as_fd(), pidfd)?;
        if tag.is_some() || !self.processes.exists() {
            return Ok(tag);
        }
        let process = sys::process_of(pidfd)?;
        let found = match self.copied_tag(process)? {
            // A process is recorded at its first decision; before that, the iterator records it.
            None => self.copy_tags().and_then(|()| self.copied_tag(process))?,
            found => found,
        };
        // Another process may have got the same id meanwhile.
        sys::is_there(pidfd).map(|()| found)
    }

    /// The copy of a process's tag, without marks.
    fn copied_tag(&self, process: u32) -> io::Result<Option<Tag>> {
        match self.tags_by_process.get(&process, 0) {
            Ok(tag) => Ok(Some(Tag { marks: 0, ..tag })),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(io::Error::other(chain(&error))),
        }
    }

    /// Has the kernel copy the tags of all sessions' processes to where they can't be lost.
    fn copy_tags(&self) -> io::Result<()> {
        if fs::read(&self.processes)?.is_empty() {
            Ok(())
        } else {
            Err(io::Error::other("the kernel has no room to note all processes of sessions"))
        }
    }

    /// Makes sure that the kernel's programs read a session as it was written: another daemon may have pinned maps of
    /// its own over those that are open here.
    fn read_back(&self, slot: Slot, session: &Session) -> Result<(), KernelError> {
        let action = "make sure that the kernel has what was written";
        let other = |reason: String| failed(action)(io::Error::other(reason));
        let pinned = self.pins.map("SESSIONS_BY_SLOT").map_err(|error| other(error.to_string()))?;
        let pinned: Array<_, Session> =
            Map::Array(pinned).try_into().map_err(|error: MapError| other(chain(&error)))?;
        let found = pinned.get(&slot.0, 0).map_err(failed(action))?;
        if (found.id, found.epoch) == (session.id, session.epoch) {
            Ok(())
        } else {
            Err(other("what is pinned is not what this daemon put there".to_owned()))
        }
    }
}

/// A look-up of a tag as an answer.
fn confinement(action: &str, found: io::Result<Option<Tag>>) -> Confinement {
    match found {
        Ok(Some(tag)) => Confinement::Of(tag),
        Ok(None) => Confinement::None,
        Err(source) => Confinement::Unknown(KernelError { action: action.to_owned(), source }),
    }
}

/// An error of aya as a [`KernelError`] of an operation.
fn failed<E: std::error::Error>(action: &str) -> impl FnOnce(E) -> KernelError {
    move |error| KernelError { action: action.to_owned(), source: io::Error::other(chain(&error)) }
}

impl Enforcer for Kernel {
    fn activate(&mut self, generation: Generation, tables: &Tables) -> Result<(), KernelError> {
        let slots = POLICY_SLOTS as u32;
        // The index after this one has the oldest tables. No program uses them any more: storing the tables that came
        // after them waited for all that did.
        let (place, stale) = (generation.0 % slots, generation.0.wrapping_add(1) % slots);
        let active = Active::new(place, &tables.rules).map_err(failed("fill the path rules"))?;
        let network = Network::new(tables).map_err(failed("fill the network rules"))?;
        self.set_id_tools
            .set(place, tables.set_id, 0)
            .map_err(failed("put the tools for set-id programs in place"))?;
        let action = "put the tools whose loss kills in place";
        let mut kill_tools = self.kill_tools.get(&0, 0).map_err(failed(action))?;
        if let Some(set) = kill_tools.get_mut(place as usize) {
            *set = tables.kill_tools;
        }
        self.kill_tools.set(0, kill_tools, 0).map_err(failed(action))?;
        self.publish(place, stale, &active, &network).map_err(failed("put the rules in place"))?;
        self.active
            .set(0, u64::from(generation.0), 0)
            .map_err(failed("switch to the new policy"))?;
        self.current = Some(active);
        Ok(())
    }

    fn generation(&self) -> Result<Generation, KernelError> {
        let generation = self.active.get(&0, 0).map_err(failed("read the policy's generation"))?;
        Ok(Generation(generation as u32))
    }

    fn add_rules(&mut self, rules: &Rules) -> Result<(), KernelError> {
        let Some(active) = &mut self.current else {
            return Err(failed("add a session's rules")(io::Error::other("no policy is in force")));
        };
        if active.filled + rules.edges.len() > active.room {
            let (edges, room) = active
                .larger(rules.edges.len())
                .map_err(failed("make room for a session's rules"))?;
            let (outer, inner) = (self.edge_tables.fd().as_fd(), edges.map().fd().as_fd());
            sys::put_inner(outer, active.place, inner)
                .map_err(failed("put the larger table of rules in place"))?;
            (active.edges, active.room) = (edges, room);
        }
        active.fill(rules).map_err(failed("add a session's rules"))
    }

    fn remove_rules(&mut self, rules: &Rules) -> Result<(), KernelError> {
        let Some(active) = &mut self.current else { return Ok(()) };
        for (key, _) in &rules.edges {
            removed(active.edges.remove(key)).map_err(failed("remove a session's rules"))?;
            active.filled = active.filled.saturating_sub(1);
        }
        for (key, bits, _) in rules.affixes.iter() {
            let key = lpm_trie::Key::new(bits, key);
            removed(active.affixes.remove(&key)).map_err(failed("remove a session's rules"))?;
        }
        Ok(())
    }

    fn write_session(
        &mut self,
        slot: Slot,
        session: &Session,
        expiries: &Expiries,
    ) -> Result<(), KernelError> {
        let before = self.sessions.get(&slot.0, 0).map_err(failed("read a session"))?;
        // First an entry without the tools that the session loses and without those that it gains.
        let mut between = *session;
        for (word, old) in between.tools.0.iter_mut().zip(before.tools.0) {
            *word &= old;
        }
        // Zero makes programs compare each tool's own expiry, and these are still the old ones.
        between.nearest_expiry = BootNanos(0);
        // An epoch of its own, so that no decision that was cached from this entry counts for the old or the new one.
        between.epoch = before.epoch.wrapping_add(1);
        let session = &Session { epoch: before.epoch.wrapping_add(2), ..*session };
        if before.id == session.id {
            self.sessions.set(slot.0, between, 0).map_err(failed("write a session"))?;
        }
        if before.id != session.id {
            // Tasks of the slot's last session may live on; they don't count as this one's.
            self.tasks.set(slot.0, 0, 0).map_err(failed("count a session's tasks"))?;
            self.used.set(slot.0, 0, 0).map_err(failed("forget what the session before used"))?;
        }
        self.expiries.set(slot.0, expiries, 0).map_err(failed("write a session's expiries"))?;
        self.sessions.set(slot.0, session, 0).map_err(failed("write a session"))?;
        self.read_back(slot, session)
    }

    fn read_session(&self, slot: Slot) -> Result<(Session, Box<Expiries>), KernelError> {
        let session = self.sessions.get(&slot.0, 0).map_err(failed("read a session"))?;
        let expiries = self.expiries.get(&slot.0, 0).map_err(failed("read a session"))?;
        Ok((session, Box::new(expiries)))
    }

    fn tag(&mut self, pidfd: BorrowedFd<'_>, tag: Tag) -> Result<(), KernelError> {
        sys::set_tag(self.tags.fd().as_fd(), pidfd, tag)
            .map_err(|source| KernelError { action: "tag the process".to_owned(), source })?;
        if self.processes.exists() {
            // On kernels that lose a task's storage, the tag has to be copied before the task goes on.
            let noted = self.copy_tags().and_then(|()| match self.find_tag(pidfd)? {
                Some(found) if found == tag => Ok(()),
                _ => Err(io::Error::other("the kernel did not keep it")),
            });
            noted.map_err(failed("tag the process"))?;
        }
        // The kernel programs count tasks when they fork; the first task of a session is counted here. Only after it
        // was tagged: a daemon that is killed in between leaves a session without tasks, which the next daemon ends,
        // and not one that seems to have a task for ever. The process waits for the daemon's answer, so it has not
        // forked yet; one that does not wait can only end its own session early.
        let count = self.tasks.get(&tag.slot.0, 0).map_err(failed("count a session's tasks"))?;
        if count == 0 {
            self.tasks.set(tag.slot.0, 1, 0).map_err(failed("count a session's tasks"))?;
        }
        Ok(())
    }

    fn give(
        &mut self,
        pidfd: BorrowedFd<'_>,
        session: SessionId,
        descriptors: &[u32],
    ) -> Result<(), KernelError> {
        let action = "write down what the session is given";
        let mut giving = Giving { session, count: 0, pipes: 0, descriptors: [0; limits::PASSED] };
        for (place, descriptor) in giving.descriptors.iter_mut().zip(descriptors) {
            *place = *descriptor;
            giving.count += 1;
        }
        self.giving.set(0, giving, 0).map_err(failed(action))?;
        let process = sys::process_of(pidfd).map_err(failed(action))?;
        iterators::record_given(&self.pins, process).map_err(failed(action))?;
        let pipes = self.giving.get(&0, 0).map_err(failed(action))?.pipes;
        if pipes as usize > limits::PASSED {
            return Err(failed(action)(io::Error::other(format!(
                "it has over {} pipes open beside what it names: close them before",
                limits::PASSED
            ))));
        }
        Ok(())
    }

    fn forget_given(&mut self, sessions: &[SessionId]) -> Result<(), KernelError> {
        let action = "forget what sessions were given";
        let keys: Vec<GivenKey> = self
            .given
            .keys()
            .filter_map(Result::ok)
            .filter(|key| sessions.contains(&key.session))
            .collect();
        keys.iter().try_for_each(|key| removed(self.given.remove(key))).map_err(failed(action))
    }

    fn attach(&mut self, need: Need) -> Result<(), KernelError> {
        self.attachment.set(need).map_err(failed("attach the kernel programs"))
    }

    fn reset_connections(&mut self) -> Result<(), KernelError> {
        iterators::reset_connections(&self.pins).map_err(failed("reset lost connections"))
    }

    fn tag_of(&self, pidfd: BorrowedFd<'_>) -> Confinement {
        confinement("read the process's tag", self.find_tag(pidfd))
    }

    fn note_control_socket(&mut self, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        let action = "tell which the control socket is";
        // Zero makes the kernel record every connection, until it knows the control socket.
        self.control_socket.set(0, 0, 0).map_err(failed(action))?;
        let mut giving =
            Giving { session: SessionId(0), count: 1, pipes: 0, descriptors: [0; limits::PASSED] };
        giving.descriptors[0] = socket.as_raw_fd().cast_unsigned();
        self.giving.set(0, giving, 0).map_err(failed(action))?;
        iterators::record_given(&self.pins, std::process::id()).map_err(failed(action))?;
        match self.control_socket.get(&0, 0).map_err(failed(action))? {
            0 => Err(failed(action)(io::Error::other("the kernel did not find it"))),
            _ => Ok(()),
        }
    }

    fn connector_of(&self, connection: BorrowedFd<'_>) -> Confinement {
        let found = sys::tag_at(self.connectors.fd().as_fd(), connection);
        confinement("read who made the connection", found)
    }

    fn hold_forks(&mut self, slot: Slot, until: BootNanos) -> Result<(), KernelError> {
        self.forks_held.set(slot.0, until.0, 0).map_err(failed("hold a session's forks"))
    }

    fn tasks(&self, session: SessionId) -> Result<Vec<TaskRecord>, KernelError> {
        let action = "look at the session's tasks";
        // Storing a table where it already is changes nothing, but the kernel waits for every running program.
        if let Some(active) = &self.current {
            let (outer, inner) = (self.edge_tables.fd().as_fd(), active.edges.map().fd().as_fd());
            sys::put_inner(outer, active.place, inner).map_err(failed(action))?;
        }
        let written = iterators::read_tasks(&self.pins).map_err(failed(action))?;
        let (records, _) = written.as_chunks();
        let records = records.iter().map(|bytes| TaskRecord::from_bytes(*bytes));
        Ok(records.filter(|record| record.session == session).collect())
    }

    fn used(&self, slot: Slot) -> Result<Used, KernelError> {
        self.used.get(&slot.0, 0).map(Used).map_err(failed("read what the session used"))
    }

    fn tasks_of(&self, slot: Slot) -> Result<u64, KernelError> {
        let count = self.tasks.get(&slot.0, 0).map_err(failed("count a session's tasks"))?;
        // Minus one: the first task ended before it was counted.
        Ok(count.cast_signed().max(0).cast_unsigned())
    }
}

/// A removal, which is no error if the element did not exist.
fn removed(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        Err(MapError::KeyNotFound) => Ok(()),
        other => other,
    }
}

//! Starting a session.

use std::{collections::BTreeMap, os::fd::BorrowedFd, path::Path, time::Duration};

use agent_common::{
    id::{Slot, Tag},
    limits::{PASSED, SESSIONS},
};

use super::{Error, Registry};
use crate::{
    policy::{Profile, diagnostic::nearest},
    session::{
        Actor, Id, Session,
        acts::{Act, Control},
        clock::Moment,
        model::{Condition, Ending, Grant, Origin, PassedFd},
        name, variables,
    },
};

/// The most bytes of a task, a reason or a variable's value.
pub(super) const TEXT: usize = 4096;

/// A request to start a session.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: Option<String>,
    /// Its work folder, absolute.
    pub workdir: String,
    /// How long it may last; `None` for as long as the profile allows.
    pub ttl: Option<Duration>,
    /// Its name; `None` to have one made.
    pub name: Option<String>,
    /// Values of the policy's variables that its starter gave.
    pub variables: BTreeMap<String, String>,
    /// Values of the variables that the daemon sets, without `workdir` and `session`.
    pub own: BTreeMap<String, String>,
    /// Descriptors given to it.
    pub passed_fds: Vec<PassedFd>,
    /// How many sessions of the profile its starter may have at once; `None` for no limit.
    pub most: Option<u32>,
    /// A remark for its line in the log.
    pub remark: Option<&'static str>,
}

impl Registry {
    /// Starts a session and tags the process behind the pidfd with it.
    ///
    /// # Errors
    /// The request is wrong, no slot is free, or the kernel refused. Nothing was changed then.
    pub fn start(
        &mut self,
        start: Start,
        owner: Actor,
        process: BorrowedFd<'_>,
    ) -> Result<&Session, Error> {
        self.may_grow()?;
        let remark = start.remark;
        let mut session = self.prepare(start, owner.clone())?;
        let slot = session.slot();
        let rules = self
            .compiled
            .instantiate(slot, &session.variables)
            .map_err(|error| Error::Compile(error.to_string()))?;
        if let Err(error) = self.enforcer.add_rules(&rules) {
            self.compiled.remove(slot);
            return Err(error.into());
        }
        self.rules.insert(slot, rules);
        let tag = Tag { session: session.id.0, slot, marks: 0 };
        session.tagged = true;
        let limits = self.profile(&session.profile)?.limits;
        let (group, mut before) = (session.id.to_string(), None);
        // Moved into its control group before it is tagged, so that every tagged task is in the group.
        let started = self
            .grow(session.clone())
            .map(drop)
            .and_then(|()| {
                before = self.groups.admit(&group, owner.pid, &limits)?;
                Ok(())
            })
            .and_then(|()| self.enforcer.tag(process, tag).map_err(Error::from))
            .and_then(|()| {
                let given: Vec<u32> = session.passed_fds.iter().map(|passed| passed.fd).collect();
                self.enforcer.give(process, session.id.0, &given).map_err(Error::from)
            });
        if let Err(error) = started {
            let reason = format!("it could not start: {error}");
            let ending = Ending { at: self.clock.now(), by: Actor::daemon(), reason };
            self.groups.dismiss(&group, owner.pid, before.as_deref());
            self.undo(session, ending);
            return Err(error);
        }
        let mut control = Control::of(Act::Start, &session, &owner);
        control.tools = session.grants.iter().map(|grant| grant.tool.clone()).collect();
        control.until = Some(session.expires.wall);
        control.detail = remark.map(str::to_owned);
        self.log_act(control);
        self.by_id(session.id).ok_or(Error::Ended { name: session.name })
    }

    /// Removes a session whose start failed.
    fn undo(&mut self, session: Session, ending: Ending) {
        let id = session.id;
        if let Err(error) = self.close(session, ending) {
            tracing::error!("{error}");
        }
        self.live.remove(&id);
        self.ended.remove(&id);
        self.unsaved.sessions.remove(&id);
        if let Err(error) = self.store.remove_session(id) {
            tracing::error!("{error}");
        }
    }

    /// Checks a request and makes the session, in memory only.
    fn prepare(&self, start: Start, owner: Actor) -> Result<Session, Error> {
        let profile = self.profile(&start.profile)?;
        self.check_quota(&start, &owner)?;
        let name = self.choose_name(start.name, &start.profile)?;
        if start.task.as_deref().is_some_and(|task| !is_text(task)) {
            return Err(Error::BadText { what: "task", help: "at most 4,096 bytes, no NUL" });
        }
        if start.passed_fds.len() > PASSED {
            return Err(Error::BadText { what: "list of descriptors", help: "at most 64" });
        }
        let now = self.clock.now();
        let id = self.new_id(now);
        let mut own = start.own;
        own.insert("session".into(), id.to_string());
        own.insert("workdir".into(), start.workdir.clone());
        let variables = values(&start.profile, profile, start.variables, own)?;
        let expires = now.after(lifetime(&start.profile, profile, start.ttl)?);
        let slot = self.free_slot()?;
        let grants = profile
            .tools
            .iter()
            .map(|tool| self.profile_grant(tool, now, &owner))
            .collect::<Result<_, _>>()?;
        Ok(Session {
            id,
            slot: slot.0,
            name,
            profile: start.profile,
            task: start.task,
            workdir: start.workdir,
            variables,
            mode: profile.mode.into(),
            state: Condition::Active,
            started: now,
            expires,
            pid: owner.pid,
            owner,
            parent: None,
            lineage: Vec::new(),
            passed_fds: start.passed_fds,
            grants,
            history: Vec::new(),
            ended: None,
            tagged: false,
        })
    }

    /// Makes sure that the starter may have one more session of the profile.
    fn check_quota(&self, start: &Start, owner: &Actor) -> Result<(), Error> {
        let Some(most) = start.most else { return Ok(()) };
        let is_theirs =
            |session: &&Session| session.profile == start.profile && session.owner.uid == owner.uid;
        if self.live.values().filter(is_theirs).count() < most as usize {
            return Ok(());
        }
        Err(Error::TooMany { profile: start.profile.clone(), most })
    }

    fn profile_grant(&self, tool: &str, now: Moment, by: &Actor) -> Result<Grant, Error> {
        Ok(Grant {
            tool: tool.to_owned(),
            bit: self.bit(tool)?,
            from: now,
            until: None,
            given_by: by.clone(),
            reason: None,
            source: Origin::Profile,
        })
    }

    /// A tool's bit.
    pub(super) fn bit(&self, tool: &str) -> Result<u16, Error> {
        self.bits.bit(tool).map(|bit| bit.0).ok_or_else(|| Error::NoTool {
            name: tool.to_owned(),
            nearest: nearest(tool, self.policy.tools.keys().map(String::as_str)).map(str::to_owned),
        })
    }

    fn choose_name(&self, asked: Option<String>, profile: &str) -> Result<String, Error> {
        let Some(asked) = asked else {
            let known = self.live.values().chain(self.ended.values());
            return Ok(name::next(profile, known.map(|session| session.name.as_str())));
        };
        name::check(&asked)?;
        if self.live.values().any(|session| session.name == asked) {
            return Err(Error::NameTaken { name: asked });
        }
        Ok(asked)
    }

    /// A free slot, without tasks of the session that had it before. So a slot's count is that of one session's tasks,
    /// and if all counts are zero there is no tagged task.
    fn free_slot(&self) -> Result<Slot, Error> {
        let mut taken = vec![false; SESSIONS];
        for session in self.live.values() {
            if let Some(taken) = taken.get_mut(session.slot as usize) {
                *taken = true;
            }
        }
        let free: Vec<Slot> =
            (0..).map(Slot).zip(taken).filter(|(_, taken)| !taken).map(|(slot, _)| slot).collect();
        let has_no_tasks =
            |slot: &Slot| self.enforcer.tasks_of(*slot).is_ok_and(|tasks| tasks == 0);
        let why = if free.is_empty() { Error::Full } else { Error::Occupied };
        free.into_iter().find(has_no_tasks).ok_or(why)
    }

    pub(super) fn new_id(&self, now: Moment) -> Id {
        let millis = u64::try_from(now.wall.as_millisecond()).unwrap_or(0);
        loop {
            let id = Id::new(millis, random());
            if self.by_id(id).is_none() {
                return id;
            }
        }
    }
}

/// How long a session lasts.
fn lifetime(name: &str, profile: &Profile, asked: Option<Duration>) -> Result<Duration, Error> {
    let most = profile.session_ttl;
    match asked {
        None => Ok(most),
        Some(asked) if asked.is_zero() => Err(Error::ZeroTtl),
        Some(asked) if asked > most => {
            Err(Error::LongTtl { profile: name.to_owned(), asked, most })
        }
        Some(asked) => Ok(asked),
    }
}

/// The values of all variables of a session's rules, checked.
fn values(
    name: &str,
    profile: &Profile,
    given: BTreeMap<String, String>,
    own: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let workdir = own.get("workdir").map_or("", String::as_str);
    if !Path::new(workdir).is_absolute() || !is_text(workdir) {
        return Err(Error::BadWorkdir { workdir: workdir.to_owned() });
    }
    let mut all = given;
    for (variable, value) in &all {
        if variables::is_own(variable) {
            let help = match variable.as_str() {
                "workdir" => "the work folder is given by `--workdir`",
                _ => "the daemon sets it for every session: choose another name in the policy",
            };
            return Err(Error::BadVariable { variable: variable.clone(), help });
        }
        if !crate::policy::pattern::is_variable_name(variable) {
            let help = "a name of lower-case letters, digits and `_`";
            return Err(Error::BadVariable { variable: variable.clone(), help });
        }
        if !is_text(value) || value.is_empty() {
            let help = "its value: 1 to 4,096 bytes, no NUL";
            return Err(Error::BadVariable { variable: variable.clone(), help });
        }
    }
    all.extend(own);
    match profile.variables.iter().find(|variable| !all.contains_key(*variable)) {
        Some(missing) => {
            Err(Error::MissingVariable { profile: name.to_owned(), variable: missing.clone() })
        }
        None => Ok(all),
    }
}

/// Whether a text is short enough and has no NUL.
pub(super) fn is_text(text: &str) -> bool {
    text.len() <= TEXT && !text.contains('\0')
}

/// Random bits; bits of the clock if the kernel has none to give yet.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(4) => u32::from_ne_bytes(bytes),
        _ => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos()),
    }
}

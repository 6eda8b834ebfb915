//! Sessions: commands under `remit run`, in the foreground and in the background.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    bed::{Bed, bed, send},
    http,
    incident::Incident,
    layout,
    outcome::{LIMIT, Outcome, eventually},
};

/// A session yet to be started.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: String,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<OsString>,
    input: Vec<u8>,
    before: Vec<OsString>,
}

/// A session whose command has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The session's name.
    pub name: String,
    /// What came of the command.
    pub outcome: Outcome,
}

/// A session whose command runs. Ended, and its processes killed, when dropped.
#[derive(Debug)]
pub struct Running {
    /// The session's name.
    pub name: String,
    /// The process id of `remit run`, which becomes the command.
    pub pid: u32,
    child: Option<Child>,
}

impl Bed {
    /// A session of a profile, yet to be started.
    pub fn session(&self, profile: &str) -> Builder {
        Builder::new(profile, self.fresh_name(profile))
    }
}

impl Builder {
    fn new(profile: &str, name: String) -> Self {
        let options = crate::words!["run", "--profile", profile, "--name", name];
        let (environment, input, before) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, options, environment, folder: None, input, before }
    }

    /// What `{workdir}` means; an empty folder otherwise.
    pub fn workdir(self, folder: impl AsRef<Path>) -> Self {
        self.option("--workdir", folder.as_ref())
    }

    /// The session's lifetime.
    pub fn ttl(self, ttl: &str) -> Self {
        self.option("--ttl", ttl)
    }

    /// What the session is for.
    pub fn task(self, task: &str) -> Self {
        self.option("--task", task)
    }

    /// A variable of the policy.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.option("--var", format!("{name}={value}"))
    }

    /// Any option of `remit run` that takes a value.
    pub fn option(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.options.extend([name.into(), value.as_ref().to_owned()]);
        self
    }

    /// A variable of the environment.
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The current folder of the command.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().into());
        self
    }

    /// The command's standard input; nothing otherwise.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// A command that `remit run …` is added to, such as `unshare --mount` or `setpriv …`.
    pub fn through<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, command: I) -> Self {
        self.before = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// The session's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole command.
    pub(crate) fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, words: I) -> Command {
        let mut all = self.before.clone();
        all.push("remit".into());
        all.extend(self.options.clone());
        if !self.options.iter().any(|option| option == "--workdir") {
            all.extend(["--workdir".into(), layout::WORK.into()]);
        }
        all.push("--".into());
        all.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]).env("REMIT_SOCKET", layout::SOCKET);
        command.envs(self.environment.iter().cloned());
        command.current_dir(self.folder.as_deref().unwrap_or(OsStr::new("/")));
        command
    }

    /// Runs a command to its end and ends the session.
    #[track_caller]
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(self, words: I) -> Finished {
        let outcome = Outcome::of(&mut self.command(words), &self.input);
        Finished { name: self.name, outcome }
    }

    /// Runs a script of the shell to its end.
    #[track_caller]
    pub fn script(self, script: &str) -> Finished {
        self.run(["sh", "-c", script])
    }

    /// The session of a command that was started.
    pub(crate) fn running(self, child: Child) -> Running {
        Running { pid: child.id(), name: self.name, child: Some(child) }
    }

    /// Starts a command whose output is kept for [`Running::wait`].
    #[track_caller]
    pub fn spawn<I: IntoIterator<Item: AsRef<OsStr>>>(self, words: I) -> Running {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let running = self.running(child);
        running.wait_until_started();
        running
    }
}

impl Finished {
    /// The session's incidents.
    #[track_caller]
    pub fn incidents(&self) -> Vec<Incident> {
        bed().incidents(&self.name)
    }

    /// Itself, when the command's status is `expected`.
    ///
    /// # Panics
    /// When it is another; shows output and incidents.
    #[track_caller]
    pub fn expect(self, expected: i32) -> Self {
        if self.outcome.status != Some(expected) {
            let incidents = crate::incident::list(&self.incidents());
            panic!("expected status {expected}: {}--- incidents\n{incidents}", self.outcome);
        }
        self
    }

    /// The session's only incident.
    ///
    /// # Panics
    /// When there is none, or another one; shows them.
    #[track_caller]
    pub fn incident(&self) -> Incident {
        let incidents = self.incidents();
        match <[Incident; 1]>::try_from(incidents) {
            Ok([incident]) => incident,
            Err(other) => panic!("not one incident:\n{}", crate::incident::list(&other)),
        }
    }

    /// Itself, when nothing was refused to the session.
    ///
    /// # Panics
    /// When something was; shows it.
    #[track_caller]
    pub fn unhindered(self) -> Self {
        let incidents = self.incidents();
        let list = crate::incident::list(&incidents);
        assert!(incidents.is_empty(), "refused:\n{list}{}", self.outcome);
        self
    }
}

impl Running {
    /// A process that no session has; ended when dropped, as one that has.
    pub(crate) fn untagged(child: Child) -> Self {
        Self { name: String::new(), pid: child.id(), child: Some(child) }
    }

    /// Waits until the session is there.
    #[track_caller]
    fn wait_until_started(&self) {
        eventually("the session to start", Duration::from_secs(10), || {
            let answer = http::request(layout::SOCKET, "GET", &self.path(""), "");
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
    }

    /// The session's incidents.
    #[track_caller]
    pub fn incidents(&self) -> Vec<Incident> {
        bed().incidents(&self.name)
    }

    /// Gives the session a tool for an hour.
    #[track_caller]
    pub fn grant(&self, tool: &str) {
        let request = json!({ "tool": tool, "ttl": "1h", "reason": "test" }).to_string();
        bed().ask("POST", &self.path("/grants"), &request).done();
    }

    /// Takes a tool from the session.
    #[track_caller]
    pub fn revoke(&self, tool: &str) {
        bed().ask("DELETE", &self.path(&format!("/grants/{tool}")), "").done();
    }

    /// The session's path of the control interface, and what is below it.
    fn path(&self, below: &str) -> String {
        format!("/v1/sessions/{}{below}", self.name)
    }

    /// Sends a signal to the command's process.
    pub fn signal(&self, signal: i32) {
        send(self.pid, signal);
    }

    /// Waits for the end of the command.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let child = self.child.take().expect("a running session has a child");
        Finished { name: self.name.clone(), outcome: Outcome::after(child, LIMIT) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if !self.name.is_empty() {
            // Where no daemon runs, there is nobody to ask.
            let _ = http::request(layout::SOCKET, "DELETE", &self.path("?kill=true"), "");
        }
        // Where the daemon does not run, or the session is over already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

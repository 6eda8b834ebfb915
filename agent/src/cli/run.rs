//! `remit run`: a command in a session of its own.
//!
//! This process asks the daemon to tag it, and then executes the command, so the command has the tag from its first
//! instruction. Once tagged, this process is confined itself; until it executes the command it touches no file but the
//! command's.

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr, OsString},
    fs,
    io::{self, Write as _},
    os::{
        fd::{BorrowedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::{
    context::{CliError, Context, Exit},
    for_program, signals,
};
use crate::{
    api::{self, PassedFd, StartRequest, client::typed},
    incident::render::printable,
    policy::environment::is_dropped,
};

/// Run a command in a session of its own
///
/// The command starts with the profile's tools and nothing else. Standard input, output and error
/// stay usable; other descriptors are closed, except those named with --pass-fd.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit run --task 'fix #42' --workdir . -- claude
  remit run --profile coder --ttl 1h --name fix-42 -- sh -c 'make test'
  remit run --profile report --var quarter=q3 --pass-fd 3 -- ./report 3<data.csv

Exits with the command's status; 127 if there is no such command, 126 if it can't be run.")]
pub(super) struct Args {
    /// The profile: the tools from the start, and the limits [default: the one whose `program` it is]
    #[arg(long, short)]
    profile: Option<String>,
    /// What the session is for
    #[arg(long, short)]
    task: Option<String>,
    /// The folder that `{workdir}` in the policy means
    #[arg(long, short, default_value = ".", value_name = "DIR")]
    workdir: PathBuf,
    /// End the session after this time: `90s`, `15m`, `8h` [default: the profile's]
    #[arg(long)]
    ttl: Option<String>,
    /// A name for the session [default: the profile's and a number]
    #[arg(long, short)]
    name: Option<String>,
    /// A value for a variable in the policy's paths; may be given several times
    #[arg(long = "var", value_name = "K=V", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Keep this descriptor open for the command; may be given several times
    #[arg(long = "pass-fd", value_name = "N")]
    pass_fds: Vec<u32>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `NAME=VALUE`".to_owned()),
    }
}

impl Args {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let name = self.command.first().cloned().unwrap_or_default();
        let program = find(&name)?;
        let arguments = self
            .command
            .iter()
            .map(|argument| CString::new(argument.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CliError::usage("an argument has a NUL byte", "leave it out"))?;
        if let Some(ttl) = &self.ttl {
            crate::policy::value::duration(ttl)?;
        }
        let passed = passed(&self.pass_fds)?;
        let workdir = workdir(&self.workdir)?;
        let profile = match self.profile {
            Some(profile) => profile,
            None => for_program::profile(context, &name, &program)?,
        };
        let request = StartRequest {
            profile,
            task: self.task,
            workdir,
            ttl: self.ttl,
            name: self.name,
            variables: unique(self.variables)?,
            passed_fds: passed,
        };
        let answer = context.client.post("/v1/sessions", &request)?;
        let started: api::Started = typed(&answer)?;
        Err(become_it(&program, &name, arguments, &started, &self.pass_fds))
    }
}

/// What `--workdir` takes.
const FOLDER: &str = "`--workdir` takes a folder that is there, its path in UTF-8";

/// The work folder as an absolute path. The daemon resolves symbolic links in it, since it refuses those that others
/// may have planted.
fn workdir(given: &Path) -> Result<String, CliError> {
    let shown = given.display();
    let failed = |error| CliError::usage(format!("work folder `{shown}`: {error}"), FOLDER);
    let path = std::path::absolute(given).map_err(failed)?;
    if !fs::metadata(&path).map_err(failed)?.is_dir() {
        return Err(CliError::usage(format!("work folder `{shown}` is not a folder"), FOLDER));
    }
    path.into_os_string().into_string().map_err(|path| {
        let path = path.to_string_lossy().into_owned();
        CliError::usage(format!("work folder `{path}` is not UTF-8"), FOLDER)
    })
}

fn unique(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, CliError> {
    let mut variables = BTreeMap::new();
    for (name, value) in given {
        if variables.contains_key(&name) {
            let message = format!("`--var {name}` is given twice");
            return Err(CliError::usage(message, "one value for each variable"));
        }
        variables.insert(name, value);
    }
    Ok(variables)
}

/// The descriptors that the session gets, with what they refer to.
fn passed(extra: &[u32]) -> Result<Vec<PassedFd>, CliError> {
    let mut passed = Vec::new();
    for fd in [0, 1, 2].iter().chain(extra) {
        match fs::read_link(format!("/proc/self/fd/{fd}")) {
            // A descriptor that this process opened itself can't be passed.
            Ok(target) if !is_our_own(*fd) => {
                passed.push(PassedFd { fd: *fd, target: target.to_string_lossy().into_owned() });
            }
            Err(_) if *fd < 3 => {}
            Ok(_) | Err(_) => {
                let message = format!("descriptor {fd} is not open");
                return Err(CliError::usage(message, format!("open it: `{fd}<FILE`")));
            }
        }
    }
    passed.sort_by_key(|passed| passed.fd);
    passed.dedup();
    Ok(passed)
}

/// Whether this program opened a descriptor itself: those are all close-on-exec, and inherited ones can't be.
fn is_our_own(fd: u32) -> bool {
    let Ok(raw) = RawFd::try_from(fd) else { return false };
    // SAFETY: the call only reads a flag, and fails if the descriptor is not open.
    let flags = unsafe { libc::fcntl(raw, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC != 0
}

/// The command's file, found as execvp(3) does.
fn find(name: &OsStr) -> Result<PathBuf, CliError> {
    let shown = name.to_string_lossy().into_owned();
    let missing = || CliError::failed(format!("`{shown}`: command not found")).status(127);
    let mut refused = None;
    let places: Vec<PathBuf> = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else if name.is_empty() {
        return Err(missing());
    } else {
        let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        env::split_paths(&path).map(|dir| dir.join(name)).collect()
    };
    for place in places {
        match runnable(&place) {
            Ok(()) => return Ok(place),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) => {
            Err(CliError::failed(format!("`{shown}` can't be run: {error}")).status(126))
        }
        None => Err(missing()),
    }
}

fn runnable(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// Executes the command. Returns only if that failed.
fn become_it(
    program: &Path,
    name: &OsStr,
    arguments: Vec<CString>,
    started: &api::Started,
    keep: &[u32],
) -> CliError {
    let shown = name.to_string_lossy().into_owned();
    let session = &started.session;
    let (variables, dropped) = environment(env::vars_os(), &started.environment, &session.id);
    if !dropped.is_empty() {
        say(&format!("not passed on: {}", dropped.join(", ")));
    }
    started.notes.iter().for_each(|note| say(note));
    let environment: Vec<CString> = variables
        .into_iter()
        .filter_map(|(name, value)| {
            let mut text = name.into_vec();
            text.push(b'=');
            text.extend(value.as_bytes());
            CString::new(text).ok()
        })
        .collect();
    let Ok(path) = CString::new(program.as_os_str().as_bytes()) else {
        return CliError::failed(format!("`{shown}` has a NUL byte")).status(126);
    };
    if let Err(error) = close_others(keep) {
        return CliError::failed(format!("can't close descriptors: {error}"));
    }
    signals::restore();
    let error = execute(&path, &arguments, &environment);
    let failed = CliError::failed(match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            format!("`{shown}`: the session's tools don't cover running it")
        }
        _ => format!("`{shown}` can't be run: {error}"),
    });
    let program = program.display();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => failed.help(format!(
            "`remit incidents --session {}` names the file; a tool of profile `{}` has to give \
             `exec` on `{program}`, its interpreter and its loader",
            session.name, session.profile
        )),
        Some(libc::ENOEXEC) => failed.help("a script needs a first line such as `#!/bin/sh`"),
        _ => failed,
    }
    .status(126)
}

/// Writes a line to standard error, where somebody may read it.
fn say(line: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "remit: {}", printable(line));
}

/// The variables of the command's environment, and the names of those that are left out.
fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    changes: &api::Environment,
    session: &str,
) -> (Vec<(OsString, OsString)>, Vec<String>) {
    let mut dropped = Vec::new();
    let mut variables = Vec::new();
    for (name, value) in own {
        let is_set = name == "REMIT_SESSION"
            || name.to_str().is_some_and(|name| changes.set.contains_key(name));
        let is_dropped = |pattern: &String| is_dropped(pattern, name.as_bytes());
        if is_set {
            continue;
        }
        if changes.drop.iter().any(is_dropped) {
            dropped.push(name.to_string_lossy().into_owned());
        } else {
            variables.push((name, value));
        }
    }
    let set = changes.set.iter().map(|(name, value)| (name.into(), value.into()));
    variables.extend(set.chain([("REMIT_SESSION".into(), session.into())]));
    dropped.sort();
    (variables, dropped)
}

/// Makes every descriptor close-on-exec, except the standard ones and those to keep.
fn close_others(keep: &[u32]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 3;
    for fd in keep {
        close_range(first, fd - 1)?;
        let raw = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the descriptor was open just before, and is only borrowed for this call.
        let fd_open = unsafe { BorrowedFd::borrow_raw(raw) };
        rustix::io::fcntl_setfd(fd_open, rustix::io::FdFlags::empty())?;
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

/// Makes a range of descriptors close-on-exec. They are not closed at once, since values in this process still own
/// them.
fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: with CLOEXEC the call uses no memory and closes nothing yet.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `execve(2)`; returns only if it failed.
fn execute(path: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: all are C strings in lists that end in null, and outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_found_as_a_shell_finds_it() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        for (name, status) in [
            ("no-such-command", 127),
            ("/no/such", 127),
            ("", 127),
            ("/etc/passwd", 126),
            ("/", 126),
        ] {
            assert_eq!(find(OsStr::new(name)).unwrap_err().code(), status, "{name}");
        }
    }

    #[test]
    fn variable_given_twice_is_refused() {
        assert_eq!(variable("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(variable("=b").is_err());
        assert!(variable("a").is_err());
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert_eq!(unique(twice).unwrap_err().code(), 2);
    }

    #[test]
    fn environment_is_set_and_dropped_by_the_answer() {
        let own = [("HOME", "/h"), ("GH_TOKEN", "t"), ("TMPDIR", "/tmp"), ("REMIT_SESSION", "0")];
        let own = own.map(|(name, value)| (name.into(), value.into())).into_iter();
        let set = [("TMPDIR".to_owned(), "/tmp/x".to_owned()), ("NEW".to_owned(), "1".to_owned())];
        let drop = ["*_TOKEN", "TMP*", "REMIT_*"].map(str::to_owned).into();
        let changes = api::Environment { set: set.into(), drop };
        let (all, dropped) = environment(own, &changes, "7");
        let all: Vec<_> =
            all.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect();
        assert_eq!(all, ["HOME=/h", "NEW=1", "TMPDIR=/tmp/x", "REMIT_SESSION=7"]);
        assert_eq!(dropped, ["GH_TOKEN"]);
    }

    #[test]
    fn closed_descriptor_is_not_passed() {
        assert_eq!(passed(&[987]).unwrap_err().code(), 2);
        assert!(passed(&[]).unwrap().iter().all(|passed| passed.fd < 3));
    }

    #[test]
    fn descriptor_of_this_program_is_not_passed() {
        use std::os::fd::AsRawFd as _;
        let own = fs::File::open("/dev/null").unwrap();
        let fd = own.as_raw_fd().unsigned_abs();
        assert_eq!(passed(&[fd]).unwrap_err().code(), 2);
        rustix::io::fcntl_setfd(&own, rustix::io::FdFlags::empty()).unwrap();
        assert!(passed(&[fd]).unwrap().iter().any(|passed| passed.fd == fd));
    }
}

//! Checks a request to start a session: work folder, values of variables, mount namespace, number of sessions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ApiError,
    access::Standing,
    peer::Peer,
    state::{Call, Server},
    users,
};
use crate::{
    api::StartRequest,
    policy::{MayStart, pattern::PathPattern, value::duration},
    session::{
        Session,
        folder::{self, Starter, Workplace},
        gitdir,
        model::PassedFd,
        private::{PrivateFolders, Temporary},
        registry::Start,
    },
};

/// The log's remark on a session that an operator starts from another mount namespace than the daemon's.
const OTHER_MOUNTS: &str =
    "started in a mount namespace of its own, where paths may lead elsewhere";

/// A request that was checked, and what was made for it.
pub(super) struct Checked {
    /// The request, as the registry takes it.
    pub(super) start: Start,
    /// The session's temporary folder, to be kept until it is live.
    pub(super) temporary: Option<Temporary>,
    /// What the starter should know.
    pub(super) notes: Vec<String>,
}

/// The conditions for a start, read while the registry was locked.
struct Terms {
    may_start: MayStart,
    workdir: Vec<PathPattern>,
    workplaces: Vec<Workplace>,
    private: Arc<PrivateFolders>,
    /// Which folders of its own a session of the profile may need.
    needs_tmp: bool,
    needs_cache: bool,
    /// Whether some rule has a path in the work folder's repository, and whether the profile's must have one.
    uses_gitdir: bool,
    needs_gitdir: bool,
    /// Work folders of sessions, each with the repository that it had elsewhere.
    repositories: Vec<(PathBuf, Option<PathBuf>)>,
}

/// The request, checked, as the registry takes it. Folders are looked at with the registry unlocked, since that may
/// take a while.
pub(super) fn checked(
    server: &Server,
    call: &Call,
    request: StartRequest,
) -> Result<Checked, ApiError> {
    let ttl = request.ttl.as_deref().map(duration).transpose()?;
    let terms = terms(server, &request.profile)?;
    let is_operator = matches!(call.standing, Standing::Operator);
    let starter = Starter { uid: call.peer.uid, groups: call.peer.groups.clone() };
    let workdir = folder::resolve(&request.workdir, &starter, &terms.workplaces, !is_operator)?;
    if !terms.workdir.is_empty() {
        let home = users::home(starter.uid).unwrap_or_default();
        let home = fs::canonicalize(&home).unwrap_or(home);
        let (user, home) = (users::name(starter.uid), home.to_string_lossy());
        if !folder::is_within(&workdir, &terms.workdir, &user, &home) {
            let message =
                format!("no session of profile `{}` works in `{workdir}`", request.profile);
            let texts: Vec<String> =
                terms.workdir.iter().map(|pattern| format!("`{}`", pattern.text())).collect();
            return Err(
                ApiError::forbidden(message).help(format!("one works in {}", texts.join(", ")))
            );
        }
    }
    let variables = if is_operator {
        request.variables
    } else {
        values(request.variables, &starter, &terms.workplaces)?
    };
    let remark = (mounts(&call.peer, is_operator)?).then_some(OTHER_MOUNTS);
    let passed = request.passed_fds.into_iter().take(1024);
    let mut own = of_user(&starter, &terms.workplaces);
    let notes = of_repository(&workdir, &starter, &terms, &mut own)?;
    let temporary = own_folders(&request.profile, &starter, &terms, &mut own)?;
    let start = Start {
        profile: request.profile,
        task: request.task,
        workdir,
        ttl,
        name: request.name,
        variables,
        own,
        passed_fds: passed.map(|fd| PassedFd { fd: fd.fd, target: fd.target }).collect(),
        most: (!is_operator).then_some(terms.may_start.sessions),
        remark,
    };
    Ok(Checked { start, temporary, notes })
}

/// The values of `{user}` and `{home}`, where there are any that a path can have. The home folder may not be there; if
/// it is, it must be no link of others' to somewhere else.
fn of_user(starter: &Starter, workplaces: &[Workplace]) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    let user = users::name(starter.uid);
    if is_name(&user) {
        own.insert("user".into(), user);
    }
    let home = users::home(starter.uid).unwrap_or_default();
    let text = home.to_string_lossy().into_owned();
    let home = if home.exists() {
        folder::resolve(&text, starter, workplaces, false).ok()
    } else {
        let names = text.strip_prefix('/').into_iter().flat_map(|rest| rest.split('/'));
        let is_path = text.len() > 1 && text.starts_with('/') && names.clone().all(is_name);
        is_path.then_some(text)
    };
    own.extend(home.filter(|home| !home.contains('*')).map(|home| ("home".into(), home)));
    own
}

/// Finds the work folder's repository, if it lies elsewhere. Returns what the starter should know.
fn of_repository(
    workdir: &str,
    starter: &Starter,
    terms: &Terms,
    own: &mut BTreeMap<String, String>,
) -> Result<Vec<String>, ApiError> {
    let workdir = Path::new(workdir);
    let there = terms.repositories.iter().filter(|(place, _)| workdir.starts_with(place));
    let former: Vec<Option<PathBuf>> = there.map(|(_, folder)| folder.clone()).collect();
    match gitdir::find(workdir, starter, &terms.workplaces, &former) {
        Ok(found) => {
            let Some(repository) = found else { return Ok(Vec::new()) };
            own.insert("gitdir".into(), repository.folder.to_string_lossy().into_owned());
            own.extend(repository.worktree.map(|name| ("worktree".into(), name)));
            Ok(Vec::new())
        }
        Err(why) if terms.needs_gitdir => {
            Err(ApiError::bad("the profile needs the work folder's repository").help(why))
        }
        Err(why) if terms.uses_gitdir => {
            Ok(vec![format!("no tool covers the work folder's repository: {why}")])
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// Whether a text is the name of a file, without what rules would take for more.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '*', '\0'])
}

/// Makes the folders of the session's own that some rule or its environment needs. A rule of any tool counts, also of
/// one that the profile does not name: an operator may grant it later.
fn own_folders(
    profile: &str,
    starter: &Starter,
    terms: &Terms,
    own: &mut BTreeMap<String, String>,
) -> Result<Option<Temporary>, ApiError> {
    let gid = starter.groups.first().copied().unwrap_or(u32::MAX);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if terms.needs_cache {
        let cache = terms.private.cache(profile, starter.uid, gid)?;
        own.insert("cache".into(), text(&cache));
    }
    if !terms.needs_tmp {
        return Ok(None);
    }
    let temporary = terms.private.temporary(starter.uid, gid)?;
    own.insert("tmp".into(), text(temporary.path()));
    Ok(Some(temporary))
}

fn terms(server: &Server, profile: &str) -> Result<Terms, ApiError> {
    let registry = server.sessions.lock();
    let profile = registry.profile(profile)?;
    let needs = |variable: &str| {
        let set = &profile.environment.set;
        registry.compiled().uses(variable) || set.values().any(|value| value.uses(variable))
    };
    let sessions = || registry.live().chain(registry.ended());
    let repository = |session: &Session| {
        let folder = session.variables.get("gitdir").map(PathBuf::from);
        (PathBuf::from(&session.workdir), folder)
    };
    let git = ["gitdir", "worktree"];
    Ok(Terms {
        may_start: profile.may_start.clone(),
        workdir: profile.workdir.clone(),
        workplaces: sessions()
            .map(|session| (PathBuf::from(&session.workdir), session.name.clone()))
            .collect(),
        private: Arc::clone(registry.private()),
        needs_tmp: needs("tmp"),
        needs_cache: needs("cache"),
        uses_gitdir: git.into_iter().any(needs),
        needs_gitdir: git.into_iter().any(|name| profile.variables.contains(name)),
        repositories: sessions().map(repository).collect(),
    })
}

/// The values of variables, checked: a path must be a folder that the starter may write, like the work folder; any
/// other value is a part of a name.
fn values(
    given: BTreeMap<String, String>,
    starter: &Starter,
    workplaces: &[Workplace],
) -> Result<BTreeMap<String, String>, ApiError> {
    let value = |(name, value): (String, String)| {
        if !value.contains('/') {
            return Ok((name, value));
        }
        let folder = folder::resolve(&value, starter, workplaces, true)
            .map_err(|problem| ApiError::from(problem).about(&format!("`--var {name}`")))?;
        Ok((name, folder))
    };
    given.into_iter().map(value).collect()
}

/// Whether the peer has another mount namespace than the daemon. In one that a user made, any file could be at a path
/// that the rules name, so only an operator may start a session from one.
///
/// # Errors
/// It does and is no operator, or it can't be told.
pub(super) fn mounts(peer: &Peer, is_operator: bool) -> Result<bool, ApiError> {
    match peer.has_own_mounts() {
        Ok(true) if !is_operator => {
            let message = "a session can't be started from another mount namespace";
            let help = "start it from outside of `unshare`, of a sandbox or container: there, other files could \
                        lie at the paths that the policy names; an operator may";
            Err(ApiError::forbidden(message).help(help))
        }
        Ok(has_own) => Ok(has_own),
        Err(error) => Err(ApiError::forbidden(format!(
            "it can't be told in which mount namespace you are: {error}"
        ))),
    }
}

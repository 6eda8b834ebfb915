//! Checks a request to start a session: work folder, values of variables, mount namespace, number of sessions.

use std::{collections::BTreeMap, fs, path::PathBuf};

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
        folder::{self, Starter, Workplace},
        model::PassedFd,
        registry::Start,
    },
};

/// The log's remark on a session that an operator starts from another mount namespace than the daemon's.
const OTHER_MOUNTS: &str =
    "started in a mount namespace of its own, where paths may lead elsewhere";

/// The conditions for a start, read while the registry was locked.
struct Terms {
    may_start: MayStart,
    workdir: Vec<PathPattern>,
    workplaces: Vec<Workplace>,
}

/// The request, checked, as the registry takes it. Folders are looked at with the registry unlocked, since that may
/// take a while.
pub(super) fn checked(
    server: &Server,
    call: &Call,
    request: StartRequest,
) -> Result<Start, ApiError> {
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
    Ok(Start {
        profile: request.profile,
        task: request.task,
        workdir,
        ttl,
        name: request.name,
        variables,
        passed_fds: passed.map(|fd| PassedFd { fd: fd.fd, target: fd.target }).collect(),
        most: (!is_operator).then_some(terms.may_start.sessions),
        remark,
    })
}

fn terms(server: &Server, profile: &str) -> Result<Terms, ApiError> {
    let registry = server.sessions.lock();
    let profile = registry.profile(profile)?;
    let sessions = registry.live().chain(registry.ended());
    Ok(Terms {
        may_start: profile.may_start.clone(),
        workdir: profile.workdir.clone(),
        workplaces: sessions
            .map(|session| (PathBuf::from(&session.workdir), session.name.clone()))
            .collect(),
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

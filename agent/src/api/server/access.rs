//! Who may do what, by the peer's session and credentials. Pure functions: asking the kernel is the caller's.

use agent_common::id::{SessionId, Tag};

use super::{ApiError, peer::Peer, users};
use crate::{
    bpf::Confinement,
    policy::{Policy, Profile, diagnostic::nearest},
};

/// The standing of a peer: what it may do follows from it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to a session. Then its user does not matter, not even root.
    Confined(Tag),
    /// Root, or a member of the operators' group.
    Operator,
    /// Any other user, with the profiles that it may start.
    User(Vec<String>),
}

/// What a request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks who the peer is.
    WhoAmI,
    /// Asks whether the daemon works.
    Health,
    /// Starts a session of this profile.
    Start(String),
    /// Shows one session. [`may_see`] decides which, once it was found.
    Show,
    /// Lists sessions: those that the peer may see.
    List,
    /// Reads the log: the lines that the peer may see.
    Read,
    /// Anything else.
    Operate,
}

/// Whose connections and failed attempts are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// All processes of a session.
    Session(SessionId),
    /// A user's processes outside of all sessions.
    User(u32),
}

/// The standing of a peer.
///
/// # Errors
/// The kernel does not tell whether the peer belongs to a session: whatever it asks is refused then.
pub fn standing(
    peer: &Peer,
    confinement: Confinement,
    group: &str,
    policy: &Policy,
) -> Result<Standing, ApiError> {
    match confinement {
        Confinement::Of(tag) => return Ok(Standing::Confined(tag)),
        Confinement::None => {}
        Confinement::Unknown(error) => {
            let message = format!("it can't be told whether you are in a session: {error}");
            return Err(ApiError::forbidden(message));
        }
    }
    if is_operator(peer.uid, &peer.groups, || users::gid(group)) {
        return Ok(Standing::Operator);
    }
    let startable = policy
        .profiles
        .iter()
        .filter(|(_, profile)| may_start(profile, peer.uid, &peer.groups))
        .map(|(name, _)| name.clone())
        .collect();
    Ok(Standing::User(startable))
}

/// Whether a peer outside of all sessions is an operator. Root is asked for without the group, which may have to be
/// looked up over the network.
fn is_operator(uid: u32, groups: &[u32], group: impl FnOnce() -> Option<u32>) -> bool {
    // Group zero, or a group that the host does not know, makes nobody an operator.
    uid == 0 || group().is_some_and(|group| group != 0 && groups.contains(&group))
}

fn may_start(profile: &Profile, uid: u32, groups: &[u32]) -> bool {
    let user = |name: &String| users::uid(name) == Some(uid);
    let group = |name: &String| users::gid(name).is_some_and(|gid| groups.contains(&gid));
    profile.may_start.users.iter().any(user) || profile.may_start.groups.iter().any(group)
}

/// Whether a peer of this standing may do something.
///
/// # Errors
/// The refusal.
pub fn allow(standing: &Standing, action: &Action) -> Result<(), ApiError> {
    match (standing, action) {
        (_, Action::WhoAmI | Action::Show | Action::Read) | (Standing::Operator, _) => Ok(()),
        (Standing::Confined(_), _) => Err(ApiError::confined()),
        (Standing::User(_), Action::Health | Action::List) => Ok(()),
        (Standing::User(profiles), Action::Start(profile)) => {
            if profiles.contains(profile) {
                Ok(())
            } else {
                let message = format!("there is no profile `{profile}` that you may start");
                Err(ApiError::forbidden(message).help(startable(profile, profiles)))
            }
        }
        (Standing::User(_), Action::Operate) => {
            Err(ApiError::forbidden("only root and the operators' group may do this"))
        }
    }
}

/// What a user may start instead. It says nothing of other profiles, of which the user need not know.
fn startable(asked: &str, profiles: &[String]) -> String {
    if let Some(meant) = nearest(asked, profiles.iter().map(String::as_str)) {
        return format!("did you mean `{meant}`?");
    }
    let names: Vec<String> = profiles.iter().map(|name| format!("`{name}`")).collect();
    let may = "whom a profile's `may_start` names may start it, and operators every one";
    if names.is_empty() { may.into() } else { format!("you may start {}; {may}", names.join(", ")) }
}

/// Whether a peer of this standing and user may see a session, which is given by its id and its starter's user.
pub fn may_see(standing: &Standing, peer: u32, session: SessionId, starter: u32) -> bool {
    match standing {
        Standing::Operator => true,
        Standing::Confined(tag) => session == tag.session,
        Standing::User(_) => peer == starter,
    }
}

/// The answer to a peer that asked for a session that it may not see, or that is not there: it is not told which.
pub fn unseen(standing: &Standing) -> ApiError {
    match standing {
        Standing::Confined(_) => ApiError::confined(),
        _ => ApiError::forbidden("you started no such session")
            .help("root and the operators' group see those of others"),
    }
}

#[cfg(test)]
mod tests {
    use agent_common::id::Slot;

    use super::*;

    const TAG: Tag = Tag { session: SessionId(7), slot: Slot(1), marks: 0 };

    #[test]
    fn standing_decides_who_may_do_what() {
        let start = || Action::Start("coder".into());
        let confined = Standing::Confined(TAG);
        let starter = Standing::User(vec!["coder".into()]);
        let nobody = Standing::User(Vec::new());
        let cases = [
            (&confined, Action::WhoAmI, None),
            (&confined, Action::Show, None),
            (&confined, Action::Read, None),
            (&confined, Action::List, Some("confined")),
            (&confined, Action::Health, Some("confined")),
            (&confined, start(), Some("confined")),
            (&confined, Action::Operate, Some("confined")),
            (&Standing::Operator, Action::WhoAmI, None),
            (&Standing::Operator, Action::Show, None),
            (&Standing::Operator, Action::Health, None),
            (&Standing::Operator, start(), None),
            (&Standing::Operator, Action::Operate, None),
            (&starter, Action::WhoAmI, None),
            (&starter, Action::Health, None),
            (&starter, start(), None),
            (&starter, Action::Start("other".into()), Some("forbidden")),
            (&starter, Action::Show, None),
            (&starter, Action::List, None),
            (&nobody, Action::Read, None),
            (&starter, Action::Operate, Some("forbidden")),
            (&nobody, start(), Some("forbidden")),
            (&nobody, Action::WhoAmI, None),
        ];
        for (standing, action, refusal) in cases {
            let answer = allow(standing, &action);
            let code = answer.as_ref().err().map(|error| error.body.code.as_str());
            assert_eq!(code, refusal, "{standing:?}: {action:?}");
        }
    }

    #[test]
    fn user_who_misspells_a_profile_is_told_the_nearest_that_they_may_start() {
        let help = |asked: &str| {
            let user = Standing::User(vec!["coder".into()]);
            let error = allow(&user, &Action::Start(asked.into())).unwrap_err();
            assert!(error.body.message.contains(&format!("no profile `{asked}` that you may")));
            error.body.help.unwrap()
        };
        assert_eq!(help("codr"), "did you mean `coder`?");
        assert!(help("auditor").starts_with("you may start `coder`;"));
    }

    #[test]
    fn peer_sees_its_own_sessions_only() {
        let (confined, user) = (Standing::Confined(TAG), Standing::User(Vec::new()));
        assert!(may_see(&confined, 1000, SessionId(7), 0));
        assert!(!may_see(&confined, 1000, SessionId(8), 1000));
        assert!(may_see(&user, 1000, SessionId(8), 1000));
        assert!(!may_see(&user, 1000, SessionId(8), 1001));
        assert!(may_see(&Standing::Operator, 0, SessionId(8), 1001));
    }

    #[test]
    fn operator_is_root_or_of_the_group() {
        assert!(is_operator(0, &[5], || panic!("root needs no group")));
        assert!(is_operator(1000, &[1000, 30], || Some(30)));
        assert!(!is_operator(1000, &[1000], || Some(30)));
        assert!(!is_operator(1000, &[1000, 0], || None));
        assert!(!is_operator(1000, &[1000, 0], || Some(0)));
    }
}

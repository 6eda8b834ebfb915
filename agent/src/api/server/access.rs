//! Who may do what, by the peer's session and credentials. Pure functions: asking the kernel is the caller's.

use agent_common::id::{SessionId, Tag};

use super::{ApiError, peer::Peer, users};
use crate::{
    bpf::Confinement,
    policy::{Policy, Profile},
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
    /// Shows one session. [`allow_session`] decides which, once it was found.
    Show,
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
        (_, Action::WhoAmI) | (Standing::Operator, _) | (Standing::Confined(_), Action::Show) => {
            Ok(())
        }
        (Standing::Confined(_), _) => Err(ApiError::confined()),
        (Standing::User(_), Action::Health) => Ok(()),
        (Standing::User(profiles), Action::Start(profile)) => {
            if profiles.contains(profile) {
                Ok(())
            } else {
                Err(ApiError::forbidden(format!(
                    "you may not start a session of profile `{profile}`"
                ))
                .help("root, the operators' group, and those that its `may_start` names may"))
            }
        }
        (Standing::User(_), Action::Show | Action::Operate) => {
            Err(ApiError::forbidden("only root and the operators' group may do this"))
        }
    }
}

/// Whether a peer of this standing may see a session.
///
/// # Errors
/// The refusal.
pub fn allow_session(standing: &Standing, session: Option<SessionId>) -> Result<(), ApiError> {
    match standing {
        Standing::Confined(tag) if session != Some(tag.session) => Err(ApiError::confined()),
        _ => Ok(()),
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
            (&starter, Action::Show, Some("forbidden")),
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
    fn confined_peer_sees_its_own_session_only() {
        let confined = Standing::Confined(TAG);
        assert!(allow_session(&confined, Some(SessionId(7))).is_ok());
        assert!(allow_session(&confined, Some(SessionId(8))).is_err());
        assert!(allow_session(&confined, None).is_err());
        assert!(allow_session(&Standing::Operator, Some(SessionId(8))).is_ok());
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

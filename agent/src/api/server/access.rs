//! Who may do what. Decided for each request, by the peer's credentials and by its tag.

use agent_common::id::{SessionId, Tag};

use super::{ApiError, peer::Peer, users};
use crate::{
    bpf::Confinement,
    policy::{Policy, Profile},
};

/// What a peer is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to a session. Nothing else counts then, not even root.
    Confined(Tag),
    /// Root, or of the group that operates.
    Operator,
    /// Anybody else, with the profiles that it may start.
    User(Vec<String>),
}

/// What a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who it is.
    WhoAmI,
    /// Whether the daemon lives.
    Health,
    /// To start a session of that profile.
    Start(String),
    /// To see one session; whether it is the peer's own is decided when it is known.
    Show,
    /// Anything else.
    Operate,
}

/// Establishes what a peer is.
///
/// # Errors
/// The kernel does not say whether the peer is tagged: it is refused then.
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
    if operates(peer.uid, &peer.groups, users::gid(group)) {
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

/// Whether somebody untagged operates.
fn operates(uid: u32, groups: &[u32], group: Option<u32>) -> bool {
    // A group of number zero, or one that the host does not know, makes nobody an operator.
    uid == 0 || group.is_some_and(|group| group != 0 && groups.contains(&group))
}

fn may_start(profile: &Profile, uid: u32, groups: &[u32]) -> bool {
    let user = |name: &String| users::uid(name) == Some(uid);
    let group = |name: &String| users::gid(name).is_some_and(|gid| groups.contains(&gid));
    profile.may_start.users.iter().any(user) || profile.may_start.groups.iter().any(group)
}

/// Whether somebody may ask for something.
///
/// # Errors
/// The refusal.
pub fn allow(standing: &Standing, ask: &Ask) -> Result<(), ApiError> {
    match (standing, ask) {
        (_, Ask::WhoAmI) | (Standing::Operator, _) | (Standing::Confined(_), Ask::Show) => Ok(()),
        (Standing::Confined(_), _) => Err(ApiError::confined()),
        (Standing::User(_), Ask::Health) => Ok(()),
        (Standing::User(profiles), Ask::Start(profile)) => {
            if profiles.contains(profile) {
                Ok(())
            } else {
                Err(ApiError::forbidden(format!(
                    "you may not start a session of profile `{profile}`"
                ))
                .help("root, the operators' group, and those that its `may_start` names may"))
            }
        }
        (Standing::User(_), Ask::Show | Ask::Operate) => {
            Err(ApiError::forbidden("only root and the operators' group may do this"))
        }
    }
}

/// Whether somebody may see a session.
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
    fn table_of_who_may_do_what() {
        let start = || Ask::Start("coder".into());
        let confined = Standing::Confined(TAG);
        let starter = Standing::User(vec!["coder".into()]);
        let nobody = Standing::User(Vec::new());
        let cases = [
            (&confined, Ask::WhoAmI, None),
            (&confined, Ask::Show, None),
            (&confined, Ask::Health, Some("confined")),
            (&confined, start(), Some("confined")),
            (&confined, Ask::Operate, Some("confined")),
            (&Standing::Operator, Ask::WhoAmI, None),
            (&Standing::Operator, Ask::Show, None),
            (&Standing::Operator, Ask::Health, None),
            (&Standing::Operator, start(), None),
            (&Standing::Operator, Ask::Operate, None),
            (&starter, Ask::WhoAmI, None),
            (&starter, Ask::Health, None),
            (&starter, start(), None),
            (&starter, Ask::Start("other".into()), Some("forbidden")),
            (&starter, Ask::Show, Some("forbidden")),
            (&starter, Ask::Operate, Some("forbidden")),
            (&nobody, start(), Some("forbidden")),
            (&nobody, Ask::WhoAmI, None),
        ];
        for (standing, ask, refusal) in cases {
            let answer = allow(standing, &ask);
            let code = answer.as_ref().err().map(|error| error.body.code.as_str());
            assert_eq!(code, refusal, "{standing:?} asks {ask:?}");
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
    fn root_and_the_group_operate() {
        assert!(operates(0, &[5], None));
        assert!(operates(1000, &[1000, 30], Some(30)));
        assert!(!operates(1000, &[1000], Some(30)));
        assert!(!operates(1000, &[1000, 0], None));
        assert!(!operates(1000, &[1000, 0], Some(0)));
    }
}

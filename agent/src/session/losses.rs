//! What a session may still have of a tool that it lost. The kernel refuses every use from the moment of the loss; here
//! connections are reset, processes that used the tool are killed where the policy says so, and mappings that remain
//! are logged.

use super::{Error, Id, Sessions, kill_users, mappings, model::Lost};

/// Deals with all losses since the last call. Costs nothing if there were none.
///
/// # Errors
/// Processes that should have been killed live on. The log has it.
pub fn settle(sessions: &Sessions) -> Result<(), Error> {
    sessions.lock().reset_lost_connections();
    let lost = sessions.lock().take_lost();
    let mut ids: Vec<Id> = lost.iter().map(|lost| lost.session).collect();
    ids.dedup();
    let mut outcome = Ok(());
    for id in ids {
        let of_session: Vec<&Lost> = lost.iter().filter(|lost| lost.session == id).collect();
        let settled = kill_users::settle(sessions, id, &of_session).and(mappings::log_remaining(
            sessions,
            id,
            &of_session,
        ));
        if let Err(error) = &settled {
            tracing::error!("{error}");
        }
        outcome = outcome.and(settled);
    }
    outcome
}

//! The catalogue of attacks: what an agent might try, each beside the same act on what it may use.
//!
//! One file a group. Each attack is tried as root and as an ordinary user in a session, where it is to
//! come out as the catalogue says, and by both outside of every session, where nothing is refused. What
//! came of it is written down for `docs/attacks.md`.

mod audit;
mod catalogue;
mod holes;
mod record;
mod run;
mod scene;
mod servers;

/// A group's file, and its tests: in a session as root and as an ordinary user, and outside of all.
macro_rules! groups {
    ($($group:ident: $root:ident, $user:ident, $untagged:ident;)*) => {
        $(
            mod $group;

            #[test]
            fn $root() {
                run::confined(stringify!($group), &$group::attacks(), scene::User::Root);
            }

            #[test]
            fn $user() {
                run::confined(stringify!($group), &$group::attacks(), scene::User::Ordinary);
            }

            #[test]
            fn $untagged() {
                run::unconfined(stringify!($group), &$group::attacks());
            }
        )*

        /// All groups, each with its attacks.
        fn all_groups() -> Vec<(&'static str, Vec<catalogue::Attack>)> {
            vec![$((stringify!($group), $group::attacks())),*]
        }
    };
}

#[test]
#[ignore = "takes a daemon for each hook: `cargo xtask test --without all`"]
fn hooks_are_each_missed_when_left_out() {
    holes::search(&all_groups());
}

groups! {
    descriptors: attacks_on_descriptors_as_root, attacks_on_descriptors_as_user,
        attacks_on_descriptors_untagged;
    exec: attacks_by_exec_as_root, attacks_by_exec_as_user, attacks_by_exec_untagged;
    files: attacks_on_files_as_root, attacks_on_files_as_user, attacks_on_files_untagged;
    identity: attacks_on_identity_as_root, attacks_on_identity_as_user,
        attacks_on_identity_untagged;
    ipc: attacks_by_ipc_as_root, attacks_by_ipc_as_user, attacks_by_ipc_untagged;
    names: attacks_on_names_as_root, attacks_on_names_as_user, attacks_on_names_untagged;
    namespaces: attacks_by_namespaces_as_root, attacks_by_namespaces_as_user,
        attacks_by_namespaces_untagged;
    odd: attacks_by_odd_calls_as_root, attacks_by_odd_calls_as_user, attacks_by_odd_calls_untagged;
    privileges: attacks_by_privileges_as_root, attacks_by_privileges_as_user,
        attacks_by_privileges_untagged;
    processes: attacks_on_processes_as_root, attacks_on_processes_as_user,
        attacks_on_processes_untagged;
    races: attacks_by_races_as_root, attacks_by_races_as_user, attacks_by_races_untagged;
    remit: attacks_on_remit_as_root, attacks_on_remit_as_user, attacks_on_remit_untagged;
    sockets: attacks_by_sockets_as_root, attacks_by_sockets_as_user, attacks_by_sockets_untagged;
    terminals: attacks_on_terminals_as_root, attacks_on_terminals_as_user,
        attacks_on_terminals_untagged;
    unix: attacks_on_unix_sockets_as_root, attacks_on_unix_sockets_as_user,
        attacks_on_unix_sockets_untagged;
    uring: attacks_by_io_uring_as_root, attacks_by_io_uring_as_user, attacks_by_io_uring_untagged;
}

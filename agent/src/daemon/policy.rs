//! The policy that a start puts in force: the folder's; if that has errors, the last good one; if there is none, one
//! that allows nothing. The daemon comes up with each, and says which.

use std::path::Path;

use crate::{
    policy::{self, Diagnostic, Policy},
    session::{
        Actor, Error, Registry,
        acts::Act,
        policy_dir::{checked, finish_push, mend},
        registry::empty,
    },
    troubles::{Trouble, Troubles},
};

/// Puts a policy in force at the daemon's start: of the policy's folder and the folder of what ships.
///
/// # Errors
/// The kernel refused even a policy that allows nothing.
pub(super) fn put_in_force(
    registry: &mut Registry,
    (dir, shipped): (&Path, &Path),
    troubles: &Troubles,
) -> Result<(), Error> {
    if let Err(error) = finish_push(dir) {
        tracing::error!("can't end a push that was interrupted, in `{}`: {error}", dir.display());
    }
    let Err(wrong) = install_from_folder(registry, dir, shipped) else { return Ok(()) };
    let help = mend(dir);
    match install_last_good(registry) {
        Ok(true) => troubles
            .begin(Trouble::Policy, format!("the last good policy is in force: {wrong}; {help}")),
        kept => {
            let none =
                kept.err().map_or_else(|| "none".to_owned(), |error| format!("none ({error})"));
            install(registry, empty())?;
            let message = format!(
                "a policy that allows nothing is in force: {wrong}; of the last good one there is {none}; {help}"
            );
            troubles.begin(Trouble::Policy, message);
        }
    }
    Ok(())
}

/// Puts the folder's policy in force, and prints everything that is wrong with it.
fn install_from_folder(registry: &mut Registry, dir: &Path, shipped: &Path) -> Result<(), Error> {
    let files = policy::with_shipped(policy::read(dir)?, shipped)?;
    let policy = checked(&files).inspect_err(|error| {
        if let Error::Policy(diagnostics) = error {
            print(diagnostics);
        }
    })?;
    print(&policy.warnings);
    install(registry, policy)?;
    registry.keep_policy(&files);
    Ok(())
}

/// Puts the last good policy in force, with what it took by `use` then; returns whether there is one.
fn install_last_good(registry: &mut Registry) -> Result<bool, Error> {
    let Some(files) = registry.last_policy()? else { return Ok(false) };
    install(registry, checked(&files)?)?;
    Ok(true)
}

fn install(registry: &mut Registry, policy: Policy) -> Result<(), Error> {
    registry.install(policy, Act::DaemonStart, &Actor::daemon()).map(drop)
}

fn print(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::session::registry::tests::{POLICY, World};

    /// The profiles in force after a start with this folder, and the troubles.
    fn begin(world: &World, dir: &Path) -> (Vec<String>, Vec<String>) {
        let troubles = Arc::clone(&world.troubles);
        troubles.end(Trouble::Policy);
        let mut registry = world.take_over();
        let shipped = world.dir.path().join("shipped");
        put_in_force(&mut registry, (dir, &shipped), &troubles).unwrap();
        (registry.policy().profiles.keys().cloned().collect(), troubles.list())
    }

    #[test]
    fn start_with_a_bad_folder_takes_the_last_good_policy_or_none() {
        let world = World::new();
        let dir = world.dir.path().join("policy.d");
        // A new host without the folder.
        let (profiles, said) = begin(&world, &dir);
        assert!(profiles.is_empty());
        assert!(
            said[0].contains("allows nothing") && said[0].contains("does not exist"),
            "{said:?}"
        );
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.toml"), POLICY).unwrap();
        let good = vec!["coder".to_owned(), "watcher".to_owned()];
        assert_eq!(begin(&world, &dir), (good.clone(), Vec::new()));
        // An error in it, and no folder at all.
        fs::write(dir.join("b.toml"), "schema = 1\n[profile.x]\ntools = [\"y\"]\n").unwrap();
        let (profiles, said) = begin(&world, &dir);
        assert_eq!(profiles, good);
        assert!(said[0].contains("last good policy") && said[0].contains("1 error"), "{said:?}");
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(begin(&world, &dir).0, good);
        // What it took is kept with it: what ships may have changed or gone since.
        let shipped = world.dir.path().join("shipped");
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir(&shipped).unwrap();
        fs::write(dir.join("a.toml"), "schema = 1\nuse = [\"kit\"]\n").unwrap();
        fs::write(shipped.join("kit.toml"), "schema = 1\n[profile.kit]\n").unwrap();
        let kit = vec!["kit".to_owned()];
        assert_eq!(begin(&world, &dir), (kit.clone(), Vec::new()));
        for text in [Some("schema = 1\n[profile.other]\nx = 1\n"), None] {
            match text {
                Some(text) => fs::write(shipped.join("kit.toml"), text).unwrap(),
                None => fs::remove_dir_all(&shipped).unwrap(),
            }
            let (profiles, said) = begin(&world, &dir);
            assert_eq!(profiles, kit);
            assert!(said[0].contains("last good policy"), "{said:?}");
        }
        // The last good one damaged.
        fs::write(world.dir.path().join("policy.json"), "{").unwrap();
        let (profiles, said) = begin(&world, &dir);
        assert!(profiles.is_empty() && said[0].contains("policy.json"), "{said:?}");
    }
}

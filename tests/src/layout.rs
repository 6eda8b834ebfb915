//! Where everything of the tests lies.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What the daemon owns.
pub const HOME: &str = "/run/remit-test";
/// The control socket.
pub const SOCKET: &str = "/run/remit-test/socket/control.sock";
/// The daemon's settings.
pub const SETTINGS: &str = "/run/remit-test/remitd.toml";
/// The policy's folder.
pub const POLICY: &str = "/run/remit-test/policy.d";
/// What ships, for `use`.
pub const SHIPPED: &str = "/run/remit-test/shipped";
/// The daemon's state.
pub const STATE: &str = "/run/remit-test/state";
/// Where sessions' caches are kept.
pub const CACHE: &str = "/run/remit-test/cache";
/// The folder of the log.
pub const LOG: &str = "/run/remit-test/log";
/// The pins.
pub const PINS: &str = "/sys/fs/bpf/remit-test";
/// Programs that sessions of the tests may run.
pub const PROGRAMS: &str = "/run/remit-test/bin";
/// The work folder of sessions that are given none: empty.
pub const WORK: &str = "/run/remit-test/work";
/// What the daemon says.
pub const DAEMON_LOG: &str = "/run/remit-test/remitd.log";
/// Files that tests confine: no rule of the harness covers any.
pub const FILES: &str = "/srv/test";

/// The program that tries operations.
pub fn probe() -> PathBuf {
    Path::new(PROGRAMS).join("probe")
}

/// Makes sure that this is a guest of `cargo xtask test`: the tests change the host that they run on.
///
/// # Panics
/// When it is not.
pub fn check_guest() {
    assert!(
        env::var_os("REMIT_GUEST").is_some(),
        "the integration tests take over the host that they run on: run them by `cargo xtask test`"
    );
}

/// The kernel's series as `cargo xtask test --kernel` takes it: `6.12`.
pub fn kernel() -> String {
    env::var("REMIT_KERNEL").unwrap_or_default()
}

/// Whether tests take the time that they would like to (`REMIT_LONG=1 cargo xtask test`).
pub fn is_long() -> bool {
    env::var("REMIT_LONG").is_ok_and(|long| !long.is_empty())
}

/// Whether tests that take minutes run on this kernel: the one that is developed on, and all in a long run.
pub fn takes_slow_tests() -> bool {
    is_long() || kernel() == "6.12"
}

/// Lays out empty folders and the programs for sessions.
pub fn make() {
    for folder in [POLICY, STATE, LOG, FILES, WORK] {
        empty(Path::new(folder));
    }
    // Users start sessions, too.
    fs::set_permissions(WORK, Permissions::from_mode(0o1777)).expect("the folder can be opened up");
    fs::create_dir_all(PROGRAMS).expect("the programs' folder can be made");
    fs::create_dir_all("/run/remit-test/socket").expect("the socket's folder can be made");
    let settings = format!(
        "policy_dir = \"{POLICY}\"\nshipped_dir = \"{SHIPPED}\"\nstate_dir = \"{STATE}\"\nlog_dir = \"{LOG}\"\n\
         socket = \"{SOCKET}\"\npin_dir = \"{PINS}\"\ncache_dir = \"{CACHE}\"\n\
         detach_after = \"1h\"\n"
    );
    fs::write(SETTINGS, settings).expect("the settings can be written");
    ship();
    let built = built("probe");
    // What another executable's tests left running still has the former one open.
    if probe().exists() {
        fs::remove_file(probe()).expect("the former probe can be removed");
    }
    fs::copy(&built, probe()).unwrap_or_else(|error| panic!("copy `{}`: {error}", built.display()));
}

/// Lays out what ships, as it is installed.
///
/// # Panics
/// When it can't be read or written.
pub fn ship() {
    empty(Path::new(SHIPPED));
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/policy"));
    for entry in fs::read_dir(sources).unwrap_or_else(|e| panic!("{}: {e}", sources.display())) {
        let name = entry.expect("the folder can be listed").file_name();
        if name != "default.toml" {
            fs::copy(sources.join(&name), Path::new(SHIPPED).join(&name))
                .expect("it can be copied");
        }
    }
}

/// An executable of this crate: it lies one folder above the tests', and beside the others.
fn built(name: &str) -> PathBuf {
    let own = env::current_exe().expect("an executable has a path");
    let folder = own.parent().expect("it lies in a folder");
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    folder.expect("it lies in `target/…`").join(name)
}

/// Makes a folder, or empties it. By `rm`, which needs no descriptor for each level of a deep tree.
///
/// # Panics
/// When something in it can't be removed.
pub fn empty(folder: &Path) {
    let shown = folder.display();
    if folder.exists() {
        let removed = Command::new("rm").arg("-rf").arg(folder).status();
        assert!(removed.is_ok_and(|status| status.success()), "can't empty `{shown}`");
    }
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("make `{shown}`: {error}"));
}

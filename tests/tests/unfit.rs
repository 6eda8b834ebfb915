//! A host that can't enforce: the daemon says so and does not start, and nothing is left of the attempt.
//! `cargo xtask test` boots a kernel without BPF security modules for these.

use std::{fs, path::Path, process::Command};

use tests::{Outcome, layout};

/// Lays out settings and a policy that are right, so that only the host is wrong.
fn lay_out() {
    layout::check_guest();
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap();
    assert!(
        !modules.split(',').any(|module| module == "bpf"),
        "this kernel can enforce: {modules}"
    );
    layout::make();
    fs::write(Path::new(layout::POLICY).join("10-test.toml"), "schema = 1\n[profile.p]\n").unwrap();
}

fn run(program: &str, arguments: &[&str]) -> Outcome {
    Outcome::of(Command::new(program).env("REMIT_SOCKET", layout::SOCKET).args(arguments), &[])
}

#[test]
fn daemon_does_not_start_and_leaves_nothing() {
    lay_out();
    let daemon = run("remitd", &["--config", layout::SETTINGS]).expect(1);
    for part in [
        "does not run BPF programs as a security module",
        "landlock,yama",
        "`lsm=`",
        "`remit doctor`",
    ] {
        assert!(daemon.stderr.contains(part), "no {part}: {daemon}");
    }
    assert!(!daemon.stderr.contains("panicked"), "{daemon}");
    assert!(!Path::new(layout::PINS).exists(), "something is pinned");
    assert!(!Path::new(layout::SOCKET).exists(), "there is a control socket");
    assert_eq!(fs::read_dir(layout::LOG).unwrap().count(), 0, "there is a log");
    // Nobody takes a session that is not enforced for one that is.
    let session = run("remit", &["run", "--profile", "p", "--", "true"]).expect(3);
    assert!(session.stderr.contains("remitd"), "{session}");
}

#[test]
fn doctor_says_what_to_change() {
    lay_out();
    let doctor = run("remit", &["doctor", "--config", layout::SETTINGS]).expect(1);
    assert!(doctor.stdout.contains("`lsm=`"), "{doctor}");
    let told = run("remit", &["doctor", "--config", layout::SETTINGS, "--json"]).expect(1).json();
    let failed = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        !checks.iter().find(|check| check["name"] == name).unwrap()["ok"].as_bool().unwrap()
    };
    assert!(failed("kernel runs BPF security modules"), "{told}");
    assert!(!failed("kernel structures") && !failed("user"), "{told}");
}

#[test]
fn policy_is_checked_all_the_same() {
    lay_out();
    run("remit", &["policy", "check", layout::POLICY]).expect(0);
    fs::write(Path::new(layout::POLICY).join("20-bad.toml"), "schema = 1\n[tol.x]\n").unwrap();
    let checked = run("remit", &["policy", "check", layout::POLICY]).expect(2);
    assert!(checked.stderr.contains("20-bad.toml:2"), "{checked}");
}

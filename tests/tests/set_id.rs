//! Programs that give their process more privilege than their user has: only with a tool that says so.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use tests::{Builder, Outcome, bed, words};

/// The folder of the tests.
const ROOT: &str = "/srv/test/set-id";

/// `trusted` and `plain` hold the same programs; only the set-id programs of `trusted` keep their privilege.
fn session() -> Builder {
    let root = bed().folder("set-id");
    for area in ["trusted", "plain"] {
        fs::create_dir_all(root.join(area)).unwrap();
        for (name, mode) in
            [("user", 0o4755), ("group", 0o2755), ("neither", 0o755), ("able", 0o755)]
        {
            program(&root.join(area).join(name), mode);
        }
        // `cap_net_bind_service` for whoever runs it.
        let able = root.join(area).join("able");
        let set = "import os, sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))";
        Outcome::of(Command::new("python3").args(["-c", set]).arg(&able), &[]).expect(0);
    }
    bed().policy(
        r#"
        [tool.plain]
        files = [{ paths = ["/srv/test/set-id/plain/**"], access = ["read", "exec"] }]
        [tool.trusted]
        files = [{ paths = ["/srv/test/set-id/trusted/**"], access = ["read", "exec"] }]
        setid = true
        [tool.lent]
        files = [{ paths = ["/srv/test/set-id/plain/**"], access = ["read", "exec"] }]
        setid = true
        [tool.other]
        files = [{ paths = ["/srv/test/set-id/plain/**"], access = ["read", "exec"] }]
        [profile.p]
        tools = ["system", "plain", "trusted"]
        "#,
    );
    bed().session("p")
}

fn program(at: &Path, mode: u32) {
    fs::copy("/usr/bin/cat", at).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
}

/// A script in which `as` runs a command as an ordinary user. (By a shell: `setpriv` itself still has root's
/// capabilities when it runs a program, and with them nothing would be gained.)
fn script(lines: &str) -> String {
    format!(
        "as() {{ setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'exec \"$@\"' as \"$@\"; }}
         ids() {{ as \"$1\" /proc/self/status | awk '/^[UG]id:/ {{ printf \"%s \", $3 }} /^CapPrm:/ {{ print $2 }}'; }}
         cd {ROOT}; {lines}"
    )
}

#[test]
fn privilege_is_kept_with_a_tool_that_says_so() {
    let finished = session().script(&script(
        "ids trusted/user; ids trusted/group; ids trusted/able; ids trusted/neither; ids plain/neither",
    ));
    let finished = finished.expect(0);
    let none = "0000000000000000";
    let expected = format!(
        "0 65534 {all}\n65534 0 {none}\n65534 65534 0000000000000400\n65534 65534 {none}\n65534 65534 {none}\n",
        all = finished.outcome.stdout.split_whitespace().nth(2).unwrap_or_default()
    );
    assert_eq!(finished.outcome.stdout, expected);
    assert!(finished.incidents().is_empty(), "{:?}", finished.incidents());
}

#[test]
fn privilege_is_refused_without_one() {
    let finished = session().script(&script(
        "for name in user group able; do as plain/$name /dev/null && echo ran; done
         as plain/neither /dev/null && echo plainly",
    ));
    let finished = finished.expect(0);
    assert_eq!(finished.outcome.stdout, "plainly\n");
    let incidents = finished.incidents();
    let mut found: Vec<_> = incidents.iter().map(|incident| incident.path()).collect();
    found.sort_unstable();
    let path = |name: &str| format!("{ROOT}/plain/{name}");
    assert_eq!(found, [path("able"), path("group"), path("user")]);
    for incident in &incidents {
        assert_eq!(
            (incident.operation.as_str(), incident.reason.as_str(), &incident.access[..]),
            ("file.exec", "no_tool", &["exec".to_owned()][..])
        );
        assert_eq!(incident.object["set_id"], true);
        // Of the two that cover it, the one that would not help is left out.
        assert_eq!(incident.would_allow, ["lent"]);
    }
}

#[test]
fn program_runs_where_it_gains_nothing() {
    let finished = session().script(&script(
        "as setpriv --no-new-privs plain/user /proc/self/status | awk '/^Uid:/ { print $3 }'
         as setpriv --no-new-privs plain/able /dev/null && echo able
         plain/user /proc/self/status | awk '/^Uid:/ { print $3 }'
         plain/able /dev/null && plain/group /dev/null && echo root",
    ));
    let finished = finished.expect(0);
    assert_eq!(finished.outcome.stdout, "65534\nable\n0\nroot\n");
    assert!(finished.incidents().is_empty(), "{:?}", finished.incidents());
}

#[test]
fn grant_and_revocation_decide_the_next_run() {
    let mut running = session().interactive();
    let name = running.name.clone();
    let run = words!["exec", format!("{ROOT}/plain/user"), "/dev/null"];
    assert_eq!(running.ask(words!["set-user", "65534"]).error(), "");
    assert_eq!(running.ask(run.clone()).error(), "EACCES");
    bed().remit(["grant", &name, "other", "--ttl", "5m", "--reason", "test"]).expect(0);
    assert_eq!(running.ask(run.clone()).error(), "EACCES");
    bed().remit(["grant", &name, "lent", "--ttl", "5m", "--reason", "test"]).expect(0);
    assert_eq!(running.ask(run.clone()).error(), "");
    bed().remit(["revoke", &name, "lent"]).expect(0);
    assert_eq!(running.ask(run).error(), "EACCES");
    bed().incident(&name, |incident| {
        incident.reason == "revoked" && incident.path() == format!("{ROOT}/plain/user")
    });
}

//! The harness itself: the daemon comes and goes, a session does what it may, a refusal has its incident.

use std::fs;

use tests::{allowed, bed, judge, refused, words};

#[test]
fn session_with_one_folder_is_refused_the_one_beside_it() {
    let folder = bed().folder("harness");
    fs::create_dir(folder.join("mine")).unwrap();
    fs::create_dir(folder.join("other")).unwrap();
    fs::write(folder.join("mine/file"), "mine").unwrap();
    fs::write(folder.join("other/file"), "other").unwrap();
    bed().policy(
        r#"
        [tool.mine]
        files = [{ paths = ["/srv/test/harness/mine/**"], access = ["read"] }]
        [tool.theirs]
        files = [{ paths = ["/srv/test/harness/other/**"], access = ["read"] }]
        [profile.p]
        tools = ["system", "mine"]
        "#,
    );
    let incidents = judge(
        bed().session("p").task("look"),
        &[
            allowed(words!["read", "/srv/test/harness/mine/file"]),
            refused("file.open", "no_tool", words!["read", "/srv/test/harness/other/file"])
                .at("/srv/test/harness/other/file")
                .would_allow(&["theirs"]),
        ],
    );
    assert_eq!(incidents[0].session.task, "look");
    assert_eq!(incidents[0].session.profile, "p");
    assert_eq!(incidents[0].access, ["read"]);
    assert_eq!(incidents[0].process.comm, "probe");
}

#[test]
fn daemon_killed_and_started_again_still_serves() {
    bed().policy("");
    bed().session("plain").run(["true"]).expect(0).unhindered();
    bed().kill();
    bed().start();
    bed().session("plain").run(["true"]).expect(0).unhindered();
}

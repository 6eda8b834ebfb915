//! Rules on paths with symbolic links on their way.

use std::{fs, os::unix::fs::symlink};

use tests::{allowed, bed, judge, layout, refused, words};

/// The folder of the tests, in which `link` leads to `real`.
const ROOT: &str = "/srv/test/links";

#[test]
fn denial_holds_for_where_its_link_leads_and_a_tool_s_rule_for_nothing() {
    let root = bed().folder("links");
    for folder in ["real", "other"] {
        fs::create_dir(root.join(folder)).unwrap();
        for file in ["key", "plain"] {
            fs::write(root.join(folder).join(file), "content").unwrap();
        }
    }
    symlink("real", root.join("link")).unwrap();
    symlink("other", root.join("second")).unwrap();
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/srv/test/links/real/**", "/srv/test/links/second/**"], access = ["read"] }]
        [[deny]]
        paths = ["/srv/test/links/link/key"]
        access = ["read"]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    let path = |name: &str| format!("{ROOT}/{name}");
    let read = |name: &str| words!["open-read", path(name)];
    judge(
        bed().session("p"),
        &[
            refused("file.open", "explicit_deny", read("link/key")).at(path("real/key")),
            refused("file.open", "explicit_deny", read("real/key")).at(path("real/key")),
            allowed(read("link/plain")),
            refused("file.open", "no_tool", read("second/plain")).at(path("other/plain")),
        ],
    );
    let probe = bed().session("p").interactive();
    let explain = |name: &str, status: i32, counts: &str| {
        let object = path(name);
        let outcome =
            bed().remit(["policy", "explain", &probe.name, "read", &object]).expect(status);
        let said = format!("is a link: it is {} that counts", path(counts));
        assert!(outcome.stdout.contains(&said), "{}", outcome.stdout);
    };
    explain("link/key", 1, "real/key");
    explain("link/plain", 0, "real/plain");
    explain("second/plain", 1, "other/plain");
    let check = bed().remit(["policy", "check", layout::POLICY]).expect(0);
    for said in [
        format!("`{ROOT}/link` is a symbolic link: this counts for `{ROOT}/real/key` too"),
        format!("`{ROOT}/second` is a symbolic link: no file is reached by `{ROOT}/second/**`"),
    ] {
        assert!(check.stderr.contains(&said), "{}", check.stderr);
    }
}

//! Moves and links: what is moved gains no right by its new place.

use std::{ffi::OsString, fs};

use tests::{Builder, Case, allowed, bed, judge, refused};

/// The folder of the tests.
const ROOT: &str = "/srv/test/moves";

/// `inbox` is covered one level deep; `own` with everything, `second` and `third` to write, by a tool each; of
/// `shelf` a tool that the session does not hold covers what is below.
fn session() -> Builder {
    let root = bed().folder("moves");
    for area in ["inbox", "own", "second", "third", "shelf"] {
        for folder in ["folder", "private", "empty"] {
            fs::create_dir_all(root.join(area).join(folder)).unwrap();
        }
        for file in ["file", "private/key", "folder/inner"] {
            fs::write(root.join(area).join(file), "content").unwrap();
        }
    }
    bed().policy(
        r#"
        [tool.inbox]
        files = [{ paths = ["/srv/test/moves/inbox/*", "/srv/test/moves/shelf/*"],
                   access = ["read", "write", "create", "delete"] }]
        [tool.own]
        files = [{ paths = ["/srv/test/moves/own/**"],
                   access = ["read", "write", "create", "delete", "exec", "connect", "ioctl"] }]
        [tool.second]
        files = [{ paths = ["/srv/test/moves/second/**"], access = ["read", "write", "create", "delete"] }]
        [tool.third]
        files = [{ paths = ["/srv/test/moves/third/**"], access = ["read", "write", "create", "delete"] }]
        [tool.later]
        files = [{ paths = ["/srv/test/moves/shelf/**"], access = ["read"] }]
        [profile.p]
        tools = ["system", "inbox", "own", "second", "third"]
        "#,
    );
    bed().session("p")
}

/// The words of an operation, `@` standing for the folder of the tests.
fn op(text: &str) -> Vec<OsString> {
    text.split(' ').map(|word| word.replace('@', &format!("{ROOT}/")).into()).collect()
}

fn done(text: &str) -> Case {
    allowed(op(text))
}

/// A refused move or link of two names.
fn refusal(operation: &str, text: &str) -> Case {
    let words = op(text);
    let name = |at: usize| words[at].to_string_lossy().into_owned();
    let (from, to) = (name(1), name(2));
    refused(operation, "guard", words).at(from).to(to).would_allow(&[])
}

#[test]
fn folder_that_is_moved_takes_nothing_along_that_was_not_covered() {
    judge(
        session(),
        &[
            refused("file.open", "no_tool", op("open-read @inbox/private/key")),
            refusal("file.rename", "rename @inbox/private @own/moved"),
            refusal("file.rename", "rename @inbox/private @own/empty"),
            refusal("file.rename", "rename-new @inbox/private @second/moved"),
            refusal("file.rename", "ring-rename @inbox/private @own/moved"),
            refused("file.open", "no_tool", op("open-read @inbox/private/key")),
            // What a tool gives that is granted later is gained all the same.
            refusal("file.rename", "rename @inbox/private @shelf/moved"),
            // What is covered is moved, and so is what gains nothing.
            done("rename @inbox/file @own/moved"),
            done("rename @inbox/private @inbox/renamed"),
            done("rename @own/private @own/renamed"),
            done("rename @own/renamed @own/folder/deeper"),
            done("rename @second/private @third/moved"),
            done("rename @own/folder @second/moved"),
            done("open-read @second/moved/deeper/key"),
        ],
    );
    assert!(fs::exists(format!("{ROOT}/inbox/renamed/key")).unwrap());
}

#[test]
fn folders_that_are_exchanged_gain_nothing_in_either_direction() {
    judge(
        session(),
        &[
            refusal("file.rename", "exchange @inbox/private @own/empty"),
            refused("file.rename", "guard", op("exchange @own/empty @inbox/private")),
            refused("file.rename", "guard", op("exchange @own/file @inbox/private")),
            refusal("file.rename", "exchange @inbox/private @own/file"),
            done("exchange @inbox/private @inbox/folder"),
            done("exchange @own/private @own/folder"),
            done("exchange @second/private @third/folder"),
            done("exchange @inbox/file @own/file"),
        ],
    );
}

#[test]
fn folder_gains_no_single_right() {
    // To run, connect and control what is in it: all but the rights of a copy.
    judge(
        session(),
        &[
            refusal("file.rename", "rename @second/folder @own/moved"),
            done("rename @second/folder @third/moved"),
            done("rename @second/file @own/moved"),
        ],
    );
}

#[test]
fn sockets_pipes_and_devices_gain_nothing_since_no_copy_is_one() {
    judge(
        session(),
        &[
            done("unix-bind stream @second/socket"),
            done("mknod @second/pipe fifo"),
            done("mknod @own/pipe fifo"),
            refusal("file.rename", "rename @second/socket @own/socket"),
            refusal("file.link", "link @second/socket @own/socket"),
            refusal("file.rename", "rename @second/pipe @third/pipe"),
            refused("file.rename", "guard", op("exchange @own/file @second/pipe")),
            done("rename @second/socket @second/renamed"),
            done("link @second/renamed @second/folder/linked"),
            done("rename @second/pipe @second/folder/pipe"),
            done("rename @own/pipe @own/renamed"),
            done("symlink nowhere @second/link"),
            done("rename @second/link @own/link"),
        ],
    );
}

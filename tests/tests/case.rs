//! Denials by name, where the file system takes names that differ in case alone for one.

use std::{ffi::OsString, process::Command};

use tests::{Case, Outcome, allowed, bed, image, judge, refused, skip};

/// The folder of the tests.
const ROOT: &str = "/srv/test/case";

/// The image that the tests mount.
fn image() -> String {
    format!("{ROOT}/image")
}

/// Runs a script of the operator.
#[track_caller]
fn operator(script: &str) {
    let script = format!("set -e; cd {ROOT}; {script}");
    Outcome::of(Command::new("sh").args(["-c", &script]), &[]).expect(0);
}

fn op(text: &str) -> Vec<OsString> {
    text.split(' ').map(|word| word.replace('@', &format!("{ROOT}/")).into()).collect()
}

fn done(text: &str) -> Case {
    allowed(op(text))
}

/// Puts a policy in force that denies these paths below the folder, of which all else may be used.
fn deny(paths: &[&str]) {
    let paths: Vec<String> = paths.iter().map(|path| format!("\"{ROOT}/{path}\"")).collect();
    bed().policy(&format!(
        "[tool.t]\nfiles = [{{ paths = [\"{ROOT}/**\"], access = [\"read\", \"write\", \"create\", \"delete\"] }}]\n\
         [[deny]]\npaths = [{}]\naccess = [\"read\", \"write\", \"create\", \"delete\"]\n\
         [profile.p]\ntools = [\"system\", \"t\"]\n",
        paths.join(", ")
    ));
}

#[test]
fn denied_name_is_denied_in_every_case_on_vfat() {
    bed().folder("case");
    image::write_fat(&image());
    if let Err(error) = image::mount(&image(), "vfat", &format!("{ROOT}/fat")) {
        skip!("this kernel mounts no image: {error}");
    }
    operator(
        "mkdir fat/Folder; echo x > fat/Folder/inner
         for name in secret.key open.txt long-secret-name.text; do echo x > fat/$name; done
         umount fat; mount -t vfat -o loop image fat",
    );
    deny(&["fat/secret.key", "fat/long-secret-name.text", "fat/folder/**"]);
    let denied = |operation: &str, text: &str| {
        refused(operation, "explicit_deny", op(text)).would_allow(&[])
    };
    let odd = |text: &str| refused("file.open", "unresolved", op(text)).would_allow(&[]);
    judge(
        bed().session("p"),
        &[
            done("open-read @fat/open.txt"),
            denied("file.open", "open-read @fat/SECRET.KEY"),
            denied("file.open", "open-read @fat/Secret.Key"),
            denied("file.open", "open-read @fat/secret.key"),
            denied("file.open", "open-write @fat/SECRET.key"),
            denied("file.open", "open-read @fat/LONG-secret-NAME.text"),
            denied("file.open", "open-read @fat/FOLDER/INNER"),
            denied("file.create", "mkdir @fat/FOLDER/new"),
            denied("file.delete", "unlink @fat/SECRET.KEY"),
            refused("file.rename", "explicit_deny", op("rename @fat/open.txt @fat/SECRET.KEY")),
            // A short name, and what the file system leaves out.
            odd("open-read @fat/LONG-S~1.TEX"),
            odd("open-read @fat/secret.key."),
            // Others are what they were.
            done("open-read @fat/OPEN.TXT"),
            done("create @fat/NEW.TXT"),
            done("rename @fat/new.txt @fat/newer.txt"),
            done("mkdir @fat/other"),
            done("create @fat/other/SECRET.KEY"),
        ],
    );
    // Without a denial by name, every name is as good as another.
    deny(&["other/file"]);
    judge(
        bed().session("p"),
        &[done("open-read @fat/SECRET.KEY"), done("open-read @fat/LONG-S~1.TEX")],
    );
    operator("umount fat");
}

#[test]
fn denied_name_is_denied_in_every_case_in_a_folded_folder() {
    bed().folder("case");
    operator("truncate -s 16M image; mkfs.ext4 -q -O casefold image");
    if let Err(error) = image::mount(&image(), "ext4", &format!("{ROOT}/ext")) {
        skip!("this kernel mounts no image: {error}");
    }
    operator(
        "mkdir ext/plain ext/folded; chattr +F ext/folded
         for folder in plain folded; do echo x > ext/$folder/secret.key; echo x > ext/$folder/open; done
         echo x > ext/plain/SECRET.KEY; umount ext; mount -o loop image ext",
    );
    deny(&["ext/plain/secret.key", "ext/folded/secret.key", "ext/folded/a*z"]);
    let denied = |text: &str| refused("file.open", "explicit_deny", op(text));
    let odd = |text: &str| refused("file.open", "unresolved", op(text));
    judge(
        bed().session("p"),
        &[
            denied("open-read @ext/plain/secret.key"),
            done("open-read @ext/plain/SECRET.KEY"),
            done("open-read @ext/plain/open"),
            // A pattern is compared in one way only.
            odd("open-read @ext/folded/open"),
            odd("open-read @ext/folded/SECRET.KEY"),
        ],
    );
    deny(&["ext/plain/secret.key", "ext/folded/secret.key"]);
    judge(
        bed().session("p"),
        &[
            denied("open-read @ext/folded/SECRET.KEY"),
            denied("open-read @ext/folded/secret.key"),
            done("open-read @ext/folded/OPEN"),
            // The letter that was once written for an `s` within a word: the same file, found by the name of before.
            denied("open-read @ext/folded/\u{17f}ecret.key"),
            done("open-read @ext/plain/SECRET.KEY"),
        ],
    );
    operator("umount ext");
}

//! Running programs: the right to it is asked for whatever the way to run, or to map code.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tests::{Builder, Case, allowed, bed, fails, judge, refused, words};

const ROOT: &str = "/srv/test/exec";

/// The dynamic loader of the machine.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn path(below: &str) -> PathBuf {
    Path::new(ROOT).join(below)
}

/// Copies of `true` and scripts in `run`, where they may be run, and `data`, where they may be read and
/// written only.
fn session() -> Builder {
    bed().folder("exec");
    for area in ["run", "data"] {
        fs::create_dir_all(path(area)).unwrap();
        fs::copy("/usr/bin/true", path(area).join("true")).unwrap();
        let scripts = [
            ("script", "#!/bin/sh\nexit 0\n".to_owned()),
            ("by-data", format!("#!{ROOT}/data/true\n")),
            ("by-run", format!("#!{ROOT}/run/true\n")),
        ];
        for (name, text) in scripts {
            let script = path(area).join(name);
            fs::write(&script, text).unwrap();
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let library = path(area).join("library.so");
        fs::copy("/lib/x86_64-linux-gnu/libm.so.6", &library).unwrap();
    }
    bed().policy(
        r#"
        [tool.t]
        files = [
          { paths = ["/srv/test/exec/run/**"], access = ["read", "exec"] },
          { paths = ["/srv/test/exec/data/**"], access = ["read", "write", "create", "delete"] },
        ]
        [tool.data]
        files = [{ paths = ["/srv/test/exec/data/**"], access = ["exec"] }]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    bed().session("p")
}

/// A refusal to run or map `path` below the folder of the tests.
fn no(operation: &str, below: &str, words: Vec<std::ffi::OsString>) -> Case {
    refused(operation, "no_tool", words).at(format!("{ROOT}/{below}"))
}

#[test]
fn program_needs_exec() {
    let incidents = judge(
        session(),
        &[
            allowed(words!["exec", path("run/true")]),
            allowed(words!["exec", "/usr/bin/true"]),
            allowed(words!["in-thread", "exec", path("run/true")]),
            allowed(words!["open-both", path("data/true")]),
            no("file.exec", "data/true", words!["exec", path("data/true")]).would_allow(&["data"]),
            no("file.exec", "data/true", words!["in-thread", "exec", path("data/true")]),
        ],
    );
    assert!(incidents.iter().all(|incident| incident.access == ["exec"]));
}

#[test]
fn program_given_as_descriptor_needs_exec() {
    judge(
        session(),
        &[
            allowed(words!["exec-descriptor", path("run/true")]),
            no("file.exec", "data/true", words!["exec-descriptor", path("data/true")]),
        ],
    );
}

#[test]
fn script_needs_exec_of_itself_and_its_interpreter() {
    judge(
        session(),
        &[
            allowed(words!["exec", path("run/script")]),
            allowed(words!["exec", path("run/by-run")]),
            no("file.exec", "data/script", words!["exec", path("data/script")]),
            no("file.exec", "data/by-run", words!["exec", path("data/by-run")]),
            no("file.exec", "data/true", words!["exec", path("run/by-data")]),
            // Read by a shell it is data, as everywhere.
            allowed(words!["exec", "/bin/sh", path("data/script")]),
        ],
    );
}

#[test]
fn loader_as_a_program_gains_nothing() {
    let session = session();
    judge(
        session,
        &[
            allowed(words!["exec", LOADER, path("run/true")]),
            // The loader runs and says what it could not map.
            allowed(words!["exec", LOADER, path("data/true")]),
        ],
    );
}

#[test]
fn copy_of_a_program_gains_nothing() {
    let finished = session().script(&format!(
        "cp /usr/bin/id {ROOT}/data/copy && chmod 755 {ROOT}/data/copy && {ROOT}/data/copy"
    ));
    let finished = finished.expect(126);
    let incident = finished.incident();
    assert_eq!(incident.operation, "file.exec");
    assert_eq!(incident.path(), format!("{ROOT}/data/copy"));
    assert_eq!(incident.would_allow, ["data"]);
    assert!(path("data/copy").exists());
}

#[test]
fn program_in_memory_is_covered_by_no_rule() {
    judge(
        session(),
        &[
            allowed(words!["exec", "/usr/bin/true"]),
            refused("file.exec", "unresolved", words!["exec-memory", "/usr/bin/true"]),
            refused(
                "file.exec",
                "unresolved",
                words!["in-thread", "exec-memory", path("run/true")],
            ),
        ],
    );
}

#[test]
fn mapping_a_file_executable_needs_exec() {
    judge(
        session(),
        &[
            allowed(words!["map-exec", path("run/true")]),
            allowed(words!["protect-exec", path("run/true")]),
            allowed(words!["map-exec", path("run/library.so")]),
            no("file.map", "data/true", words!["map-exec", path("data/true")]),
            no("file.map", "data/true", words!["protect-exec", path("data/true")]),
            no("file.map", "data/library.so", words!["map-exec", path("data/library.so")]),
            allowed(words!["map-memory"]),
            fails("ENOENT", words!["exec", path("run/none")]),
        ],
    );
}

#[test]
fn library_that_may_only_be_read_is_not_loaded() {
    let load = |area: &str| {
        session().run([
            "python3",
            "-c",
            &format!(
                "import ctypes; print(ctypes.CDLL('{ROOT}/{area}/library.so').abs is not None)"
            ),
        ])
    };
    load("run").expect(0);
    let finished = load("data").expect(1);
    let incident = finished.incident();
    assert_eq!((incident.operation.as_str(), incident.reason.as_str()), ("file.map", "no_tool"));
    assert_eq!(incident.path(), format!("{ROOT}/data/library.so"));
}

#[test]
fn preloaded_library_that_may_only_be_read_is_not_loaded() {
    let run = |area: &str| {
        session()
            .environment("LD_PRELOAD", path(area).join("library.so"))
            .run(["cat", "/proc/self/maps"])
    };
    let loaded = run("run").expect(0).unhindered();
    assert!(loaded.outcome.stdout.contains(&format!("{ROOT}/run/library.so")));
    let kept_out = run("data").expect(0);
    assert!(!kept_out.outcome.stdout.contains("r-xp 00000000 00:00 0 {ROOT}"));
    assert_eq!(kept_out.incident().operation, "file.map");
}

#[test]
fn denied_program_is_not_run_by_any_tool() {
    let _replaced = session();
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/srv/test/exec/**"], access = ["read", "exec"] }]
        [[deny]]
        paths = ["/srv/test/exec/data/true"]
        access = ["exec"]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    judge(
        bed().session("p"),
        &[
            allowed(words!["exec", path("run/true")]),
            allowed(words!["exec", path("data/script")]),
            allowed(words!["open-read", path("data/true")]),
            refused("file.exec", "explicit_deny", words!["exec", path("data/true")])
                .at(format!("{ROOT}/data/true"))
                .would_allow(&[]),
        ],
    );
}

#[test]
fn command_that_may_not_be_run_ends_with_126_and_says_why() {
    let finished = session().run([path("data/true")]).expect(126);
    assert!(finished.outcome.stderr.contains("the session's tools don't cover running it"));
    assert_eq!(finished.incident().path(), format!("{ROOT}/data/true"));
    session().run([path("run/true")]).expect(0).unhindered();
}

#[test]
fn code_made_at_run_time_runs() {
    let finished = session().run([
        "python3",
        "-c",
        "import ctypes, mmap
buffer = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
buffer.write(b'\\xb8\\x2a\\x00\\x00\\x00\\xc3')
address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())",
    ]);
    let finished = finished.expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "42\n");
}

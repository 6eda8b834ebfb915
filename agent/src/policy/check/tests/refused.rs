//! Every refusal: words, place, what is underlined, and what would be right.

use super::*;

/// Bodies (their first line is line 2), and what is said of each.
fn table(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let text = text.replace(';', "\n");
        assert_eq!(refuse(&body(&text)), *expected, "in\n{text}");
    }
}

#[test]
fn file_that_is_no_toml_is_refused_at_its_line() {
    let found = refuse(&one("schema = 1\n[tool.t\nx = 1\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("2:8 syntax ["), "{found:?}");
    let found = refuse(&one("schema = 1\n[tool.t]\n[tool.t]\n"));
    assert_eq!(found, ["3:7 syntax [t] duplicate key | -"]);
    let two = refuse(&one("schema = 1\na = \nb = \"x\n"));
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn schema_missing_or_other_is_refused() {
    let missing = "1:2 schema [tool] the file has no `schema` | begin it with `schema = 1`, before the \
                   first table";
    assert_eq!(refuse(&one("[tool.t]\n")), [missing]);
    assert_eq!(
        refuse(&one("schema = 2\n")),
        ["1:10 schema [2] unknown schema `2` | `schema = 1` is what this version reads"]
    );
    assert_eq!(
        refuse(&one("schema = \"1\"\n")),
        ["1:10 wrong-type [\"1\"] `schema` must be the number 1, not a string | -"]
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    table(&[
        (
            "tools = 1",
            &[
                "2:1 unknown-key [tools] unknown key `tools` in a policy file | did you mean `tool`?",
            ],
        ),
        (
            "[tool.t];file = []",
            &["3:1 unknown-key [file] unknown key `file` in a tool | did you mean `files`?"],
        ),
        (
            "[tool.t];files = [{ paths = [\"/a\"], acess = [\"read\"], access = [\"read\"] }]",
            &[
                "3:28 unknown-key [acess] unknown key `acess` in a tool's `files` | did you mean `access`?",
            ],
        ),
        (
            "[tool.t];network = [{ cidr = [\"10.0.0.0/8\"], cidrs = [\"10.0.0.0/8\"] }]",
            &[
                "3:14 unknown-key [cidr] unknown key `cidr` in a tool's `network` | did you mean `cidrs`?",
            ],
        ),
        (
            "[profile.p];ttl = 1",
            &["3:1 unknown-key [ttl] unknown key `ttl` in a profile | the keys here are: \
          `description`, `env`, `env_drop`, `limits`, `match`, `may_delegate`, `may_start`, `mode`, `program`, \
          `recall`, `request`, `session_ttl`, `tools`, `when`, `workdir`"],
        ),
        (
            "[profile.p];env = { 1A = \"x\", B = \"{\" };env_drop = [\"A=B\"]",
            &[
                "3:9 name [1A] `1A` is not a name in an environment | letters, digits and `_`, as in \
                 `TMPDIR`",
                "3:23 env [\"{\"] a brace in `{` has no partner | variables are written `{name}`",
                "4:13 name [\"A=B\"] `A=B` names nothing in an environment | a name with at most one `*`, \
                 as in `AWS_*`",
            ],
        ),
        (
            "[profile.p];workdir = [\"{home}/{task}\"]",
            &[
                "3:12 variable [\"{home}/{task}\"] `{task}` has no value in `workdir` | `{home}` and `{user}` \
                 have: those of who starts the session",
            ],
        ),
        (
            "[profile.p];may_start = { sessions = 0 }",
            &["3:26 sessions [0] `sessions` must be from 1 to 1024 | -"],
        ),
        (
            "[profile.p];may_start = { user = [] }",
            &["3:15 unknown-key [user] unknown key `user` in `may_start` | did you mean `users`?"],
        ),
        (
            "[[deny]];path = [\"/a\"];paths = [\"/a\"];access = [\"read\"]",
            &["3:1 unknown-key [path] unknown key `path` in a denial | did you mean `paths`?"],
        ),
    ]);
}

#[test]
fn wrong_types_are_refused() {
    table(&[
        ("tool = 1", &["2:8 wrong-type [1] `tool` must be a table, not an integer | -"]),
        ("tool.t = []", &["2:10 wrong-type [[]] `tool.t` must be a table, not an array | -"]),
        ("deny = {}", &["2:8 wrong-type [{}] `deny` must be an array of tables, not a table | -"]),
        (
            "[tool.t];description = true;files = 1;network = [1]",
            &[
                "3:15 wrong-type [true] `description` must be a string, not a boolean | -",
                "4:9 wrong-type [1] `files` must be an array of tables, not an integer | -",
                "5:12 wrong-type [1] `network` must be an array of tables, each of its entries, not an \
                 integer | -",
            ],
        ),
        (
            "[tool.t];files = [{ paths = \"/a\", access = [1] }]",
            &[
                "3:20 wrong-type [\"/a\"] `paths` must be an array of strings, not a string | -",
                "3:36 wrong-type [1] `access` must be an array of strings, each of its entries, not an \
                 integer | -",
            ],
        ),
        (
            "[tool.t];setid = 1",
            &["3:9 wrong-type [1] `setid` must be `true` or `false`, not an integer | -"],
        ),
        (
            "[profile.p];limits = { memory = 8 }",
            &["3:21 wrong-type [8] `memory` must be a string, not an integer | -"],
        ),
        (
            "[profile.p];session_ttl = 8",
            &["3:15 wrong-type [8] `session_ttl` must be a string, not an integer | -"],
        ),
        (
            "[profile.p];program = 8",
            &[
                "3:11 wrong-type [8] `program` must be a string or an array of strings, not an integer | -",
            ],
        ),
        (
            "[profile.p];program = [\"a\", \"bin/a\", \"/usr/bin/*\"]",
            &[
                "3:17 path [\"bin/a\"] `bin/a` is no program | a file's name such as `claude`, or an \
                 absolute path without `*` and variables",
                "3:26 path [\"/usr/bin/*\"] `/usr/bin/*` is no program | a file's name such as `claude`, \
                 or an absolute path without `*` and variables",
            ],
        ),
    ]);
}

#[test]
fn missing_and_empty_values_are_refused() {
    table(&[
        (
            "[tool.t];files = [{ paths = [\"/a\"] }]",
            &[
                "3:10 missing-key [{ paths = [\"/a\"] }] an entry of `files` has no `access` | add `access = \
               [\"read\"]`",
            ],
        ),
        (
            "[tool.t];network = [{ ports = [1] }]",
            &[
                "3:12 missing-key [{ ports = [1] }] an entry of `network` has no `cidrs` | add `cidrs = \
               [\"10.20.0.0/16\"]`",
            ],
        ),
        (
            "[[deny]];paths = []",
            &[
                "2:1 missing-key [[[deny]]] a denial has no `access` | add `access = [\"read\", \"write\"]`",
                "3:9 empty [[]] `paths` is empty | -",
            ],
        ),
        (
            "[[data]];paths = [\"/a\"]",
            &["2:1 missing-key [[[data]]] data has no `sensitivity` | add \
          `sensitivity = \"confidential\"`"],
        ),
        (
            "[tool.t];files = [{ paths = [\"/a\"], access = [] }]",
            &["3:37 empty [[]] `access` is empty | -"],
        ),
        (
            "[tool.t];[[conflict]];tools = [\"t\"]",
            &["4:9 empty [[\"t\"]] `tools` names fewer than 2 | -"],
        ),
        (
            "[tool.t];[profile.p];request.t = { approval = \"operator\" }",
            &["4:9 missing-key [t] a request has no `max_ttl` | add `max_ttl = \"15m\"`"],
        ),
        (
            "[tool.t];network = [{ cidrs = [\"10.0.0.0/8\"], ports = [] }]",
            &["3:46 empty [[]] `ports` is empty | without `ports`, all are meant"],
        ),
    ]);
}

#[test]
fn unknown_words_are_refused_with_the_nearest() {
    table(&[
        (
            "[tool.t];files = [{ paths = [\"/a\"], access = [\"raed\", \"rw\"] }]",
            &[
                "3:38 unknown-word [\"raed\"] unknown access right `raed` | did you mean `read`?",
                "3:46 unknown-word [\"rw\"] unknown access right `rw` | it is one of: `read`, `write`, \
                 `create`, `delete`, `exec`, `connect`, `ioctl`",
            ],
        ),
        (
            "[tool.t];network = [{ cidrs = [\"10.0.0.0/8\"], protocol = \"tpc\", direction = \"in\" }]",
            &[
                "3:49 unknown-word [\"tpc\"] unknown protocol `tpc` | did you mean `tcp`?",
                "3:68 unknown-word [\"in\"] unknown direction `in` | it is one of: `connect`, `listen`",
            ],
        ),
        (
            "[profile.p];mode = \"enforced\"",
            &["3:8 unknown-word [\"enforced\"] unknown mode `enforced` | did you mean `enforce`?"],
        ),
        (
            "[tool.t];[profile.p];request.t = { max_ttl = \"1m\", approval = \"auto\" }",
            &[
                "4:42 unknown-word [\"auto\"] unknown approval `auto` | it is one of: `automatic`, `operator`",
            ],
        ),
    ]);
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    table(&[
        (
            "[tool.github];[profile.p];tools = [\"githb\"];request.gitub = { max_ttl = \"1m\" }",
            &[
                "4:10 unknown-tool [\"githb\"] unknown tool `githb` | did you mean `github`?",
                "5:9 unknown-tool [gitub] unknown tool `gitub` | did you mean `github`?",
            ],
        ),
        (
            "[tool.a];[[conflict]];tools = [\"a\", \"zzzz\"]",
            &["4:15 unknown-tool [\"zzzz\"] unknown tool `zzzz` | the policy's tools are: `a`"],
        ),
        (
            "[tool.a];[profile.p];[[profile.p.when]];tainted = \"secret\";lose = [\"b\"]",
            &[
                "5:11 unknown-sensitivity [\"secret\"] unknown sensitivity `secret` | no file of the \
                 policy defines sensitivity `secret`",
                "6:9 unknown-tool [\"b\"] unknown tool `b` | did you mean `a`?",
            ],
        ),
    ]);
}

#[test]
fn duplicates_are_refused_with_both_places() {
    let sources = [
        Source { path: "a.toml".into(), text: "schema = 1\n[tool.t]\n[profile.p]\n".into() },
        Source { path: "b.toml".into(), text: "schema = 1\n[tool.t]\n[profile.p]\n".into() },
    ];
    assert_eq!(
        refuse(&sources),
        [
            "2:7 duplicate [t] tool `t` is defined twice | the first is at a.toml:2:7; every name is \
             unique",
            "3:10 duplicate [p] profile `p` is defined twice | the first is at a.toml:3:10; every name \
             is unique",
        ]
    );
    let many: Vec<_> = (0..12).map(|number| format!("\"/f{}\"", number % 11)).collect();
    let text =
        format!("[tool.t]\nfiles = [{{ access = [\"read\"], paths = [\n{}] }}]", many.join("\n,"));
    assert_eq!(
        refuse(&body(&text)),
        ["15:2 duplicate [\"/f0\"] `/f0` stands twice in `paths` | once is enough"]
    );
    table(&[
        (
            "[tool.t];[profile.p];tools = [\"t\", \"t\"]",
            &["4:15 duplicate [\"t\"] `t` stands twice in `tools` | once is enough"],
        ),
        (
            "[tool.t];network = [{ cidrs = [\"10.0.0.0/8\"], ports = [80, \"80\"] }]",
            &["3:51 duplicate [\"80\"] `80` stands twice in `ports` | once is enough"],
        ),
    ]);
}

#[test]
fn profile_that_contradicts_a_conflict_is_refused() {
    table(&[(
        "[tool.a];[tool.b];[[conflict]];tools = [\"a\", \"b\"];[profile.p];tools = [\"b\", \"a\"]",
        &[
            "6:10 conflict [p] profile `p` holds `a` and `b` from the start, which exclude each other | the \
           conflict is at p.toml:4:1",
        ],
    )]);
}

#[test]
fn sensitivity_33_is_refused() {
    let data = |count| -> String {
        (0..count)
            .map(|n| format!("[[data]]\npaths = [\"/d{n}\"]\nsensitivity = \"s{n}\"\n"))
            .collect()
    };
    assert_eq!(refuse(&body(&data(32))), [""; 0]);
    let found = refuse(&body(&data(33)));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("the policy names 33 sensitivities, one more than a label holds: 32")
    );
}

#[test]
fn errors_of_all_files_come_at_once_and_in_order() {
    let sources = [
        Source {
            path: "a.toml".into(),
            text: "schema = 1\n[tool.t]\nx = 1\n[profile.p]\ntools = [\"no\"]\n".into(),
        },
        Source { path: "b.toml".into(), text: "[profile.p]\nmode = 1\n".into() },
    ];
    let errors = check(&sources).unwrap_err();
    let places: Vec<_> =
        errors.iter().map(|e| (e.file.to_str().unwrap(), e.line, &*e.code)).collect();
    assert_eq!(
        places,
        [
            ("a.toml", 3, "policy::unknown-key"),
            ("a.toml", 5, "policy::unknown-tool"),
            ("b.toml", 1, "policy::schema"),
            ("b.toml", 1, "policy::duplicate"),
            ("b.toml", 2, "policy::wrong-type"),
        ]
    );
}

#[test]
fn malformed_file_does_not_make_others_names_unknown() {
    let sources = [
        Source { path: "a.toml".into(), text: "schema = 1\n[tool.t]\nx =\n".into() },
        Source { path: "b.toml".into(), text: "schema = 1\n[profile.p]\ntools = [\"t\"]\n".into() },
    ];
    let errors = check(&sources).unwrap_err();
    assert!(errors.iter().all(|error| error.code == "policy::syntax"), "{errors:?}");
}

#[test]
fn diagnostic_written_as_json_is_read_back() {
    let error = check(&body("tools = 1")).unwrap_err().remove(0);
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<Diagnostic>(&text).unwrap(), error);
    assert_eq!(
        error.to_string(),
        "p.toml:2:1: error: unknown key `tools` in a policy file\n 2 | tools = 1\n   | ^^^^^\nhelp: did \
         you mean `tool`?"
    );
}

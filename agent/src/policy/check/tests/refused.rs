//! Every refusal: words, place, what is underlined, and what would be right.

use super::*;

/// Bodies (their first line is line 2), and what is said of each.
fn table(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let text = text.replace(';', "\n");
        assert_eq!(refuse(&body(&text)), *expected, "in\n{text}");
    }
}

/// `paths` of a tool with one entry, and what is said of it.
fn paths(cases: &[(&str, &str, &str)]) {
    for (path, message, help) in cases {
        let quoted = format!("{path:?}");
        let text = format!("[tool.t]\nfiles = [{{ access = [\"read\"], paths = [{quoted}] }}]");
        let expected = format!("3:40 path [{quoted}] {message} | {help}");
        assert_eq!(refuse(&body(&text)), [expected]);
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
          `description`, `match`, `may_delegate`, `may_start`, `mode`, `recall`, `request`, `session_ttl`, \
          `tools`, `when`"],
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
            "[profile.p];session_ttl = 8",
            &["3:15 wrong-type [8] `session_ttl` must be a string, not an integer | -"],
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
fn names_of_another_form_are_refused() {
    const HELP: &str = "names are a lower-case letter, then lower-case letters, digits, `_` and `-`, 64 \
                        at most";
    for (text, underlined) in
        [("[tool.Git]", "Git"), ("[profile.\"a b\"]", "\"a b\""), ("[tool.1x]", "1x")]
    {
        let found = refuse(&body(text));
        let name = underlined.trim_matches('"');
        let column = text.find(underlined).unwrap() + 1;
        assert_eq!(
            found,
            [format!("2:{column} name [{underlined}] `{name}` can't be a name | {HELP}")]
        );
    }
}

#[test]
fn paths_of_another_form_are_refused() {
    paths(&[
        ("", "the path is empty", "`/` is the root folder itself, `/**` everything"),
        ("etc/x", "`etc/x` is not an absolute path", "`/etc/x`, or `{workdir}/etc/x`"),
        ("./x", "`./x` is not an absolute path", "`/./x`, or `{workdir}/x`"),
        ("/a/../b", "`/a/../b` has `..` in it", "the kernel sees `/b`"),
        ("/a/./b", "`/a/./b` has `.` in it", "the kernel sees `/a/b`"),
        ("/a//b", "`/a//b` has `//` in it", "the kernel sees `/a/b`"),
        ("/a/", "`/a/` ends in `/`", "`/a` is the folder itself, `/a/**` it and all below"),
        ("/a/*b*", "`*b*` has more than one `*`", "one `*` in each name"),
        (
            "/a/**/b",
            "`**` is not the end of `/a/**/b`",
            "`*` stands for one name, `/**` at the end for everything below",
        ),
        (
            "/a/x**",
            "`**` in `/a/x**` does not stand alone",
            "`*` stands for any characters of a name, `/**` at the end for everything below",
        ),
        (
            "{workdir}x/y",
            "`{workdir}x/y` goes on after `{workdir}` without `/`",
            "at the beginning a variable is a whole path: `{workdir}/x/y`",
        ),
        ("/a/{x", "a brace in `{x` has no partner", "variables are written `{name}`"),
        (
            "/a/{X}",
            "`{X}` is not a variable's name",
            "lower-case letters, digits and `_`, as in `{workdir}`",
        ),
        (
            "{1}/a",
            "`{1}` is not a variable's name",
            "lower-case letters, digits and `_`, as in `{workdir}`",
        ),
    ]);
}

#[test]
fn paths_too_long_are_refused() {
    let refused = |path: &str| {
        let text = format!("[tool.t]\nfiles = [{{ access = [\"read\"], paths = [{path:?}] }}]");
        refuse(&body(&text)).first().and_then(|found| found.split("] ").nth(1).map(str::to_owned))
    };
    let x = |count: usize| "x".repeat(count);
    assert_eq!(refused(&format!("/{}", x(255))), None);
    assert_eq!(
        refused(&format!("/{}", x(256))).as_deref(),
        Some("a name in the path has 256 bytes, the kernel takes 255 | -")
    );
    assert_eq!(refused(&format!("/{}*", x(248))), None);
    assert_eq!(
        refused(&format!("/*{}", x(249))).as_deref(),
        Some("the text beside `*` has 249 bytes, the kernel's tables take 248 | -")
    );
    let long = format!("/{}", x(100)).repeat(45);
    assert_eq!(refused(&long[..4095]), None);
    assert_eq!(
        refused(&long[..4096]).as_deref(),
        Some("the path has 4096 bytes, the kernel takes 4095 | -")
    );
    let found =
        refuse(&body("[tool.t]\nfiles = [{ access = [\"read\"], paths = [\"/a\\u0000b\"] }]"));
    assert_eq!(found, ["3:40 path [\"/a\\u0000b\"] `/a\\u{0}b` has a NUL byte | -"]);
}

#[test]
fn endpoints_of_another_form_are_refused() {
    let network = |rest: &str| refuse(&body(&format!("[tool.t]\nnetwork = [{{ {rest} }}]")));
    let ports = "ports are 1 to 65535; without `ports`, all are meant";
    let cidr = "an address and a prefix length, as in `10.20.0.0/16`, `fd00:20::/64`";
    let host = "a name as in `api.github.com`, or `*.example.com` for all below one";
    for (value, code, message, help) in [
        ("0", "port", "`0` is not a port that can be used", ports),
        ("65536", "port", "`65536` is out of range", ports),
        ("-1", "port", "`-1` is out of range", ports),
        ("\"http\"", "port", "`http` is not a port", ports),
        ("\"0-80\"", "port", "`0` is not a port that can be used", ports),
        ("\"90-80\"", "port", "`90-80` ends before it begins", "`80-90`"),
        ("\"80-\"", "port", "`` is not a port", ports),
        (
            "\"10.0.0.1/8\"",
            "cidr",
            "`10.0.0.1/8` has bits set after its prefix",
            "`10.0.0.0/8` is the \
          range, `10.0.0.1/32` the address alone",
        ),
        (
            "\"10.0.0.1\"",
            "cidr",
            "`10.0.0.1` has no prefix length",
            "`10.0.0.1/32` is this address alone",
        ),
        (
            "\"10.0.0.0/33\"",
            "cidr",
            "`10.0.0.0/33` has no right prefix length",
            "`33` must be 0 to 32",
        ),
        ("\"10.0.0/8\"", "cidr", "`10.0.0/8` is not an address range", cidr),
        ("\"example.com\"", "cidr", "`example.com` is not an address range", cidr),
        ("\"ex_-.com\"", "host", "`ex_-.com` is not a host name", host),
        ("\"a.*.com\"", "host", "`a.*.com` has a `*` that is not its first label", host),
        ("\"https://a.com\"", "host", "`https://a.com` is not a host name alone", host),
        (
            "\"1.2.3.4\"",
            "host",
            "`1.2.3.4` is an address, not a host name",
            "addresses go into `cidrs`",
        ),
    ] {
        let rest = match code {
            "port" => format!("cidrs = [\"10.0.0.0/8\"], ports = [{value}]"),
            "cidr" => format!("cidrs = [{value}]"),
            _ => format!("hosts = [{value}]"),
        };
        let column = 14 + rest.rfind(value).unwrap();
        assert_eq!(network(&rest), [format!("3:{column} {code} [{value}] {message} | {help}")]);
    }
}

#[test]
fn durations_of_another_form_are_refused() {
    const HELP: &str = "a number and `s`, `m`, `h` or `d`, as in `90s`, `15m`, `8h`, `2d`";
    for (value, message, help) in [
        ("8", "`8` is not a duration", HELP),
        ("8w", "`8w` is not a duration", HELP),
        ("-1h", "`-1h` is not a duration", HELP),
        ("1.5h", "`1.5h` is not a duration", HELP),
        ("h", "`h` is not a duration", HELP),
        ("", "`` is not a duration", HELP),
        ("5 µ", "`5 µ` is not a duration", HELP),
        ("0m", "`0m` is no time at all", HELP),
        ("99999999999999999999d", "`99999999999999999999d` is longer than 100 years", "-"),
    ] {
        let text = format!("[profile.p]\nsession_ttl = \"{value}\"");
        assert_eq!(
            refuse(&body(&text)),
            [format!("3:15 duration [\"{value}\"] {message} | {help}")]
        );
    }
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
fn diagnostic_crosses_the_wire_whole() {
    let error = check(&body("tools = 1")).unwrap_err().remove(0);
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<Diagnostic>(&text).unwrap(), error);
    assert_eq!(
        error.to_string(),
        "p.toml:2:1: error: unknown key `tools` in a policy file\n 2 | tools = 1\n   | ^^^^^\nhelp: did \
         you mean `tool`?"
    );
}

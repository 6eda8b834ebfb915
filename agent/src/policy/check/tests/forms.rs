//! Names, paths, endpoints and durations with a wrong syntax.

use super::*;

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
fn malformed_names_are_refused() {
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
fn malformed_paths_are_refused() {
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
            "/a/**/**/b",
            "`**` stands twice in a row in `/a/**/**/b`",
            "one `**` is any depth already",
        ),
        (
            "/a/x**",
            "`**` in `/a/x**` does not stand alone",
            "`*` stands for any characters of a name, `**` between two `/` for any depth, at the end for all below",
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
fn malformed_endpoints_are_refused() {
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
fn malformed_durations_are_refused() {
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

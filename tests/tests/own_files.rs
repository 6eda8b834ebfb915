//! Remit's own files, socket and pins: out of a session's reach, whatever its tools cover. And what a
//! session may ask of the daemon.

use std::{ffi::OsString, fs, path::Path};

use serde_json::Value;
use tests::{
    Answer, Builder, Case, allowed, bed, judge,
    layout::{HOME, LOG, PINS, POLICY as POLICIES, PROGRAMS, SETTINGS, SOCKET, STATE},
    refused, untagged, words,
};

const POLICY: &str = r#"
[tool.everything]
files = [{ paths = ["/**"], access = ["read", "write", "create", "delete", "exec", "connect", "ioctl"] }]
[tool.spare]
files = [{ paths = ["/srv/test/spare/**"], access = ["read"] }]
[profile.p]
tools = ["system", "everything"]
"#;

fn session() -> Builder {
    bed().policy(POLICY);
    bed().session("p")
}

fn denied(operation: &str, words: Vec<OsString>, path: impl AsRef<Path>) -> Case {
    refused(operation, "explicit_deny", words).at(path.as_ref().to_string_lossy()).would_allow(&[])
}

/// `remit` where sessions of the tests may run it.
fn install_remit() {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("remit"));
    let remit = found.into_iter().find(|path| path.exists()).expect("remit is in PATH");
    fs::copy(remit, Path::new(PROGRAMS).join("remit")).unwrap();
}

#[test]
fn state_log_and_pins_can_not_even_be_read() {
    let session = session();
    let folder = bed().folder("own-state");
    fs::write(folder.join("file"), "x").unwrap();
    let log = format!("{LOG}/incidents.jsonl");
    let lock = format!("{STATE}/lock");
    let mut cases = vec![
        allowed(words!["open-both", folder.join("file")]),
        allowed(words!["unlink", folder.join("file")]),
    ];
    for file in [&log, &lock] {
        cases.push(denied("file.open", words!["open-read", file], file));
        cases.push(denied("file.open", words!["open-append", file], file));
        cases.push(denied("file.delete", words!["unlink", file], file));
        cases.push(denied("file.setattr", words!["truncate", file], file));
        cases.push(denied("file.setattr", words!["chmod", file, "0666"], file));
    }
    for place in [STATE, LOG, PINS] {
        cases.push(denied("file.open", words!["list", place], place));
        let new = format!("{place}/new");
        cases.push(denied("file.create", words!["mkdir", new], &new));
    }
    judge(session, &cases);
    let answers =
        untagged(&[words!["open-read", log], words!["list", PINS], words!["list", STATE]]);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
}

#[test]
fn settings_and_policy_can_be_read_and_not_changed() {
    let session = session();
    let policy = format!("{POLICIES}/50-test.toml");
    let new = format!("{POLICIES}/99-mine.toml");
    judge(
        session,
        &[
            allowed(words!["open-read", SETTINGS]),
            allowed(words!["open-read", policy]),
            allowed(words!["list", POLICIES]),
            denied("file.open", words!["open-write", SETTINGS], SETTINGS),
            denied("file.delete", words!["unlink", SETTINGS], SETTINGS),
            denied("file.open", words!["open-write", policy], &policy),
            denied("file.create", words!["create", new], &new),
            denied("file.delete", words!["unlink", policy], &policy),
        ],
    );
    assert!(bed().remit(["policy", "reload"]).is_success());
}

#[test]
fn control_socket_can_not_be_replaced_nor_its_folder_moved() {
    let session = session();
    let folder = bed().folder("own-socket");
    fs::create_dir(folder.join("plain")).unwrap();
    let place = Path::new(SOCKET).parent().unwrap();
    let aside = place.with_file_name("aside");
    let spare = place.join("spare");
    judge(
        session,
        &[
            allowed(words!["rename", folder.join("plain"), folder.join("moved")]),
            // Beside the socket there may be others.
            allowed(words!["create", spare]),
            denied("file.delete", words!["unlink", SOCKET], SOCKET),
            denied("file.rename", words!["rename", SOCKET, "/run/stolen"], SOCKET),
            refused("file.rename", "explicit_deny", words!["rename", spare, SOCKET]),
            // The folders above it: its own may not be changed, and below the next one is what rules name.
            refused("file.rename", "explicit_deny", words!["rename", place, aside])
                .at(place.to_string_lossy()),
            refused("file.rename", "guard", words!["rename", HOME, "/run/elsewhere"]).at(HOME),
            allowed(words!["unlink", spare]),
        ],
    );
    assert!(bed().remit(["session", "list"]).is_success());
}

/// The status and body of a request.
fn http(answer: Answer) -> (String, Value) {
    let text = answer.value();
    let (status, body) = text.split_once(' ').expect("a status");
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn session_may_only_ask_the_daemon_about_itself() {
    let mut probe = session().interactive();
    let other = bed().session("p").interactive();
    let (own, others) = (probe.name.clone(), other.name.clone());
    let mut ask = |method: &str, path: &str, body: &str| {
        http(probe.ask(words!["http", SOCKET, method, path, body]))
    };
    let (status, me) = ask("GET", "/v1/whoami", "");
    assert_eq!((status.as_str(), &me["session"]["name"]), ("200", &Value::from(own.as_str())));
    assert_eq!(me["operator"], false, "root, and no operator");
    assert_eq!(ask("GET", &format!("/v1/sessions/{own}"), "").0, "200");
    let start = r#"{"profile": "p", "workdir": "/"}"#;
    let grant = r#"{"tool": "spare", "ttl": "1h"}"#;
    for (method, path, body) in [
        ("POST", "/v1/sessions".to_owned(), start),
        ("GET", "/v1/sessions".to_owned(), ""),
        ("GET", format!("/v1/sessions/{others}"), ""),
        ("GET", "/v1/sessions/nobody".to_owned(), ""),
        ("DELETE", format!("/v1/sessions/{own}"), ""),
        ("DELETE", format!("/v1/sessions/{others}?kill=true"), ""),
        ("POST", format!("/v1/sessions/{own}/grants"), grant),
        ("POST", format!("/v1/sessions/{others}/grants"), grant),
        ("DELETE", format!("/v1/sessions/{others}/grants/everything"), ""),
        ("DELETE", format!("/v1/sessions/{own}/grants"), ""),
        ("POST", format!("/v1/sessions/{others}/quarantine"), ""),
        ("POST", "/v1/policy/reload".to_owned(), ""),
        ("GET", "/v1/policy".to_owned(), ""),
        ("GET", "/v1/incidents/verify".to_owned(), ""),
    ] {
        let (status, body) = ask(method, &path, body);
        let code = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((status.as_str(), code), ("403", "confined"), "{method} {path}: {body}");
    }
    let mut operator = tests::Interactive::untagged();
    for (method, path, body) in [
        ("GET", "/v1/sessions".to_owned(), ""),
        ("POST", format!("/v1/sessions/{own}/grants"), grant),
        ("DELETE", format!("/v1/sessions/{own}/grants/spare"), ""),
        ("POST", format!("/v1/sessions/{others}/quarantine"), ""),
        ("DELETE", format!("/v1/sessions/{others}"), ""),
    ] {
        let answer = http(operator.ask(words!["http", SOCKET, method, path, body]));
        assert_eq!(answer.0, "200", "{method} {path}: {}", answer.1);
    }
}

#[test]
fn session_can_not_take_enforcement_off() {
    install_remit();
    let session = session();
    let secret = bed().folder("own-teardown").join("secret");
    fs::write(&secret, "x").unwrap();
    let teardown = [
        format!("{PROGRAMS}/remit"),
        "teardown".into(),
        "--yes".into(),
        "--config".into(),
        SETTINGS.into(),
    ];
    let finished = session.run(&teardown).expect(1);
    let said = &finished.outcome.stderr;
    assert!(said.contains("a process of a session can't take enforcement off"), "{said}");

    // With the daemon gone, the kernel programs themselves keep it off the pins.
    let mut probe = bed().session("p").interactive();
    let mut plain = bed().session("plain").interactive();
    bed().kill();
    let mut words = words!["exec"];
    words.extend(teardown.iter().map(OsString::from));
    assert_ne!(probe.ask(&words).value(), "0");
    assert_eq!(plain.ask(words!["open-read", secret]).error(), "EACCES");
    assert_eq!(probe.ask(words!["open-read", secret]).error(), "");
    bed().start();
    assert_eq!(plain.ask(words!["open-read", secret]).error(), "EACCES");
}

//! Who asks over the control socket: whoever made the connection, dead or alive, and a session where one was started
//! over it. What is refused leaves a line.

mod starters;

use std::process::Command;

use serde_json::Value;
use tests::{
    Builder, Outcome, bed,
    layout::{HOME, PINS, SETTINGS, SOCKET},
};

const POLICY: &str = r#"
[tool.everything]
files = [{ paths = ["/**"], access = ["read", "write", "create", "delete", "exec", "connect", "ioctl"] }]
[tool.spare]
files = [{ paths = ["/srv/test/spare/**"], access = ["read"] }]
[profile.p]
tools = ["system", "everything"]
[profile.watched]
mode = "audit"
tools = ["system", "everything"]
"#;

/// What every script below begins with: requests over a connection, of which each gives its status.
const CLIENT: &str = r#"
import json, os, socket, sys
PATH = os.environ['CONTROL']
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(PATH)
    return s
def request(method, target, body=None):
    body = json.dumps(body) if body is not None else ''
    head = f'{method} {target} HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\n'
    return (head + f'Content-Length: {len(body)}\r\n\r\n{body}').encode()
def receive(s):
    text = b''
    while b'\r\n\r\n' not in text:
        more = s.recv(1)
        if not more:
            return 'closed', {}
        text += more
    length = next((int(line.split(b':')[1]) for line in text.split(b'\r\n')
                   if line.lower().startswith(b'content-length')), 0)
    body = b''
    while len(body) < length:
        body += s.recv(length - len(body))
    return text.split()[1].decode(), json.loads(body or b'{}')
def ask(s, *words):
    try:
        s.sendall(request(*words))
    except OSError as error:
        return error.strerror
    return receive(s)[0]
def grant(name):
    return ('POST', f'/v1/sessions/{name}/grants', {'tool': 'spare', 'ttl': '1h', 'reason': 'mine'})
def in_child(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    os.waitpid(child, 0)
"#;

fn script(text: &str) -> String {
    format!("{CLIENT}{text}")
}

fn session(profile: &str) -> Builder {
    bed().policy(POLICY);
    bed().session(profile).environment("CONTROL", SOCKET)
}

/// Runs a script outside of all sessions.
#[track_caller]
fn outside(text: &str, words: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", &script(text)]).args(words).env("CONTROL", SOCKET);
    command.env("REMIT_SOCKET", SOCKET);
    Outcome::of(&mut command, &[]).expect(0).stdout
}

/// The lines of control that a session's processes are noted by.
fn attempts(name: &str) -> Vec<Value> {
    let shown = bed().remit(["session", "show", name, "--json"]).expect(0).json();
    let lines = bed().remit(["incidents", "--kind", "control", "--json"]).expect(0).stdout;
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["by"]["session"] == shown["id"]).collect()
}

/// Connects in a process that is gone when the next request comes over its connection.
const ORPHAN: &str = r#"
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX)
def first():
    s.connect(PATH)
    print(ask(s, 'GET', '/v1/whoami'), flush=True)
in_child(first)
print(ask(s, *grant(name)), ask(s, 'GET', '/v1/whoami'), ask(s, 'GET', '/v1/sessions'))
silent = socket.socket(socket.AF_UNIX)
in_child(lambda: silent.connect(PATH))
print(ask(silent, *grant(name)), ask(silent, 'GET', '/v1/whoami'))
"#;

#[test]
fn connection_of_a_dead_process_stays_its_session_s() {
    let running = session("p");
    let name = running.name().to_owned();
    let finished = running.run(["python3", "-c", &script(ORPHAN), &name]).expect(0);
    assert_eq!(finished.outcome.stdout, "200\n403 200 403\n403 200\n", "{}", finished.outcome);
    let lines = attempts(&name);
    let grants: Vec<_> = lines.iter().filter(|line| line["act"] == "grant").collect();
    assert_eq!(grants.len(), 2, "{lines:?}");
    for line in grants {
        assert_eq!(
            (&line["outcome"], &line["tool"]),
            (&"refused".into(), &"spare".into()),
            "{line}"
        );
        assert_eq!(
            (&line["reason"], &line["session"]["name"]),
            (&"mine".into(), &name.as_str().into())
        );
    }
}

#[test]
fn operator_s_connection_works_on_when_who_made_it_is_gone() {
    let probe = session("p").interactive();
    let said = outside(ORPHAN, &[&probe.name]);
    assert_eq!(said, "200\n200 200 200\n200 200\n");
}

#[test]
fn connection_over_which_a_session_was_started_is_that_session_s() {
    bed().policy(POLICY);
    let said = outside(
        r#"
start = {'profile': 'p', 'workdir': '/run/remit-test/work', 'name': sys.argv[1]}
other = connect()
assert ask(other, 'GET', '/v1/sessions') == '200'
s = connect()
# The second request is sent before this process belongs to the session.
s.sendall(request('POST', '/v1/sessions', start) + request(*grant(sys.argv[1])))
print(receive(s)[0], receive(s)[0], flush=True)
# And from now on neither connection of before takes any.
print(ask(s, 'GET', '/v1/whoami'), '/', ask(other, *grant(sys.argv[1])), flush=True)
in_child(lambda: print(ask(other, *grant(sys.argv[1])), flush=True))
print(ask(connect(), 'GET', '/v1/whoami'), ask(connect(), *grant(sys.argv[1])))
"#,
        &["bound"],
    );
    let denied = "Permission denied";
    assert_eq!(said, format!("201 403\n{denied} / {denied}\n{denied}\n200 403\n"));
}

#[test]
fn connection_that_came_from_outside_can_not_be_sent_over() {
    let pass = script(
        r#"
s = connect()
assert ask(s, 'GET', '/v1/sessions') == '200'
os.dup2(s.fileno(), 9)
os.execvp(sys.argv[1], sys.argv[1:])
"#,
    );
    let send = script(
        r#"
s = socket.socket(fileno=9)
name = sys.argv[1]
print(ask(s, *grant(name)))
try: os.write(9, request(*grant(name)))
except OSError as error: print(error.strerror)
try: s.sendmsg([request(*grant(name))])
except OSError as error: print(error.strerror)
print(ask(connect(), 'GET', '/v1/whoami'))
one, other = socket.socketpair(); one.sendall(b'x'); assert other.recv(1) == b'x'
"#,
    );
    for profile in ["p", "watched"] {
        let builder = session(profile).option("--pass-fd", "9").through(["python3", "-c", &pass]);
        let name = builder.name().to_owned();
        let finished = builder.run(["python3", "-c", &send, &name]).expect(0);
        let denied = "Permission denied\n";
        assert_eq!(finished.outcome.stdout, format!("{denied}{denied}{denied}200\n"), "{profile}");
        let shown = bed().remit(["session", "show", &name, "--json"]).expect(0).stdout;
        assert!(!shown.contains("spare"), "{shown}");
        let found = bed().incident(&name, |found| found.operation == "net.use");
        assert_eq!(found.reason, "guard");
    }
}

#[test]
fn connection_that_comes_by_descriptor_is_not_received() {
    bed().policy(POLICY);
    let inner = r#"
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect('/srv/test/identity.sock')
_, fds, _, _ = socket.recv_fds(s, 10, 2)
socket.socket(fileno=fds[0]).sendall(b'x')
s.sendall(b'%d' % len(fds))
"#;
    let said = outside(
        r#"
import subprocess
place = '/srv/test/identity.sock'
if os.path.exists(place): os.unlink(place)
listener = socket.socket(socket.AF_UNIX); listener.bind(place); listener.listen()
run = ['remit', 'run', '-p', 'p', '-w', '/run/remit-test/work', '--', 'python3', '-c', sys.argv[1]]
session = subprocess.Popen(run)
mine, theirs = socket.socketpair()
control = connect(); assert ask(control, 'GET', '/v1/sessions') == '200'
s, _ = listener.accept()
socket.send_fds(s, [b'x'], [theirs.fileno(), control.fileno()])
print(mine.recv(1), s.recv(10), session.wait())
"#,
        &[inner],
    );
    assert_eq!(said, "b'x' b'1' 0\n");
}

#[test]
fn flood_of_refused_acts_has_few_lines() {
    let flood = script(
        r#"
s = connect()
print({ask(s, *grant(sys.argv[1])) for _ in range(100)})
"#,
    );
    let builder = session("p");
    let name = builder.name().to_owned();
    let finished = builder.run(["python3", "-c", &flood, &name]).expect(0);
    assert_eq!(finished.outcome.stdout, "{'403'}\n");
    assert_eq!(attempts(&name).len(), 10);
    // What is held back is counted, at the latest when the daemon stops.
    bed().stop();
    bed().start();
    let lines = attempts(&name);
    assert_eq!((lines.len(), &lines[10]["count"]), (11, &90.into()), "{lines:?}");
    assert_eq!(lines[10]["outcome"], "refused");
}

#[test]
fn failed_act_of_an_operator_leaves_a_line() {
    bed().policy(POLICY);
    bed().remit(["grant", "nobody-s", "spare", "--ttl", "1m", "--reason", "x"]).expect(1);
    let lines = bed().remit(["incidents", "--kind", "control", "--json"]).expect(0).stdout;
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["act"], &last["outcome"]), (&"grant".into(), &"failed".into()), "{last}");
    assert!(last["detail"].as_str().unwrap().contains("nobody-s"), "{last}");
}

#[test]
fn session_names_that_addresses_and_options_take_for_others_are_refused() {
    bed().policy(POLICY);
    for name in [".", "..", "-x", "a%b", "a/b"] {
        let refused = bed().remit(["run", "-p", "p", &format!("--name={name}"), "--", "true"]);
        let said = refused.expect(1).stderr;
        assert!(said.contains(&format!("`{name}` is not a session name")), "{said}");
    }
    bed().remit(["run", "-p", "p", "--name=x-.y", "--", "true"]).expect(0);
}

#[test]
fn second_daemon_on_the_same_pins_does_not_start_and_says_who_has_them() {
    let mut probe = session("p").interactive();
    let settings = format!("{HOME}/second.toml");
    let text = std::fs::read_to_string(SETTINGS).unwrap();
    let other = |line: &str| match line.split_once(" = ") {
        Some((key @ ("state_dir" | "log_dir"), _)) => format!("{key} = \"{HOME}/second-{key}\""),
        Some(("socket", _)) => format!("socket = \"{HOME}/second.sock\""),
        _ => line.to_owned(),
    };
    let text: Vec<String> = text.lines().map(other).collect();
    std::fs::write(&settings, text.join("\n")).unwrap();
    let second = Outcome::of(Command::new("remitd").args(["--config", &settings]), &[]).expect(1);
    let holder = format!("`{PINS}`: process {}", bed().daemon_pid().unwrap());
    assert!(second.stderr.contains(&holder), "{second}");
    let teardown = ["teardown", "--yes", "--config", &settings];
    let torn = Outcome::of(Command::new("remit").args(teardown), &[]).expect(1);
    assert!(torn.stderr.contains(&holder), "{torn}");
    // The first one's sessions are what they were.
    probe.grant("spare");
    assert_eq!(probe.ask(tests::words!["open-read", "/etc/shadow"]).error(), "");
    bed().remit(["session", "show", &probe.name]).expect(0);
}

//! What Remit promises to hold: 256 tools, 100,000 path rules, 1,024 live sessions; and one more of each.

use std::{
    fmt::Write as _,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use tests::{Interactive, bed, layout, slow, words};

const TOOLS: usize = 256;
const RULES: usize = 100_000;
const SESSIONS: u64 = 1024;
/// Paths of each of them.
const PATHS: usize = 40;
/// How long all of them may take to end: each is written to the disk, the kernel and the log.
const ENDING: Duration = Duration::from_secs(240);

/// A policy of so many tools and path rules, those of the bed included.
fn policy(tools: usize, rules: usize) -> String {
    let size = bed().remit(["policy", "check", layout::POLICY, "--json"]).expect(0).json();
    let there = |what: &str| usize::try_from(size["size"][what].as_u64().unwrap()).unwrap();
    let (tools, rules) = (tools - there("tools"), rules - there("path_rules"));
    let mut text = "schema = 1\n".to_owned();
    for tool in 0..tools {
        let (first, last) = (rules * tool / tools, rules * (tool + 1) / tools);
        write!(text, "[tool.t{tool}]\nfiles = [{{ access = [\"read\"], paths = [").unwrap();
        for rule in first..last {
            write!(text, "\"/srv/test/scale/{}/r{rule}/**\",", rule % 100).unwrap();
        }
        text.push_str("] }]\n");
    }
    text.push_str("[profile.large]\ntools = [\"system\", \"t7\"]\n");
    text
}

/// The operator's request, which may take its time.
fn reload(operator: &mut Interactive) -> String {
    operator.ask(words!["http", layout::SOCKET, "POST", "/v1/policy/reload"]).value()
}

#[test]
fn as_many_tools_and_rules_as_promised_decide_rightly_and_one_more_is_refused() {
    slow!();
    bed().policy("");
    let text = policy(TOOLS, RULES);
    let own = 255;
    let first_of = |tool: usize| {
        let at = text.find(&format!("[tool.t{tool}]")).unwrap();
        let quoted = text[at..].split('"').nth(3).unwrap();
        quoted.trim_end_matches("/**").to_owned()
    };
    let place = format!("{}/60-large.toml", layout::POLICY);
    fs::write(&place, &text).unwrap();
    let mut operator = Interactive::untagged();
    let answer = reload(&mut operator);
    assert!(answer.starts_with("200 "), "{answer}");
    assert!(
        answer.contains("\"tools\":256") && answer.contains("\"path_rules\":100000"),
        "{answer}"
    );

    bed().folder("scale");
    let folders: Vec<String> = [7, 8, own - 1].into_iter().map(first_of).collect();
    for folder in &folders {
        fs::create_dir_all(folder).unwrap();
        fs::write(format!("{folder}/file"), "x").unwrap();
    }
    let mut probe = bed().session("large").interactive();
    let mut read = |folder: &str| probe.ask(words!["read", format!("{folder}/file")]);
    assert_eq!(read(&folders[0]).error(), "");
    assert_eq!(read(&folders[1]).error(), "EACCES");
    assert_eq!(read(&folders[2]).error(), "EACCES");
    let incident = bed().incident(&probe.name, |found| found.path().starts_with(&folders[1]));
    assert_eq!(incident.would_allow, ["t8"]);
    probe.grant(&format!("t{}", own - 1));
    assert_eq!(probe.ask(words!["read", format!("{}/file", folders[2])]).error(), "");
    assert_eq!(probe.ask(words!["read", format!("{}/file", folders[1])]).error(), "EACCES");

    // One more of each: nothing changes.
    let one_more = |whole: String, message: &str, operator: &mut Interactive| {
        fs::write(&place, whole).unwrap();
        let check = bed().remit(["policy", "check", layout::POLICY]).expect(2);
        assert!(check.stderr.contains(message), "{check}");
        let answer = reload(operator);
        assert!(answer.starts_with("422 ") && answer.contains(message), "{answer}");
    };
    let tool = "[tool.more]\n";
    one_more(
        format!("{text}{tool}"),
        "257 tools, one more than the kernel's tables hold: 256",
        &mut operator,
    );
    let rule = "[[deny]]\npaths = [\"/srv/x\"]\naccess = [\"read\"]\n";
    let message = "100001 paths, one more than the kernel's tables hold: 100000";
    one_more(format!("{text}{rule}"), message, &mut operator);
    let ranges: Vec<String> =
        (0..=10_000).map(|n| format!("\"10.0.{}.{}/32\"", n / 256, n % 256)).collect();
    let network = format!("[tool.t0]\nnetwork = [{{ cidrs = [{}] }}]\n", ranges.join(", "));
    let message =
        "10001 endpoints (address range and port range), one more than the kernel's tables";
    one_more(text.replacen("[tool.t0]\n", &network, 1), message, &mut operator);
    assert_eq!(probe.ask(words!["read", format!("{}/file", folders[0])]).error(), "");
    fs::remove_file(place).unwrap();
    drop(probe);
    bed().policy("");
}

#[test]
fn as_many_sessions_as_promised_live_side_by_side_and_one_more_is_refused() {
    slow!();
    // More rules of the sessions' own than a table has room for at first.
    let more: String = (0..PATHS).map(|n| format!(", \"{{workdir}}/more/{n}/**\"")).collect();
    bed().policy(&format!(
        r#"
        [tool.workspace]
        files = [{{ paths = ["{{workdir}}/**"{more}], access = ["read"] }}]
        [profile.worker]
        tools = ["workspace"]
        "#,
    ));
    let folder = bed().folder("crowd");
    for place in 0..SESSIONS {
        let place = folder.join(place.to_string());
        fs::create_dir(&place).unwrap();
        fs::write(place.join("file"), "x").unwrap();
    }
    let mut probe = Interactive::untagged();
    let live = |probe: &mut Interactive| {
        let answer = probe.ask(words!["http", layout::SOCKET, "GET", "/v1/health"]).value();
        let body: serde_json::Value =
            serde_json::from_str(answer.trim_start_matches("200 ")).unwrap();
        body["sessions"].as_u64().unwrap()
    };
    let none = |probe: &mut Interactive| {
        let end = Instant::now() + ENDING;
        while live(probe) > 0 {
            let left = || bed().remit(["session", "list"]);
            assert!(Instant::now() < end, "sessions did not end: {}", left());
            sleep(Duration::from_millis(100));
        }
    };
    none(&mut probe);
    let count = SESSIONS.to_string();
    let start = words!["crowd-start", layout::SOCKET, "worker", count, folder];
    assert_eq!(probe.ask(start).value(), count);
    assert_eq!(live(&mut probe), SESSIONS);
    let all = format!("{SESSIONS} {SESSIONS}");
    for _ in 0..2 {
        assert_eq!(probe.ask(words!["crowd-check"]).value(), all);
    }
    let more = bed().session("plain").run(["true"]).outcome.expect(1);
    assert!(more.stderr.contains("1,024 sessions are live, the most that fit"), "{more}");
    assert!(more.stderr.contains("remit session end"), "{more}");
    assert_eq!(probe.ask(words!["crowd-check"]).value(), all);
    probe.ask(words!["crowd-end"]);
    none(&mut probe);
    bed().session("plain").run(["true"]).expect(0);
}

//! `agents`: runs real agents against the scripted model, outside of a session and in one, and says what worked and
//! what was refused. Runs in a guest of `cargo xtask agents`, which knows how they are installed.
//!
//! ```text
//! agents FOLDER NAME…
//! ```
//! `FOLDER` has an agent's files below its name. A line that begins with `AGENT ` is a result as JSON.

mod agent;
mod home;

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{
    bed::bed,
    incident::Incident,
    outcome::{Outcome, eventually},
};

use agent::{AGENTS, Agent};
use home::{OUTSIDE, User, WORK};

/// Where the model answers: the port on loopback that the profiles which ship open for one (`model-proxy`).
pub(crate) const PORT: u16 = 4000;

/// What the agents are told to do, and what a command says that worked: the last but one is refused in a session, and
/// what some agents take as the word that they are done comes last.
const SCRIPT: [(&str, &str); 5] = [
    ("echo hello > made.txt && cat made.txt", "hello"),
    ("sed -i s/hello/changed/ made.txt && cat made.txt", "changed"),
    ("git add -A && git commit -qm made && git log --oneline | wc -l", "2"),
    ("cat /srv/outside/secret", OUTSIDE),
    ("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", ""),
];
/// The command that a session has to be refused.
const FORBIDDEN: usize = 3;

/// What came of one run.
struct Run {
    status: Option<i32>,
    output: String,
    /// What came of each command, as the model was told.
    results: Vec<String>,
    /// Operations, objects and reasons of what was refused, each with how often.
    refused: BTreeMap<String, u64>,
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, names @ ..] = arguments.as_slice() else {
        eprintln!("usage: agents FOLDER NAME…");
        return ExitCode::from(2);
    };
    home::lay_out(Path::new(folder));
    bed().default_policy("");
    let mut all_work = true;
    for name in names {
        let Some(agent) = AGENTS.iter().find(|agent| agent.name == name) else {
            eprintln!("no such agent as `{name}`");
            return ExitCode::from(2);
        };
        for user in [User::Root, User::Ordinary] {
            home::refresh(user);
            agent.settle(user);
            for (way, tagged) in [("outside", false), ("first start", true), ("second start", true)]
            {
                home::refresh_work(user);
                let run = run(agent, user, way, tagged);
                all_work &= tell(agent, user, way, tagged, &run);
            }
        }
    }
    if all_work { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs an agent once.
fn run(agent: &Agent, user: User, way: &str, tagged: bool) -> Run {
    let transcript = PathBuf::from("/run/model.jsonl");
    let _ = fs::remove_file(&transcript);
    let mut model = model(&transcript);
    let name = format!("{}-{}-{}", agent.name, user.name(), way.replace(' ', "-"));
    let mut command = Command::new("setpriv");
    command.args(user.options()).env_clear().current_dir(WORK);
    for (key, value) in home::environment(user).into_iter().chain(agent.environment()) {
        command.env(key, value);
    }
    if tagged {
        // The profile is found by the program.
        command.args(["remit", "run", "--workdir", WORK, "--name", &name, "--"]);
    }
    command.args(agent.command());
    let begin = Instant::now();
    let outcome = Outcome::of(command.arg("do it"), &[]);
    let seconds = begin.elapsed().as_secs();
    // The model has no more to say.
    let _ = model.kill();
    let _ = model.wait();
    let text = fs::read_to_string(&transcript).unwrap_or_default();
    let refused = if tagged { bed().incidents(&name) } else { Vec::new() };
    Run {
        status: outcome.status,
        output: format!("{}{}", outcome.stdout, outcome.stderr),
        results: results(&text),
        refused: summed_up(&refused),
        seconds,
    }
}

/// Starts the model and waits until it answers.
fn model(transcript: &Path) -> Child {
    let script = "/run/model.script";
    let text: Vec<&str> = SCRIPT.iter().map(|(command, _)| *command).collect();
    fs::write(script, text.join("\n")).expect("the script can be written");
    let own = env::current_exe().expect("an executable has a path");
    let child = Command::new(own.with_file_name("model"))
        .args([PORT.to_string(), script.to_owned(), transcript.display().to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("the model can be started");
    eventually("the model listens", Duration::from_secs(30), || {
        std::net::TcpStream::connect(("127.0.0.1", PORT)).ok()
    });
    child
}

/// What came of each command: an agent may tell the same several times.
fn results(transcript: &str) -> Vec<String> {
    let mut results = Vec::new();
    for line in transcript.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let turn = line["turn"].as_u64().unwrap_or_default() as usize;
        if turn > results.len() {
            results.push(line["result"].as_str().unwrap_or_default().to_owned());
        }
    }
    results
}

fn summed_up(incidents: &[Incident]) -> BTreeMap<String, u64> {
    let mut refused = BTreeMap::new();
    for incident in incidents {
        let object = if incident.path().is_empty() {
            incident.object.to_string()
        } else {
            incident.path().to_owned()
        };
        let key = format!("{} {object} ({})", incident.operation, incident.reason);
        *refused.entry(key).or_default() += incident.count;
    }
    refused
}

/// Prints what came of a run, and tells whether everything came out right.
fn tell(agent: &Agent, user: User, way: &str, tagged: bool, run: &Run) -> bool {
    let mut wrong = Vec::new();
    if run.status != Some(0) {
        wrong.push(format!("status {:?}", run.status));
    }
    for (place, (command, wanted)) in SCRIPT.iter().enumerate() {
        let Some(result) = run.results.get(place) else {
            if place < SCRIPT.len() - 1 {
                wrong.push(format!("`{command}` was not run"));
            }
            continue;
        };
        let is_refused = place == FORBIDDEN && tagged;
        if is_refused == result.contains(wanted) && !wanted.is_empty() {
            wrong.push(format!("`{command}`: {}", result.trim()));
        }
    }
    let outside = "file.open /srv/outside/secret (no_tool)";
    if tagged && !run.refused.contains_key(outside) {
        wrong.push("the file outside has no incident".to_owned());
    }
    let beside: Vec<String> = run
        .refused
        .iter()
        .filter(|(what, _)| *what != outside)
        .map(|(what, count)| format!("{what} × {count}"))
        .collect();
    let line = json!({
        "agent": agent.name, "user": user.name(), "way": way, "wrong": wrong, "refused": beside,
        "seconds": run.seconds,
    });
    println!("AGENT {line}");
    if !wrong.is_empty() {
        let tail: Vec<&str> = run.output.lines().rev().take(25).collect();
        for line in tail.iter().rev() {
            println!("  {line}");
        }
    }
    wrong.is_empty()
}

/// Gives a file or folder to a user.
pub(crate) fn give(path: impl AsRef<Path>, user: User) {
    let (uid, gid) = user.ids();
    chown(path, Some(uid), Some(gid)).expect("root gives files away");
}

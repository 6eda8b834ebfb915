//! `[profile.NAME]`: the tools of a kind of agent, what it may request, and how it is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use agent_common::{authority::Mode, limits::SESSIONS};

use super::document::{Draft, Kind};
use crate::policy::{
    diagnostic::quote,
    environment::{self, EnvValue, Environment},
    model::{Approval, Limits, MayStart, Profile, Request, When},
    pattern::PathPattern,
    syntax::{Item, Key, Reader, Table, Text, Value},
    value::{self, Problem},
};

const PROFILE: &[&str] = &[
    "description",
    "env",
    "env_drop",
    "limits",
    "match",
    "may_delegate",
    "may_start",
    "mode",
    "program",
    "recall",
    "request",
    "session_ttl",
    "tools",
    "when",
    "workdir",
];
const REQUEST: &[&str] = &["max_ttl", "approval", "reason"];
const MAY_START: &[&str] = &["users", "groups", "sessions"];
const LIMITS: &[&str] = &["tasks", "memory"];
const MATCH: &[&str] = &["exe"];
const WHEN: &[&str] = &["tainted", "lose"];

/// The default lifetime of a session.
const SESSION_TTL: Duration = Duration::from_secs(8 * 3_600);

impl Draft {
    /// Reads one profile.
    pub(super) fn profile<'r>(
        &mut self,
        reader: &mut Reader<'r, '_>,
        key: &Key<'_>,
        table: &'r Table<'_>,
    ) -> Profile {
        let mut profile = Profile {
            place: reader.place(&key.span()),
            mode: Mode::Enforce,
            description: None,
            tools: Vec::new(),
            session_ttl: SESSION_TTL,
            requests: Default::default(),
            limits: Limits::default(),
            may_start: MayStart::default(),
            workdir: Vec::new(),
            match_exe: None,
            programs: Vec::new(),
            when: Vec::new(),
            environment: Environment::default(),
            variables: BTreeSet::new(),
        };
        for (key, value) in table.iter() {
            match key.text() {
                "mode" => {
                    let words = [("enforce", Mode::Enforce), ("audit", Mode::Audit)];
                    profile.mode = reader.choice(value, "mode", &words).unwrap_or(Mode::Enforce);
                }
                "description" => {
                    profile.description =
                        reader.string(value, "description").map(|text| text.text.to_owned());
                }
                "tools" => profile.tools = self.names(reader, value, "tools", Kind::Tool, 0),
                "session_ttl" => {
                    let ttl =
                        reader.parsed(value, "session_ttl", "policy::duration", value::duration);
                    profile.session_ttl = ttl.unwrap_or(SESSION_TTL);
                }
                "request" => self.requests(reader, value, &mut profile),
                "match" => profile.match_exe = match_exe(reader, key, value),
                "env" => profile.environment.set = env(reader, value),
                "env_drop" => profile.environment.drop = env_drop(reader, value),
                "program" => profile.programs = programs(reader, value),
                "limits" => profile.limits = limits(reader, value),
                "may_start" => profile.may_start = may_start(reader, value),
                "workdir" => profile.workdir = workdir(reader, value),
                "when" => profile.when = self.when(reader, value),
                "may_delegate" => {
                    if value.as_array().is_some() {
                        self.names(reader, value, "may_delegate", Kind::Profile, 0);
                    }
                    let instead = "an agent's children stay in its own session";
                    reader.not_in_force(key.span(), "`may_delegate`", instead);
                }
                "recall" => reader.not_in_force(key.span(), "`recall`", "nothing follows from it"),
                _ => reader.unknown_key(key, PROFILE, "a profile"),
            }
        }
        profile
    }

    fn requests<'r>(
        &mut self,
        reader: &mut Reader<'r, '_>,
        value: &'r Value<'_>,
        profile: &mut Profile,
    ) {
        let Some(table) = reader.table(value, "request") else { return };
        for (key, value) in table.iter() {
            let tool = key.text();
            self.refer(reader, Kind::Tool, tool, key.span());
            reader.not_in_force(
                key.span(),
                &format!("`request.{tool}`"),
                "an operator can `remit grant` the tool",
            );
            let Some(table) = reader.table(value, &format!("request.{tool}")) else { continue };
            if let Some(request) = request(reader, key, table) {
                profile.requests.insert(tool.to_owned(), request);
            }
        }
    }

    fn when<'r>(&mut self, reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<When> {
        let mut all = Vec::new();
        for (table, span) in reader.tables(value, "when") {
            let (mut tainted, mut lose) = (None, None);
            for (key, value) in table.iter() {
                match key.text() {
                    "tainted" => {
                        let text = reader.string(value, "tainted");
                        tainted = Some(text.as_ref().map_or("", |text| text.text).to_owned());
                        if let Some(text) = text {
                            self.refer(reader, Kind::Sensitivity, text.text, text.span);
                        }
                    }
                    "lose" => lose = Some(self.names(reader, value, "lose", Kind::Tool, 1)),
                    _ => reader.unknown_key(key, WHEN, "a `when`"),
                }
            }
            reader.need(&tainted, &span, "tainted", "a `when`", "tainted = \"confidential\"");
            reader.need(&lose, &span, "lose", "a `when`", "lose = [\"github\"]");
            let instead = "what a session has touched does not change what it holds";
            reader.not_in_force(span.clone(), "`when`", instead);
            if let (Some(tainted), Some(lose)) = (tainted, lose) {
                all.push(When { place: reader.place(&span), tainted, lose });
            }
        }
        all
    }
}

fn request<'r>(
    reader: &mut Reader<'r, '_>,
    key: &Key<'_>,
    table: &'r Table<'_>,
) -> Option<Request> {
    let mut max_ttl = None;
    let mut given = None;
    let mut approval = Approval::default();
    let mut reason_required = false;
    for (key, value) in table.iter() {
        match key.text() {
            "max_ttl" => {
                given = Some(());
                max_ttl = reader.parsed(value, "max_ttl", "policy::duration", value::duration);
            }
            "approval" => {
                let words = [("automatic", Approval::Automatic), ("operator", Approval::Operator)];
                approval = reader.choice(value, "approval", &words).unwrap_or_default();
            }
            "reason" => {
                let words = [("required", true), ("optional", false)];
                reason_required = reader.choice(value, "reason", &words).unwrap_or_default();
            }
            _ => reader.unknown_key(key, REQUEST, "a request"),
        }
    }
    reader.need(&given, &key.span(), "max_ttl", "a request", "max_ttl = \"15m\"");
    Some(Request { place: reader.place(&key.span()), max_ttl: max_ttl?, approval, reason_required })
}

/// What is set in the environment.
fn env<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> BTreeMap<String, EnvValue> {
    let mut set = BTreeMap::new();
    let Some(table) = reader.table(value, "env") else { return set };
    for (key, value) in table.iter() {
        let name = key.text();
        reader.accept("policy::name", key.span(), environment::name(name));
        let parsed = reader.parsed(value, &format!("env.{name}"), "policy::env", EnvValue::parse);
        set.extend(parsed.map(|value| (name.to_owned(), value)));
    }
    set
}

/// What is left out of the environment.
fn env_drop<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<String> {
    let texts = reader.strings(value, "env_drop", 0);
    for text in &texts {
        reader.accept("policy::name", text.span.clone(), environment::drop_name(text.text));
    }
    texts.into_iter().map(|text| text.text.to_owned()).collect()
}

fn limits<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = reader.table(value, "limits") else { return limits };
    for (key, value) in table.iter() {
        match key.text() {
            "tasks" => limits.tasks = tasks(reader, value),
            "memory" => {
                limits.memory = reader.parsed(value, "memory", "policy::size", value::size);
            }
            _ => reader.unknown_key(key, LIMITS, "`limits`"),
        }
    }
    limits
}

/// A number of processes and threads, at most the kernel's `PID_MAX_LIMIT`.
fn tasks(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<u32> {
    let Item::Integer(number) = value.item() else {
        reader.wrong_type(value, "tasks", "a number");
        return None;
    };
    let most = 4 << 20;
    match number.replace('_', "").parse() {
        Ok(tasks) if (1..=most).contains(&tasks) => Some(tasks),
        _ => {
            let problem = Problem::new(format!("`{number}` is no number of tasks"));
            let problem =
                problem.help(format!("from 1 to {most}; without `tasks` there is no limit"));
            reader.error("policy::number", value.span(), problem);
            None
        }
    }
}

fn may_start<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> MayStart {
    let mut may_start = MayStart::default();
    let Some(table) = reader.table(value, "may_start") else { return may_start };
    for (key, value) in table.iter() {
        match key.text() {
            "users" => may_start.users = accounts(reader, value, "users"),
            "groups" => may_start.groups = accounts(reader, value, "groups"),
            "sessions" => may_start.sessions = sessions(reader, value),
            _ => reader.unknown_key(key, MAY_START, "`may_start`"),
        }
    }
    may_start
}

/// A number of sessions.
fn sessions(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> u32 {
    let Item::Integer(number) = value.item() else {
        reader.wrong_type(value, "sessions", "a number");
        return 1;
    };
    let fits = number.parse::<u32>().ok().filter(|number| (1..=SESSIONS as u32).contains(number));
    let problem = || Problem::new(format!("`sessions` must be from 1 to {SESSIONS}"));
    reader.accept("policy::sessions", value.span(), fits.ok_or_else(problem)).unwrap_or(1)
}

/// The patterns that the work folder has to match.
fn workdir<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<PathPattern> {
    let mut patterns = Vec::new();
    for text in reader.strings(value, "workdir", 1) {
        let place = reader.place(&text.span);
        let parsed = PathPattern::parse(text.text, place);
        let Some(pattern) = reader.accept("policy::path", text.span.clone(), parsed) else {
            continue;
        };
        let unknown = |name: &&str| !["home", "user"].contains(name);
        if let Some(name) = pattern.variables().into_iter().find(unknown) {
            let problem = Problem::new(format!("`{{{name}}}` has no value in `workdir`"));
            let problem =
                problem.help("`{home}` and `{user}` have: those of who starts the session");
            reader.error("policy::variable", text.span.clone(), problem);
            continue;
        }
        patterns.push(pattern);
    }
    patterns
}

/// Names of users or groups, which the host need not know yet.
fn accounts<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>, key: &str) -> Vec<String> {
    let mut names = Vec::new();
    for text in reader.strings(value, key, 0) {
        if text.text.is_empty() || text.text.contains([':', '\0', '\n', '/']) {
            let message = format!("{} can't be a name in `{key}`", quote(text.text));
            reader.error("policy::name", text.span, Problem::new(message));
        } else {
            names.push(text.text.to_owned());
        }
    }
    names
}

fn match_exe<'r>(
    reader: &mut Reader<'r, '_>,
    key: &Key<'_>,
    value: &'r Value<'_>,
) -> Option<String> {
    let instead = "sessions start by `remit run`, which finds the profile by it";
    reader.not_in_force(key.span(), "`match`", instead);
    let table = reader.table(value, "match")?;
    let mut exe = None;
    let mut given = None;
    for (key, value) in table.iter() {
        match key.text() {
            "exe" => {
                given = Some(());
                exe = program(reader, value);
            }
            _ => reader.unknown_key(key, MATCH, "`match`"),
        }
    }
    let span: Range<usize> = key.span();
    reader.need(&given, &span, "exe", "`match`", "exe = \"/usr/bin/claude\"");
    exe
}

/// Programs by which `remit run` finds the profile: one, or an array of them, each a file's name or a path.
fn programs<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<String> {
    let texts = match value.as_str() {
        Some(text) => vec![Text { text, span: value.span() }],
        None if value.as_array().is_some() => reader.strings(value, "program", 1),
        None => {
            reader.wrong_type(value, "program", "a string or an array of strings");
            return Vec::new();
        }
    };
    let mut programs = Vec::new();
    for Text { text, span } in texts {
        let is_name = !text.is_empty() && !text.contains(['/', '\0']);
        let is_path = text.starts_with('/') && !text.contains(['*', '{', '\0']);
        if is_name || is_path {
            programs.push(text.to_owned());
        } else {
            let message = format!("{} is no program", quote(text));
            let help =
                "a file's name such as `claude`, or an absolute path without `*` and variables";
            reader.error("policy::path", span, Problem::new(message).help(help));
        }
    }
    programs
}

/// One program's path.
fn program<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Option<String> {
    let text = reader.string(value, "exe")?;
    let place = reader.place(&text.span);
    let path =
        reader.accept("policy::path", text.span.clone(), PathPattern::parse(text.text, place))?;
    if path.has_variables() || path.text().contains('*') {
        let problem = Problem::new("`exe` must be one program's path, without `*` and variables");
        reader.error("policy::path", text.span, problem);
        return None;
    }
    Some(path.text().to_owned())
}

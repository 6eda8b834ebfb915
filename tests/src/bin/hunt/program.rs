//! Programs: what a session does, step by step, in two threads, and what others do meanwhile. As text, a step is a
//! line, so that a find can be kept and tried again.

use std::fmt::{self, Display};

use crate::{
    event::{EVENTS, Event},
    table::{Table, number},
    world::{ENDPOINTS, OBJECTS, ORDINARY},
};

/// How many threads a program has, at most.
pub(crate) const LANES: usize = 2;
/// How many steps a program has, at most.
pub(crate) const STEPS: usize = 48;

/// Which descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fd {
    /// A number: that of a given descriptor, or of none.
    Number(i32),
    /// What a step gave, its first or its second.
    Step(usize, usize),
}

/// How a file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// From the root.
    Absolute,
    /// From the work folder.
    Relative,
    /// Through the session's own root in procfs.
    Root,
    /// Through a link that others made.
    Link,
    /// With `.` and doubled slashes.
    Odd,
    /// With a slash behind it.
    Slash,
    /// In capitals.
    Capitals,
    /// Through the work folder's link in procfs.
    Current,
}

/// All forms, with their names.
pub(crate) const FORMS: [(Form, &str); 8] = [
    (Form::Absolute, "absolute"),
    (Form::Relative, "relative"),
    (Form::Root, "root"),
    (Form::Link, "link"),
    (Form::Odd, "odd"),
    (Form::Slash, "slash"),
    (Form::Capitals, "capitals"),
    (Form::Current, "current"),
];

/// How an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AddressForm {
    Plain,
    /// An IPv4 address as an IPv6 one.
    Mapped,
    /// The unspecified address, which the kernel takes for the loopback.
    Any,
    /// The family `AF_UNSPEC`.
    Unspecified,
    /// Too short by a byte.
    Short,
    /// Longer than its family needs.
    Long,
    /// Port 0.
    NoPort,
}

/// All of them, with their names.
pub(crate) const ADDRESS_FORMS: [(AddressForm, &str); 7] = [
    (AddressForm::Plain, "plain"),
    (AddressForm::Mapped, "mapped"),
    (AddressForm::Any, "any"),
    (AddressForm::Unspecified, "unspecified"),
    (AddressForm::Short, "short"),
    (AddressForm::Long, "long"),
    (AddressForm::NoPort, "no-port"),
];

/// The address of an endpoint, by its place among [`ENDPOINTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: usize,
    pub(crate) form: AddressForm,
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Number(i64),
    Fd(Fd),
    /// An object, by its place among [`OBJECTS`].
    Path(usize, Form),
    /// The path that the kernel has for a descriptor (`/proc/self/fd/N`).
    Through(Fd),
    Text(String),
    Address(Address),
    /// A message: its address, and the descriptor that it passes on.
    Message(Option<Address>, Option<Fd>),
    /// Made where the step is done; the number tells variants apart.
    Made(i64),
}

/// A step of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A call, by its place in the table.
    Call(usize, Vec<Value>),
    /// The thread waits until others have done this.
    Event(Event),
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) lane: usize,
    pub(crate) act: Act,
}

/// As whom a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "user",
        }
    }

    /// Makes this process, which has one thread, the user's; `false` where it can't be.
    pub(crate) fn assume(self) -> bool {
        let (uid, gid) = ORDINARY;
        // SAFETY: the calls get numbers, and an empty list.
        self == Self::Root
            || unsafe {
                libc::setgroups(0, std::ptr::null()) == 0
                    && libc::setresgid(gid, gid, gid) == 0
                    && libc::setresuid(uid, uid, uid) == 0
                    && libc::prctl(libc::PR_SET_DUMPABLE, 1) == 0
            }
    }
}

/// What a session does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) user: User,
    /// Whether it keeps to what the session may do, so that nothing may be refused.
    pub(crate) lawful: bool,
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// How many threads have steps.
    pub(crate) fn lanes(&self) -> usize {
        self.steps.iter().map(|step| step.lane + 1).max().unwrap_or(1)
    }

    /// What a step is called.
    pub(crate) fn name<'a>(&self, step: usize, table: &'a Table) -> &'a str {
        match &self.steps[step].act {
            Act::Call(call, _) => &table.calls[*call].name,
            Act::Event(event) => event.name(),
        }
    }

    /// Whether a step names an object.
    pub(crate) fn uses(&self, object: &str) -> bool {
        let is_named = |value: &Value| matches!(value, Value::Path(place, _) if OBJECTS[*place].name == object);
        self.steps.iter().any(|step| match &step.act {
            Act::Call(_, values) => values.iter().any(is_named),
            Act::Event(_) => false,
        })
    }

    /// The same without a step: what used its result gets no descriptor.
    pub(crate) fn without(&self, place: usize) -> Self {
        let mut program = self.clone();
        program.steps.remove(place);
        let mend = |fd: &mut Fd| {
            if let Fd::Step(step, _) = fd {
                if *step == place {
                    *fd = Fd::Number(-1);
                } else if *step > place {
                    *step -= 1;
                }
            }
        };
        for step in &mut program.steps {
            let Act::Call(_, values) = &mut step.act else { continue };
            for value in values {
                match value {
                    Value::Fd(fd) | Value::Through(fd) | Value::Message(_, Some(fd)) => mend(fd),
                    _ => {}
                }
            }
        }
        program
    }

    /// As text.
    pub(crate) fn text(&self, table: &Table) -> String {
        let lawful = if self.lawful { " lawful" } else { "" };
        let mut text = format!("as {}{lawful}\n", self.user.name());
        for (number, step) in self.steps.iter().enumerate() {
            text.push_str(&format!("{number} {} ", step.lane));
            match &step.act {
                Act::Event(event) => text.push_str(&format!("! {}", event.name())),
                Act::Call(call, values) => {
                    text.push_str(&table.calls[*call].name);
                    for value in values {
                        text.push_str(&format!(" {value}"));
                    }
                }
            }
            text.push('\n');
        }
        text
    }

    /// Reads what [`Self::text`] writes; lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub(crate) fn read(text: &str, table: &Table) -> Result<Self, String> {
        let mut program = Self { user: User::Root, lawful: false, steps: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            program.read_line(line, table).map_err(|problem| format!("{problem}: `{line}`"))?;
        }
        Ok(program)
    }

    fn read_line(&mut self, line: &str, table: &Table) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["as", user, rest @ ..] => {
                self.user = if *user == "root" { User::Root } else { User::Ordinary };
                self.lawful = rest == ["lawful"];
            }
            [_, lane, "!", event] => {
                let found = EVENTS.iter().find(|(_, name)| name == event).ok_or("no such event")?;
                self.steps.push(Step { lane: lane_of(lane)?, act: Act::Event(found.0) });
            }
            [_, lane, name, rest @ ..] => {
                let call = table.find(name).ok_or("no such call")?;
                let values: Result<Vec<Value>, String> =
                    rest.iter().map(|word| value(word)).collect();
                let values = values?;
                if values.len() != table.calls[call].arguments.len() {
                    return Err("another number of arguments than the table has".to_owned());
                }
                self.steps.push(Step { lane: lane_of(lane)?, act: Act::Call(call, values) });
            }
            _ => return Err("no step".to_owned()),
        }
        if self.steps.len() > STEPS {
            return Err(format!("more than {STEPS} steps"));
        }
        Ok(())
    }
}

fn lane_of(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(lane) if lane < LANES => Ok(lane),
        _ => Err("no such thread".to_owned()),
    }
}

impl Display for Fd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(out, "fd{number}"),
            Self::Step(step, 0) => write!(out, "${step}"),
            Self::Step(step, which) => write!(out, "${step}.{which}"),
        }
    }
}

impl Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = ADDRESS_FORMS.iter().find(|(form, _)| *form == self.form);
        write!(out, "{}~{}", ENDPOINTS[self.endpoint].name, form.map_or("", |(_, name)| name))
    }
}

impl Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if *number > 9 => write!(out, "{number:#x}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Fd(fd) => fd.fmt(out),
            Self::Path(object, form) => {
                let form = FORMS.iter().find(|(known, _)| known == form);
                write!(out, "@{}~{}", OBJECTS[*object].name, form.map_or("", |(_, name)| name))
            }
            Self::Through(fd) => write!(out, "/fd/{fd}"),
            Self::Text(text) => write!(out, "\"{text}"),
            Self::Address(address) => write!(out, "&{address}"),
            Self::Message(address, fd) => {
                out.write_str("msg")?;
                if let Some(address) = address {
                    write!(out, ",&{address}")?;
                }
                if let Some(fd) = fd {
                    write!(out, ",{fd}")?;
                }
                Ok(())
            }
            Self::Made(variant) => write!(out, "_{variant}"),
        }
    }
}

fn value(word: &str) -> Result<Value, String> {
    let rest = word.get(1..).unwrap_or_default();
    Ok(match word.as_bytes().first() {
        Some(b'@') => {
            let (name, form) = rest.split_once('~').ok_or("a path without its form")?;
            let object = OBJECTS.iter().position(|object| object.name == name);
            let form = FORMS.iter().find(|(_, known)| *known == form).ok_or("no such form")?;
            Value::Path(object.ok_or("no such object")?, form.0)
        }
        Some(b'"') => Value::Text(rest.to_owned()),
        Some(b'&') => Value::Address(address(rest)?),
        Some(b'_') => Value::Made(number(rest)?),
        Some(b'/') => Value::Through(fd(word.strip_prefix("/fd/").ok_or("no descriptor")?)?),
        _ if word.starts_with("msg") => {
            let (mut to, mut passed) = (None, None);
            for part in word.split(',').skip(1) {
                match part.strip_prefix('&') {
                    Some(name) => to = Some(address(name)?),
                    None => passed = Some(fd(part)?),
                }
            }
            Value::Message(to, passed)
        }
        _ if word.starts_with("fd") || word.starts_with('$') => Value::Fd(fd(word)?),
        _ => Value::Number(number(word)?),
    })
}

fn address(word: &str) -> Result<Address, String> {
    let (name, form) = word.split_once('~').ok_or("an address without its form")?;
    let endpoint = ENDPOINTS.iter().position(|endpoint| endpoint.name == name);
    let form = ADDRESS_FORMS.iter().find(|(_, known)| *known == form).ok_or("no such form")?;
    Ok(Address { endpoint: endpoint.ok_or("no such endpoint")?, form: form.0 })
}

fn fd(word: &str) -> Result<Fd, String> {
    let bad = || format!("`{word}` is no descriptor");
    if let Some(number) = word.strip_prefix("fd") {
        return number.parse().map(Fd::Number).map_err(|_| bad());
    }
    let rest = word.strip_prefix('$').ok_or_else(bad)?;
    let (step, which) = rest.split_once('.').unwrap_or((rest, "0"));
    match (step.parse(), which.parse()) {
        (Ok(step), Ok(which)) => Ok(Fd::Step(step, which)),
        _ => Err(bad()),
    }
}

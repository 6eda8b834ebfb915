//! The table of calls: what can be called, with which arguments, and what that gives. See `tests/hunt/calls.txt`.

use std::collections::BTreeMap;

use crate::{
    event::{EVENTS, Event},
    world::OBJECTS,
};

/// The table's text.
const TEXT: &str = include_str!("../../../hunt/calls.txt");

/// What a call is done by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A system call of this number.
    System(i64),
    /// Loads from a mapping.
    Peek,
    /// Stores to a mapping.
    Poke,
    /// An operation of io_uring.
    Ring(u8),
}

/// Where an argument of an operation of io_uring goes in the entry (`struct io_uring_sqe`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Fd,
    Off,
    Addr,
    Len,
    Flags,
    Splice,
    Addr3,
    AddrLen,
}

/// The kind of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A descriptor, rather of a kind.
    Fd(Option<String>),
    /// A folder that a relative name starts from.
    At,
    /// A name of an object, rather of a folder, or one that nothing had at first.
    Path,
    Folder,
    MadePath,
    /// A name that nothing has.
    NewPath,
    /// One of these numbers.
    Num(Vec<i64>),
    /// One value of a set; or any of its bits together.
    One(String),
    Set(String),
    /// A text of a set.
    Text(String),
    /// Everything that has no parameter of its own, by its name in the table.
    Plain(&'static str),
}

/// The kinds without a parameter.
const PLAIN: [&str; 36] = [
    "out",
    "in",
    "len",
    "iovout",
    "iovin",
    "iovvictim",
    "off",
    "msgout",
    "msgin",
    "mmsgin",
    "addr",
    "addrlen",
    "addrany",
    "addrout",
    "lenout",
    "pid",
    "sig",
    "time",
    "fds",
    "map",
    "maplen",
    "id",
    "shm",
    "sem",
    "msg",
    "pidword",
    "ptr",
    "how",
    "clone",
    "flock",
    "handle",
    "optval",
    "siginfo",
    "rlimit",
    "sembuf",
    "word",
];

/// An argument of a call.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) kind: Kind,
    /// For an operation of io_uring.
    pub(crate) field: Option<Field>,
}

/// A call of the table.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) arguments: Vec<Argument>,
    /// The kinds of what it gives.
    pub(crate) gives: Vec<String>,
    /// Whether a file's pages can be reached afterwards without the file.
    pub(crate) keeps: bool,
    /// Whether it is refused to every session.
    pub(crate) guarded: bool,
    /// The section that it stands in.
    pub(crate) section: usize,
}

/// A step of an idiom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// A call, and the object that it names.
    Call(usize, Option<usize>),
    Event(Event),
}

/// A set of numbers, each with whether it is refused to every session.
type Numbers = Vec<(i64, bool)>;

/// The table.
pub(crate) struct Table {
    pub(crate) calls: Vec<Call>,
    pub(crate) sections: Vec<String>,
    pub(crate) idioms: Vec<Vec<Part>>,
    sets: BTreeMap<String, Numbers>,
    texts: BTreeMap<String, Vec<(String, bool)>>,
}

impl Table {
    /// The table of the program.
    ///
    /// # Panics
    /// When the file has an error: says in which line.
    pub(crate) fn read() -> Self {
        let mut table = Self {
            calls: Vec::new(),
            sections: Vec::new(),
            idioms: Vec::new(),
            sets: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        for (number, line) in TEXT.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(problem) = table.add(line) {
                panic!("calls.txt, line {}: {problem}: `{line}`", number + 1);
            }
        }
        table
    }

    /// The call of this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.calls.iter().position(|call| call.name == name)
    }

    pub(crate) fn numbers(&self, set: &str) -> &[(i64, bool)] {
        self.sets.get(set).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn texts(&self, set: &str) -> &[(String, bool)] {
        self.texts.get(set).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("set") => {
                let name = words.next().ok_or("a set without a name")?.to_owned();
                let values: Result<Numbers, String> = words
                    .map(|word| match word.strip_prefix('!') {
                        Some(word) => Ok((number(word)?, true)),
                        None => Ok((number(word)?, false)),
                    })
                    .collect();
                self.sets.insert(name, values?);
            }
            Some("text") => {
                let name = words.next().ok_or("texts without a name")?.to_owned();
                let texts = words.map(|word| match word.strip_prefix('!') {
                    Some(word) => (word.to_owned(), true),
                    None => (word.to_owned(), false),
                });
                self.texts.insert(name, texts.collect());
            }
            Some("section") => self.sections.push(words.next().unwrap_or_default().to_owned()),
            Some("idiom") => {
                let parts: Result<Vec<Part>, String> =
                    words.skip(1).map(|word| self.part(word)).collect();
                self.idioms.push(parts?);
            }
            Some(name) => {
                let call = self.call(name, &words.collect::<Vec<_>>())?;
                self.calls.push(call);
            }
            None => {}
        }
        Ok(())
    }

    fn part(&self, word: &str) -> Result<Part, String> {
        if let Some(name) = word.strip_prefix('!') {
            let event = EVENTS.iter().find(|(_, known)| *known == name);
            return event.map(|(event, _)| Part::Event(*event)).ok_or(format!("no event `{name}`"));
        }
        let (name, object) = match word.split_once('@') {
            Some((name, object)) => {
                let place = OBJECTS.iter().position(|known| known.name == object);
                (name, Some(place.ok_or(format!("no object `{object}`"))?))
            }
            None => (word, None),
        };
        let call = self.find(name).ok_or(format!("no call `{name}`"))?;
        Ok(Part::Call(call, object))
    }

    fn call(&self, name: &str, words: &[&str]) -> Result<Call, String> {
        let (way, rest) = match words {
            ["ring", code, rest @ ..] => {
                let code = u8::try_from(number(code)?).map_err(|_| "no operation of io_uring")?;
                (Way::Ring(code), rest)
            }
            ["-1", rest @ ..] => (Way::Peek, rest),
            ["-2", rest @ ..] => (Way::Poke, rest),
            [code, rest @ ..] => (Way::System(number(code)?), rest),
            [] => return Err("no number".to_owned()),
        };
        let mut call = Call {
            name: name.to_owned(),
            way,
            arguments: Vec::new(),
            gives: Vec::new(),
            keeps: false,
            guarded: false,
            section: self.sections.len().saturating_sub(1),
        };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match *word {
                "->" => {
                    let kinds = rest.next().ok_or("nothing after `->`")?;
                    call.gives = kinds.split(',').map(str::to_owned).collect();
                }
                "keeps" => call.keeps = true,
                "guarded" => call.guarded = true,
                word => call.arguments.push(self.argument(word)?),
            }
        }
        let most = if matches!(way, Way::Ring(_)) { 8 } else { 6 };
        if call.arguments.len() > most {
            return Err("too many arguments".to_owned());
        }
        Ok(call)
    }

    fn argument(&self, word: &str) -> Result<Argument, String> {
        let (word, field) = match word.split_once('=') {
            Some((word, field)) => (word, Some(Field::read(field)?)),
            None => (word, None),
        };
        let kind = match word.split_once(':') {
            Some(("path", "folder")) => Kind::Folder,
            Some(("path", "new")) => Kind::MadePath,
            Some(("fd", kind)) => Kind::Fd(Some(kind.to_owned())),
            Some(("num", list)) => {
                Kind::Num(list.split(',').map(number).collect::<Result<_, _>>()?)
            }
            Some(("one", set)) if self.sets.contains_key(set) => Kind::One(set.to_owned()),
            Some(("set", set)) if self.sets.contains_key(set) => Kind::Set(set.to_owned()),
            Some(("text", set)) if self.texts.contains_key(set) => Kind::Text(set.to_owned()),
            Some(_) => return Err(format!("no such argument as `{word}`")),
            None => match word {
                "fd" => Kind::Fd(None),
                "at" => Kind::At,
                "path" => Kind::Path,
                "newpath" => Kind::NewPath,
                word => {
                    let known = PLAIN.into_iter().find(|known| *known == word);
                    Kind::Plain(known.ok_or_else(|| format!("no such argument as `{word}`"))?)
                }
            },
        };
        Ok(Argument { kind, field })
    }
}

impl Field {
    fn read(word: &str) -> Result<Self, String> {
        Ok(match word {
            "fd" => Self::Fd,
            "off" => Self::Off,
            "addr" => Self::Addr,
            "len" => Self::Len,
            "flags" => Self::Flags,
            "splice" => Self::Splice,
            "addr3" => Self::Addr3,
            "addrlen" => Self::AddrLen,
            _ => return Err(format!("no such field as `{word}`")),
        })
    }
}

/// A number: decimal, `0x…` or with a leading zero octal, with or without a minus.
pub(crate) fn number(word: &str) -> Result<i64, String> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    value.map(|value| sign * value).map_err(|_| format!("`{word}` is no number"))
}

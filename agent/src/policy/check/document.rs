//! The top level of a file: its tables, and those that are neither tools nor profiles.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::policy::{
    diagnostic::{Diagnostic, quote},
    model::{Conflict, Data, Denial, Profile, Tool},
    syntax::{File, Item, Key, Reader, Table, Value},
    value::{self, Problem},
};

/// The kinds of names that are defined in one place and used in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Profile,
    Sensitivity,
    Shipped,
}

/// The use of a name, which has to be defined somewhere.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// A definition, and the place of its name.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) item: T,
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// The policy as read so far.
#[derive(Default)]
pub(super) struct Draft {
    /// The names of the first files: those that ship.
    pub(super) shipped: Vec<String>,
    pub(super) tools: BTreeMap<String, Entry<Tool>>,
    pub(super) profiles: BTreeMap<String, Entry<Profile>>,
    pub(super) denials: Vec<Denial>,
    pub(super) data: Vec<Data>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) references: Vec<Reference>,
}

const TOP: &[&str] = &["schema", "use", "tool", "profile", "deny", "data", "conflict"];
const DENY: &[&str] = &["paths", "except", "access", "unless"];
const DATA: &[&str] = &["paths", "except", "sensitivity"];
const CONFLICT: &[&str] = &["tools"];

impl Draft {
    /// Adds one file.
    pub(super) fn read(
        &mut self,
        file: &File<'_>,
        table: &Table<'_>,
        out: &mut Vec<(usize, Diagnostic)>,
    ) {
        let mut reader = Reader { file, out };
        schema(&mut reader, table);
        for (key, value) in table.iter() {
            match key.text() {
                "schema" => {}
                "use" => self.uses(&mut reader, value),
                "tool" => self.named(&mut reader, value, "tool", |draft, reader, key, table| {
                    let item = draft.tool(reader, key, table);
                    define(&mut draft.tools, reader, key, item, "tool", draft.shipped.len());
                }),
                "profile" => {
                    self.named(&mut reader, value, "profile", |draft, reader, key, table| {
                        let item = draft.profile(reader, key, table);
                        define(
                            &mut draft.profiles,
                            reader,
                            key,
                            item,
                            "profile",
                            draft.shipped.len(),
                        );
                    })
                }
                "deny" => self.denials(&mut reader, value),
                "data" => self.data(&mut reader, value),
                "conflict" => self.conflicts(&mut reader, value),
                _ => reader.unknown_key(key, TOP, "a policy file"),
            }
        }
    }

    /// Reads the names of shipped files. One that stands twice is taken once, as if two files named it.
    fn uses<'r>(&mut self, reader: &mut Reader<'r, '_>, value: &'r Value<'_>) {
        let Some(array) = value.as_array() else {
            reader.wrong_type(value, "use", "an array of strings");
            return;
        };
        for entry in array.iter() {
            let Some(text) = entry.as_str() else {
                reader.wrong_type(entry, "use", "an array of strings, each of its entries");
                continue;
            };
            if reader.accept("policy::name", entry.span(), value::name(text)).is_some() {
                self.refer(reader, Kind::Shipped, text, entry.span());
            }
        }
    }

    /// Reads tables by name.
    fn named<'r, 'a>(
        &mut self,
        reader: &mut Reader<'r, 'a>,
        value: &'r Value<'a>,
        kind: &str,
        mut read: impl FnMut(&mut Self, &mut Reader<'r, 'a>, &'r Key<'a>, &'r Table<'a>),
    ) {
        let Some(tables) = reader.table(value, kind) else { return };
        for (key, value) in tables.iter() {
            reader.accept("policy::name", key.span(), value::name(key.text()));
            if let Some(table) = reader.table(value, &format!("{kind}.{}", key.text())) {
                read(self, reader, key, table);
            }
        }
    }

    fn denials<'r>(&mut self, reader: &mut Reader<'r, '_>, value: &'r Value<'_>) {
        for (table, span) in reader.tables(value, "deny") {
            let (mut paths, mut access) = (None, None);
            let mut except = Arc::default();
            for (key, value) in table.iter() {
                match key.text() {
                    "paths" => paths = Some(reader.paths(value, "paths")),
                    "except" => except = reader.paths(value, "except"),
                    "access" => access = Some(reader.access(value)),
                    "unless" => reader.not_in_force(
                        key.span(),
                        "`unless`",
                        "the denial holds without exception",
                    ),
                    _ => reader.unknown_key(key, DENY, "a denial"),
                }
            }
            reader.need(&paths, &span, "paths", "a denial", "paths = [\"/etc/shadow\"]");
            reader.need(&access, &span, "access", "a denial", "access = [\"read\", \"write\"]");
            if let (Some(paths), Some(access)) = (paths, access) {
                self.denials.push(Denial { place: reader.place(&span), paths, except, access });
            }
        }
    }

    fn data<'r>(&mut self, reader: &mut Reader<'r, '_>, value: &'r Value<'_>) {
        for (table, span) in reader.tables(value, "data") {
            let (mut paths, mut sensitivity) = (None, None);
            let mut except = Arc::default();
            let mut named = false;
            for (key, value) in table.iter() {
                match key.text() {
                    "paths" => paths = Some(reader.paths(value, "paths")),
                    "except" => except = reader.paths(value, "except"),
                    "sensitivity" => {
                        named = true;
                        sensitivity = reader.parsed(value, "sensitivity", "policy::name", |text| {
                            value::name(text).map(|()| text.to_owned())
                        });
                        reader.not_in_force(
                            key.span(),
                            "`sensitivity`",
                            "it is recorded; what a session touches does not change what it holds",
                        );
                    }
                    _ => reader.unknown_key(key, DATA, "data"),
                }
            }
            reader.need(&paths, &span, "paths", "data", "paths = [\"/srv/customers/**\"]");
            let example = "sensitivity = \"confidential\"";
            reader.need(&named.then_some(()), &span, "sensitivity", "data", example);
            let (Some(paths), Some(sensitivity)) = (paths, sensitivity) else { continue };
            self.data.push(Data { place: reader.place(&span), paths, except, sensitivity });
            self.count_sensitivities(reader, span);
        }
    }

    /// Reports too many sensitivities: a label has 32 bits for them.
    fn count_sensitivities(&self, reader: &mut Reader<'_, '_>, span: Range<usize>) {
        let mut names: Vec<_> = self.data.iter().map(|data| &data.sensitivity).collect();
        let last = names.pop();
        if last.is_none_or(|last| names.contains(&last)) {
            return;
        }
        names.sort();
        names.dedup();
        if names.len() == 32 {
            let message = "the policy names 33 sensitivities, one more than a label holds: 32";
            reader.error("policy::limit", span, Problem::new(message));
        }
    }

    fn conflicts<'r>(&mut self, reader: &mut Reader<'r, '_>, value: &'r Value<'_>) {
        for (table, span) in reader.tables(value, "conflict") {
            let mut tools = None;
            for (key, value) in table.iter() {
                match key.text() {
                    "tools" => tools = Some(self.names(reader, value, "tools", Kind::Tool, 2)),
                    _ => reader.unknown_key(key, CONFLICT, "a conflict"),
                }
            }
            reader.need(
                &tools,
                &span,
                "tools",
                "a conflict",
                "tools = [\"customers\", \"github\"]",
            );
            reader.not_in_force(
                span.clone(),
                "`[[conflict]]`",
                "grants are not held against it; what profiles hold from the start is",
            );
            if let Some(tools) = tools {
                self.conflicts.push(Conflict { place: reader.place(&span), tools });
            }
        }
    }

    /// Reads a list of names that have to be defined somewhere.
    pub(super) fn names<'r>(
        &mut self,
        reader: &mut Reader<'r, '_>,
        value: &'r Value<'_>,
        key: &str,
        kind: Kind,
        least: usize,
    ) -> Vec<String> {
        let texts = reader.strings(value, key, least);
        let names = texts.iter().map(|text| text.text.to_owned()).collect();
        for text in texts {
            self.refer(reader, kind, text.text, text.span);
        }
        names
    }

    /// Notes a name that has to be defined somewhere.
    pub(super) fn refer(
        &mut self,
        reader: &Reader<'_, '_>,
        kind: Kind,
        name: &str,
        span: Range<usize>,
    ) {
        let file = reader.file.number;
        self.references.push(Reference { kind, name: name.to_owned(), file, span });
    }
}

/// Adds a definition, if its name is new. The first `shipped` files are those that ship.
fn define<T>(
    defined: &mut BTreeMap<String, Entry<T>>,
    reader: &mut Reader<'_, '_>,
    key: &Key<'_>,
    item: T,
    kind: &str,
    shipped: usize,
) where
    T: Placed,
{
    let name = key.text();
    if let Some(first) = defined.get(name) {
        let place = first.item.place();
        let (file, line, column) = (place.file.display(), place.line, place.column);
        let is_redefined = first.file < shipped && reader.file.number >= shipped;
        let problem = if is_redefined {
            let message =
                format!("{kind} {} is taken by `use` and can't be defined here", quote(name));
            Problem::new(message).help(format!(
                "it is at {file}:{line}:{column}; choose another name, or leave out that `use`"
            ))
        } else {
            Problem::new(format!("{kind} {} is defined twice", quote(name)))
                .help(format!("the first is at {file}:{line}:{column}; every name is unique"))
        };
        reader.error("policy::duplicate", key.span(), problem);
        return;
    }
    let entry = Entry { item, file: reader.file.number, span: key.span() };
    defined.insert(name.to_owned(), entry);
}

/// A definition that knows its place.
pub(super) trait Placed {
    /// The place.
    fn place(&self) -> &crate::policy::place::Place;
}

impl Placed for Tool {
    fn place(&self) -> &crate::policy::place::Place {
        &self.place
    }
}

impl Placed for Profile {
    fn place(&self) -> &crate::policy::place::Place {
        &self.place
    }
}

/// Checks `schema`, which every file with content needs.
fn schema(reader: &mut Reader<'_, '_>, table: &Table<'_>) {
    const HELP: &str = "`schema = 1` is what this version reads";
    let Some((_, value)) = table.iter().find(|(key, _)| key.text() == "schema") else {
        let first = table.iter().map(|(key, _)| key.span()).min_by_key(|span| span.start);
        if let Some(first) = first {
            let problem = Problem::new("the file has no `schema`")
                .help("begin it with `schema = 1`, before the first table");
            reader.error("policy::schema", first, problem);
        }
        return;
    };
    match value.item() {
        Item::Integer(number) if matches!(&**number, "1" | "0x1" | "0o1" | "0b1") => {}
        Item::Integer(number) => {
            let problem = Problem::new(format!("unknown schema `{number}`")).help(HELP);
            reader.error("policy::schema", value.span(), problem);
        }
        _ => reader.wrong_type(value, "schema", "the number 1"),
    }
}

//! `[tool.NAME]`: files and endpoints.

use std::{ops::Range, sync::Arc};

use super::{document::Draft, hazard::hazard};
use crate::policy::{
    diagnostic::quote,
    model::{Cidr, Direction, FileRule, NetworkRule, OnRevoke, Protocol, Recall, Tool},
    pattern::{PathPattern, Patterns, remark},
    syntax::{Item, Key, Reader, Table, Text, Value},
    value::{self, Host, PortRange, Problem},
};
use agent_common::access::{Right, Rights};

const TOOL: &[&str] = &["description", "files", "network", "on_revoke", "setid", "recall"];
const FILES: &[&str] = &["paths", "except", "access"];
const NETWORK: &[&str] = &["cidrs", "hosts", "ports", "protocol", "direction"];

const RIGHTS: &[(&str, Right)] = &[
    ("read", Right::Read),
    ("write", Right::Write),
    ("create", Right::Create),
    ("delete", Right::Delete),
    ("exec", Right::Exec),
    ("connect", Right::Connect),
    ("ioctl", Right::Ioctl),
];

impl Draft {
    /// Reads one tool.
    pub(super) fn tool<'r>(
        &mut self,
        reader: &mut Reader<'r, '_>,
        key: &Key<'_>,
        table: &'r Table<'_>,
    ) -> Tool {
        let mut tool = Tool {
            place: reader.place(&key.span()),
            description: None,
            files: Vec::new(),
            network: Vec::new(),
            on_revoke: OnRevoke::default(),
            recall: Recall::default(),
            setid: false,
        };
        for (key, value) in table.iter() {
            match key.text() {
                "description" => {
                    tool.description =
                        reader.string(value, "description").map(|text| text.text.to_owned());
                }
                "files" => tool.files = files(reader, value),
                "network" => tool.network = network(reader, value),
                "on_revoke" => {
                    let words = [
                        ("block", OnRevoke::Block),
                        ("kill", OnRevoke::Kill),
                        ("kill-session", OnRevoke::KillSession),
                    ];
                    tool.on_revoke = reader.choice(value, "on_revoke", &words).unwrap_or_default();
                }
                "setid" => tool.setid = reader.boolean(value, "setid").unwrap_or_default(),
                "recall" => {
                    let words = [("descriptors", Recall::Descriptors), ("opens", Recall::Opens)];
                    tool.recall = reader.choice(value, "recall", &words).unwrap_or_default();
                }
                _ => reader.unknown_key(key, TOOL, "a tool"),
            }
        }
        tool
    }
}

impl<'r> Reader<'r, '_> {
    /// A list of path patterns, `paths` or `except`.
    pub(super) fn paths(&mut self, value: &'r Value<'_>, key: &str) -> Arc<[PathPattern]> {
        let texts = self.strings(value, key, 1);
        let bytes = texts.iter().map(|text| text.text.len()).sum();
        let mut paths = Patterns::new(self.file.path.clone(), bytes);
        for Text { text, span } in texts {
            let (line, column) = self.file.line_and_column(span.start);
            if let Some(problem) = remark(text) {
                self.warn("policy::path-remark", span.clone(), problem);
            }
            self.accept("policy::path", span, paths.push(text, line, column));
        }
        paths.finish()
    }

    /// A list of access rights.
    pub(super) fn access(&mut self, value: &'r Value<'_>) -> Rights {
        let texts = self.strings(value, "access", 1);
        texts.into_iter().fold(Rights::NONE, |rights, text| {
            self.word(&text, "access right", RIGHTS).map_or(rights, |right| rights.with(right))
        })
    }

    /// Reports a missing key.
    pub(super) fn need<T>(
        &mut self,
        found: &Option<T>,
        span: &Range<usize>,
        key: &str,
        of: &str,
        example: &str,
    ) {
        if found.is_none() {
            self.missing(span.clone(), key, of, example);
        }
    }
}

fn files<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<FileRule> {
    let mut rules = Vec::new();
    for (table, span) in reader.tables(value, "files") {
        let (mut paths, mut access) = (None, None);
        let mut except = Arc::default();
        for (key, value) in table.iter() {
            match key.text() {
                "paths" => paths = Some((reader.paths(value, "paths"), value)),
                "except" => except = reader.paths(value, "except"),
                "access" => access = Some(reader.access(value)),
                _ => reader.unknown_key(key, FILES, "a tool's `files`"),
            }
        }
        let of = "an entry of `files`";
        reader.need(&paths, &span, "paths", of, "paths = [\"/usr/**\"]");
        reader.need(&access, &span, "access", of, "access = [\"read\"]");
        if let (Some((paths, value)), Some(access)) = (paths, access) {
            for entry in value.as_array().into_iter().flatten() {
                let problem = entry.as_str().and_then(|text| hazard(text, &except, access));
                if let Some(problem) = problem {
                    reader.warn("policy::hazard", entry.span(), problem);
                }
            }
            rules.push(FileRule { paths, except, access });
        }
    }
    rules
}

fn network<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<NetworkRule> {
    let mut rules = Vec::new();
    for (table, span) in reader.tables(value, "network") {
        let mut rule = NetworkRule {
            cidrs: Vec::new(),
            hosts: Vec::new(),
            ports: vec![PortRange::ALL],
            protocol: Protocol::default(),
            direction: Direction::default(),
        };
        let mut object = None;
        for (key, value) in table.iter() {
            match key.text() {
                "cidrs" => {
                    object = Some(());
                    rule.cidrs = cidrs(reader, value);
                }
                "hosts" => {
                    object = Some(());
                    rule.hosts = hosts(reader, value);
                    reader.not_in_force(
                        key.span(),
                        "`hosts`",
                        "only `cidrs` open anything: names are not looked up",
                    );
                }
                "ports" => rule.ports = ports(reader, value),
                "protocol" => {
                    let words = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
                    rule.protocol = reader.choice(value, "protocol", &words).unwrap_or_default();
                }
                "direction" => {
                    let words = [("connect", Direction::Connect), ("listen", Direction::Listen)];
                    rule.direction = reader.choice(value, "direction", &words).unwrap_or_default();
                }
                _ => reader.unknown_key(key, NETWORK, "a tool's `network`"),
            }
        }
        let example = "cidrs = [\"10.20.0.0/16\"]";
        reader.need(&object, &span, "cidrs", "an entry of `network`", example);
        rules.push(rule);
    }
    rules
}

fn cidrs<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<Cidr> {
    let mut cidrs: Vec<Cidr> = Vec::new();
    for Text { text, span } in reader.strings(value, "cidrs", 1) {
        let place = reader.place(&span);
        let net = reader.accept("policy::cidr", span, value::cidr(text));
        cidrs.extend(net.map(|net| Cidr { net, place }));
    }
    cidrs
}

fn hosts<'r>(reader: &mut Reader<'r, '_>, value: &'r Value<'_>) -> Vec<Host> {
    let mut hosts = Vec::new();
    for Text { text, span } in reader.strings(value, "hosts", 1) {
        hosts.extend(reader.accept("policy::host", span, value::host(text)));
    }
    hosts
}

/// Ports: numbers, and ranges as strings.
fn ports(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<PortRange> {
    let Some(array) = value.as_array() else {
        reader.wrong_type(value, "ports", "an array of numbers and ranges");
        return Vec::new();
    };
    if array.is_empty() {
        let problem = Problem::new("`ports` is empty").help("without `ports`, all are meant");
        reader.error("policy::empty", value.span(), problem);
    }
    let mut ranges = Vec::with_capacity(array.len());
    let mut seen = std::collections::HashSet::new();
    for entry in array.iter() {
        let range = match entry.item() {
            Item::Integer(number) => {
                value::port(number).map(|port| PortRange { first: port, last: port })
            }
            Item::String(text) => value::ports(text),
            _ => {
                reader.wrong_type(entry, "ports", "an array of numbers and ranges, each entry");
                continue;
            }
        };
        let Some(range) = reader.accept("policy::port", entry.span(), range) else { continue };
        if !seen.insert(range) {
            let written = if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}-{}", range.first, range.last)
            };
            let problem = Problem::new(format!("{} stands twice in `ports`", quote(&written)))
                .help("once is enough");
            reader.error("policy::duplicate", entry.span(), problem);
            continue;
        }
        ranges.push(range);
    }
    ranges
}

//! Builds the tree of a TOML text from the parser's events, piece by piece.
//!
//! The `toml` crate makes its document from all tokens and events at once. For a hundred thousand rules this needs more
//! memory than everything afterwards. This module takes the same parser's events one by one, and handles only ordinary
//! files. A text that is malformed, or has its tables in an unusual order, is left to the `toml` crate, which can also
//! say what is wrong.

use std::borrow::Cow;

use toml_parser::{
    ErrorSink, Source, Span,
    decoder::{Encoding, ScalarKind},
    lexer::TokenKind,
    parser::{Event, EventKind, EventReceiver, ValidateWhitespace, parse_document},
};

use super::tree::{At, Item, Key, Made, Table, Value};

/// How many tokens are parsed at once; more if an expression is longer.
const TOKENS: usize = 4_096;
/// The most keys of a table, which are searched one by one. No policy has more.
const KEYS: usize = 1_024;
/// The deepest nesting of values, and the most keys in one path.
const DEPTH: usize = 64;

/// The tree of a text; `None` if the text has to be left to the `toml` crate.
pub(super) fn build(text: &str) -> Option<Table<'_>> {
    let source = Source::new(text);
    let mut builder = Builder::new(source);
    let mut tokens = Vec::with_capacity(TOKENS);
    let mut open = 0_usize;
    for token in source.lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => open += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                open = open.saturating_sub(1);
            }
            _ => {}
        }
        tokens.push(token);
        if tokens.len() >= TOKENS && open == 0 && token.kind() == TokenKind::Newline {
            builder.parse(&tokens)?;
            tokens.clear();
        }
    }
    builder.parse(&tokens)?;
    builder.attach_section()?;
    Some(builder.root)
}

/// An array or inline table that is not closed yet.
struct Open {
    start: usize,
    /// How many keys, values and entries come before its own.
    keys: usize,
    values: usize,
    entries: usize,
    is_array: bool,
}

type Entry<'a> = (Key<'a>, Value<'a>);

struct Builder<'a> {
    source: Source<'a>,
    root: Table<'a>,
    /// The entries below the last header, and the header: whether it is of an array, and its place.
    section: Table<'a>,
    header: Option<(Vec<Key<'a>>, bool, At)>,
    /// The start of the header that is being read.
    opened: usize,
    /// Keys without their value yet, of everything that is open.
    keys: Vec<Key<'a>>,
    /// Values of the arrays, and entries of the tables, that are open.
    values: Vec<Value<'a>>,
    entries: Vec<Entry<'a>>,
    open: Vec<Open>,
    /// Whether the text has to be left to the `toml` crate.
    unsure: bool,
}

impl<'a> Builder<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            root: Table::default(),
            section: Table::default(),
            header: None,
            opened: 0,
            keys: Vec::new(),
            values: Vec::new(),
            entries: Vec::new(),
            open: Vec::new(),
            unsure: false,
        }
    }

    /// Takes whole expressions.
    fn parse(&mut self, tokens: &[toml_parser::lexer::Token]) -> Option<()> {
        let mut malformed = false;
        let source = self.source;
        let mut receiver = ValidateWhitespace::new(self, source);
        parse_document(tokens, &mut receiver, &mut |_| malformed = true);
        (!malformed && !self.unsure).then_some(())
    }

    fn doubt(&mut self, done: Option<()>) {
        self.unsure |= done.is_none();
    }

    /// Adds the section that was read to the tree.
    fn attach_section(&mut self) -> Option<()> {
        let section = std::mem::take(&mut self.section);
        let Some((mut keys, is_array, at)) = self.header.take() else {
            self.root = section;
            return Some(());
        };
        let key = keys.pop()?;
        let mut entries = &mut self.root.entries;
        for key in keys {
            entries = descend(entries, key)?;
        }
        let table = Value::new(Item::Table(section), at);
        match (find(entries, 0, &key)?, is_array) {
            (None, false) => entries.push((key, table)),
            (None, true) => entries.push((key, Value::new(Item::Tables(vec![table]), at))),
            (Some(place), true) => match &mut entries.get_mut(place)?.1.item {
                Item::Tables(tables) => tables.push(table),
                _ => return None,
            },
            (Some(_), false) => return None,
        }
        Some(())
    }

    /// Ends a header.
    fn close_header(&mut self, is_array: bool, end: usize) {
        let keys = std::mem::take(&mut self.keys);
        self.header = Some((keys, is_array, (self.opened..end).into()));
    }

    fn open_header(&mut self, start: usize) {
        let done = self.attach_section();
        self.unsure |= done.is_none() || !self.keys.is_empty() || !self.open.is_empty();
        self.opened = start;
    }

    /// Opens an array or an inline table; false if that is nested too deep.
    fn open(&mut self, start: usize, is_array: bool) -> bool {
        let (keys, values, entries) = (self.keys.len(), self.values.len(), self.entries.len());
        self.open.push(Open { start, keys, values, entries, is_array });
        self.unsure |= self.open.len() > DEPTH;
        !self.unsure
    }

    fn close(&mut self, end: usize, is_array: bool) -> Option<()> {
        let open = self.open.pop().filter(|open| open.is_array == is_array)?;
        let item = if is_array {
            Item::Array(self.values.drain(open.values..).collect())
        } else {
            let entries = self.entries.drain(open.entries..).collect();
            Item::Table(Table { entries, made: Made::Inline })
        };
        self.value(Value::new(item, (open.start..end).into()))
    }

    /// Adds a value to its array, table or section.
    fn value(&mut self, value: Value<'a>) -> Option<()> {
        let (entries, first, keys) = match self.open.last() {
            Some(open) if open.is_array => {
                self.values.push(value);
                return Some(());
            }
            Some(open) => (&mut self.entries, open.entries, open.keys),
            None => (&mut self.section.entries, 0, 0),
        };
        if self.keys.len() - keys > DEPTH {
            return None;
        }
        insert(entries, first, self.keys.drain(keys..), value)
    }

    fn scalar(
        &self,
        span: Span,
        encoding: Option<Encoding>,
        errors: &mut dyn ErrorSink,
    ) -> Option<Value<'a>> {
        let raw = self.source.get(Event::new_unchecked(EventKind::Scalar, encoding, span))?;
        let mut text = Cow::Borrowed("");
        let item = match raw.decode_scalar(&mut text, errors) {
            ScalarKind::String => Item::String(text),
            ScalarKind::Boolean(value) => Item::Boolean(value),
            ScalarKind::Float => Item::Other("float"),
            ScalarKind::Integer(radix) => Item::Integer(match radix.value() {
                2 => format!("0b{text}").into(),
                8 => format!("0o{text}").into(),
                16 => format!("0x{text}").into(),
                _ => text,
            }),
            // A text of this form may still be no valid time.
            ScalarKind::DateTime => return None,
        };
        Some(Value::new(item, (span.start()..span.end()).into()))
    }

    fn key(
        &self,
        span: Span,
        encoding: Option<Encoding>,
        errors: &mut dyn ErrorSink,
    ) -> Option<Key<'a>> {
        let raw = self.source.get(Event::new_unchecked(EventKind::SimpleKey, encoding, span))?;
        let mut text = Cow::Borrowed("");
        raw.decode_key(&mut text, errors);
        Some(Key::new(text, (span.start()..span.end()).into()))
    }
}

/// The index of a key among the entries from `first` on. `None` if there are too many.
fn find(entries: &[Entry<'_>], first: usize, key: &Key<'_>) -> Option<Option<usize>> {
    let own = entries.get(first..).filter(|own| own.len() <= KEYS)?;
    let place = own.iter().position(|(other, _)| other.text() == key.text());
    Some(place.map(|place| first + place))
}

/// The entries of a table on a header's path, which is made if it does not exist.
fn descend<'t, 'a>(
    entries: &'t mut Vec<Entry<'a>>,
    key: Key<'a>,
) -> Option<&'t mut Vec<Entry<'a>>> {
    let place = match find(entries, 0, &key)? {
        Some(place) => place,
        None => {
            push_table(entries, key, Made::Implied);
            entries.len() - 1
        }
    };
    let mut item = &mut entries.get_mut(place)?.1.item;
    if let Item::Tables(tables) = item {
        item = &mut tables.last_mut()?.item;
    }
    match item {
        Item::Table(table) if table.made != Made::Inline => Some(&mut table.entries),
        _ => None,
    }
}

/// Inserts a value by its keys into a table, whose entries are those from `first` on.
fn insert<'a>(
    mut entries: &mut Vec<Entry<'a>>,
    mut first: usize,
    keys: impl ExactSizeIterator<Item = Key<'a>>,
    value: Value<'a>,
) -> Option<()> {
    let last = keys.len().checked_sub(1)?;
    for (number, key) in keys.enumerate() {
        let place = find(entries, first, &key)?;
        if number == last {
            if place.is_none() {
                entries.push((key, value));
            }
            return place.is_none().then_some(());
        }
        let place = place.unwrap_or_else(|| {
            push_table(entries, key, Made::Dotted);
            entries.len() - 1
        });
        match &mut entries.get_mut(place)?.1.item {
            Item::Table(table) if table.made == Made::Dotted => entries = &mut table.entries,
            _ => return None,
        }
        first = 0;
    }
    None
}

fn push_table<'a>(entries: &mut Vec<Entry<'a>>, key: Key<'a>, made: Made) {
    let at = key.span().into();
    entries.push((key, Value::new(Item::Table(Table { entries: Vec::new(), made }), at)));
}

impl EventReceiver for Builder<'_> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_header(span.start());
    }

    fn std_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_header(false, span.end());
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_header(span.start());
    }

    fn array_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_header(true, span.end());
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span.start(), false)
    }

    fn inline_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        let done = self.close(span.end(), false);
        self.doubt(done);
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span.start(), true)
    }

    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        let done = self.close(span.end(), true);
        self.doubt(done);
    }

    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, errors: &mut dyn ErrorSink) {
        match self.key(span, kind, errors) {
            Some(key) => self.keys.push(key),
            None => self.unsure = true,
        }
    }

    fn scalar(&mut self, span: Span, kind: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let value = Builder::scalar(self, span, kind, errors);
        let done = value.and_then(|value| self.value(value));
        self.doubt(done);
    }

    fn error(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.unsure = true;
    }
}

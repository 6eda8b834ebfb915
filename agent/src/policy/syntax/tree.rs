//! A TOML document for policies: small, borrowed from the text, and in the text's order.

use std::{borrow::Cow, ops::Range};

use toml::de::{DeTable, DeValue};

/// A stretch of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    start: u32,
    end: u32,
}

impl From<Range<usize>> for At {
    fn from(range: Range<usize>) -> Self {
        let byte = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: byte(range.start), end: byte(range.end) }
    }
}

impl From<At> for Range<usize> {
    fn from(at: At) -> Self {
        at.start as usize..at.end as usize
    }
}

/// A key, and its place.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct Key<'a> {
    text: Cow<'a, str>,
    at: At,
}

impl<'a> Key<'a> {
    pub(super) fn new(text: Cow<'a, str>, at: At) -> Self {
        Self { text, at }
    }

    /// Its text.
    pub(in crate::policy) fn text(&self) -> &str {
        &self.text
    }

    /// Its place.
    pub(in crate::policy) fn span(&self) -> Range<usize> {
        self.at.into()
    }
}

/// A value, and its place.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct Value<'a> {
    pub(super) item: Item<'a>,
    at: At,
}

/// A value without its place.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) enum Item<'a> {
    /// A string.
    String(Cow<'a, str>),
    /// A whole number, with the prefix of its base.
    Integer(Cow<'a, str>),
    /// A truth value.
    Boolean(bool),
    /// A value of a type that policies don't use, by the type's name.
    Other(&'static str),
    /// An array.
    Array(Vec<Value<'a>>),
    /// The tables of `[[such]]` headers.
    Tables(Vec<Value<'a>>),
    /// Values by key.
    Table(Table<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn new(item: Item<'a>, at: At) -> Self {
        Self { item, at }
    }

    /// The value itself.
    pub(in crate::policy) fn item(&self) -> &Item<'a> {
        &self.item
    }

    /// Its place; of a table with a header, the header's.
    pub(in crate::policy) fn span(&self) -> Range<usize> {
        self.at.into()
    }

    /// The text of a string.
    pub(in crate::policy) fn as_str(&self) -> Option<&str> {
        if let Item::String(text) = &self.item { Some(text) } else { None }
    }

    /// A truth value.
    pub(in crate::policy) fn as_bool(&self) -> Option<bool> {
        if let Item::Boolean(value) = self.item { Some(value) } else { None }
    }

    /// The values of an array, or the tables of headers.
    pub(in crate::policy) fn as_array(&self) -> Option<&[Self]> {
        if let Item::Array(values) | Item::Tables(values) = &self.item {
            Some(values)
        } else {
            None
        }
    }

    /// A table.
    pub(in crate::policy) fn as_table(&self) -> Option<&Table<'a>> {
        if let Item::Table(table) = &self.item { Some(table) } else { None }
    }

    /// The name of its type.
    pub(in crate::policy) fn type_name(&self) -> &'static str {
        match &self.item {
            Item::String(_) => "string",
            Item::Integer(_) => "integer",
            Item::Boolean(_) => "boolean",
            Item::Other(name) => name,
            Item::Array(_) | Item::Tables(_) => "array",
            Item::Table(_) => "table",
        }
    }
}

/// How a table was defined, which decides what may add to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Made {
    /// By its header; the file itself has none.
    #[default]
    Header,
    /// By the header of a table within it.
    Implied,
    /// By a dotted key.
    Dotted,
    /// In braces.
    Inline,
}

/// Values by key, in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::policy) struct Table<'a> {
    pub(super) entries: Vec<(Key<'a>, Value<'a>)>,
    pub(super) made: Made,
}

impl<'a> Table<'a> {
    /// Its keys and values.
    pub(in crate::policy) fn iter(&self) -> impl Iterator<Item = (&Key<'a>, &Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

impl<'a> From<DeTable<'a>> for Table<'a> {
    fn from(table: DeTable<'a>) -> Self {
        let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<_>)| {
            let at = key.span().into();
            (Key::new(key.into_inner(), at), value.into())
        };
        Self { entries: table.into_iter().map(entry).collect(), made: Made::default() }
    }
}

impl<'a> From<toml::Spanned<DeValue<'a>>> for Value<'a> {
    fn from(value: toml::Spanned<DeValue<'a>>) -> Self {
        let at = value.span().into();
        let item = match value.into_inner() {
            DeValue::String(text) => Item::String(text),
            DeValue::Integer(number) => Item::Integer(number.to_string().into()),
            DeValue::Boolean(value) => Item::Boolean(value),
            value @ (DeValue::Float(_) | DeValue::Datetime(_)) => Item::Other(value.type_str()),
            DeValue::Array(values) => Item::Array(values.into_iter().map(Self::from).collect()),
            DeValue::Table(table) => Item::Table(table.into()),
        };
        Self { item, at }
    }
}

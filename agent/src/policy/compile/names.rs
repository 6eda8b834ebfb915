//! The patterns of one node: which of them a name matches, and the pairs of affixes that decide it.
//!
//! A name is looked up by the longest prefix and the longest suffix of it that some pattern has. The
//! patterns that it matches are then those whose prefix begins that prefix and whose suffix ends that
//! suffix, provided that prefix and suffix don't overlap in the name. Names in which they do are
//! finitely many, and are listed.

use agent_common::limits::NAME_BYTES;

/// Affixes of one kind, each with a number: its place in order. In order, all that begin with one affix
/// follow it at once.
#[derive(Default)]
pub(super) struct Affixes<'t> {
    texts: Vec<&'t [u8]>,
    /// For each, the longest other one that begins it; the empty one, number 0, has itself.
    outer: Vec<u32>,
    /// For each, the number after the last that it begins.
    ends: Vec<u32>,
}

impl<'t> Affixes<'t> {
    /// Takes other affixes in place of those that are there, and the empty one with them.
    fn fill(&mut self, texts: impl Iterator<Item = &'t [u8]>) {
        let Self { texts: own, outer, ends } = self;
        own.clear();
        own.push(&[]);
        own.extend(texts);
        own.sort_unstable();
        own.dedup();
        outer.clear();
        ends.clear();
        let mut around = 0;
        for (text, number) in own.iter().zip(0..) {
            around = within(own, outer, around, text);
            outer.push(around);
            ends.push(number + 1);
            around = number;
        }
        for number in (0..ends.len()).rev() {
            if let (Some(end), Some(outer)) = (ends.get(number).copied(), outer.get(number))
                && let Some(outer) = ends.get_mut(*outer as usize)
            {
                *outer = end.max(*outer);
            }
        }
    }

    /// The number of an affix that is there.
    fn number(&self, text: &[u8]) -> Option<u32> {
        self.texts.binary_search(&text).ok().map(|number| number as u32)
    }

    /// The affixes that a text begins with, from the longest down: length and number.
    fn beginning(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> + Clone {
        // What begins the text is not after it in order, and begins all that is between the two.
        let last = self.texts.partition_point(|other| *other <= text).saturating_sub(1) as u32;
        self.chain(within(&self.texts, &self.outer, last, text))
    }

    /// An affix and those that begin it, from the longest down: length and number.
    fn chain(&self, number: u32) -> impl Iterator<Item = (usize, u32)> + Clone {
        let mut next = Some(number);
        std::iter::from_fn(move || {
            let number = next?;
            let text = self.texts.get(number as usize)?;
            next = self.outer.get(number as usize).copied().filter(|outer| *outer != number);
            Some((text.len(), number))
        })
    }

    /// Every affix, by number.
    pub(super) fn texts(&self) -> &[&'t [u8]] {
        &self.texts
    }
}

/// The first of an affix and those around it that begins a text; the empty one does.
fn within(texts: &[&[u8]], outer: &[u32], mut number: u32, text: &[u8]) -> u32 {
    while number != 0 && !texts.get(number as usize).is_some_and(|other| text.starts_with(other)) {
        number = outer.get(number as usize).copied().unwrap_or(0);
    }
    number
}

/// Patterns `prefix*suffix` and where each leads.
#[derive(Default)]
pub(super) struct Names<'t> {
    /// The prefixes, the empty one included.
    pub(super) prefixes: Affixes<'t>,
    /// The suffixes, last byte first, the empty one included.
    pub(super) suffixes: Affixes<'t>,
    /// Numbers of prefix and suffix, and the target, in order.
    targets: Vec<(u32, u32, u32)>,
}

impl<'t> Names<'t> {
    /// Takes a node's patterns in place of those that are there: prefix, suffix with its last byte first,
    /// target.
    pub(super) fn fill(
        &mut self,
        patterns: impl Iterator<Item = (&'t [u8], &'t [u8], u32)> + Clone,
    ) {
        let Self { prefixes, suffixes, targets } = self;
        targets.clear();
        if patterns.clone().next().is_none() {
            return;
        }
        prefixes.fill(patterns.clone().map(|(prefix, ..)| prefix));
        suffixes.fill(patterns.clone().map(|(_, suffix, _)| suffix));
        targets.extend(patterns.filter_map(|(prefix, suffix, target)| {
            Some((prefixes.number(prefix)?, suffixes.number(suffix)?, target))
        }));
        targets.sort_unstable();
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Adds the targets of the patterns that a name matches.
    pub(super) fn matching(&self, name: &[u8], found: &mut Vec<u32>) {
        if self.is_empty() {
            return;
        }
        let reversed: Vec<u8> = name.iter().rev().copied().collect();
        let suffixes = self.suffixes.beginning(&reversed);
        for (prefix_len, prefix) in self.prefixes.beginning(name) {
            for (suffix_len, suffix) in suffixes.clone() {
                if prefix_len + suffix_len <= name.len() {
                    found.extend(self.leading(prefix, suffix));
                }
            }
        }
    }

    /// The targets of the patterns that a name matches which has these longest affixes, and room for
    /// both.
    pub(super) fn pair(&self, (prefix, suffix): (u32, u32)) -> Vec<u32> {
        let mut found = Vec::new();
        for (_, prefix) in self.prefixes.chain(prefix) {
            for (_, suffix) in self.suffixes.chain(suffix) {
                found.extend(self.leading(prefix, suffix));
            }
        }
        found
    }

    /// The targets of the patterns with just these affixes.
    fn leading(&self, prefix: u32, suffix: u32) -> impl Iterator<Item = u32> {
        let start =
            self.targets.partition_point(|(one, other, _)| (*one, *other) < (prefix, suffix));
        let rest = self.targets.get(start..).unwrap_or_default().iter();
        rest.take_while(move |(one, other, _)| (*one, *other) == (prefix, suffix))
            .map(|(.., target)| *target)
    }

    /// The suffixes that make a pair with a prefix which some pattern matches: ranges of numbers that
    /// don't overlap.
    fn partners(&self, prefix: u32) -> Vec<(u32, u32)> {
        let mut starts = Vec::new();
        for (_, prefix) in self.prefixes.chain(prefix) {
            let first = self.targets.partition_point(|(one, ..)| *one < prefix);
            let rest = self.targets.get(first..).unwrap_or_default().iter();
            starts
                .extend(rest.take_while(|(one, ..)| *one == prefix).map(|(_, suffix, _)| *suffix));
        }
        starts.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for start in starts {
            // Ranges lie within each other or apart.
            if ranges.last().is_none_or(|(_, end)| *end <= start) {
                let end = self.suffixes.ends.get(start as usize).copied().unwrap_or(start);
                ranges.push((start, end));
            }
        }
        ranges
    }

    /// The numbers of all prefixes.
    fn prefixes(&self) -> std::ops::Range<u32> {
        0..self.prefixes.texts.len() as u32
    }

    /// Whether there are more pairs than this.
    pub(super) fn more_pairs_than(&self, most: usize) -> bool {
        let mut count = 0;
        self.prefixes().any(|prefix| {
            let ranges = self.partners(prefix);
            count += ranges.iter().map(|(start, end)| (end - start) as usize).sum::<usize>();
            count > most
        })
    }

    /// Every pair of affixes that some pattern matches.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.prefixes().flat_map(|prefix| {
            let ranges = self.partners(prefix).into_iter();
            ranges.flat_map(move |(start, end)| (start..end).map(move |suffix| (prefix, suffix)))
        })
    }

    /// The names in which the two affixes of a pair overlap.
    pub(super) fn overlaps(&self, (prefix, suffix): (u32, u32)) -> Vec<Vec<u8>> {
        let (Some(prefix), Some(suffix)) =
            (self.prefixes.texts.get(prefix as usize), self.suffixes.texts.get(suffix as usize))
        else {
            return Vec::new();
        };
        if prefix.is_empty() || suffix.is_empty() {
            return Vec::new();
        }
        let suffix: Vec<u8> = suffix.iter().rev().copied().collect();
        (1..=prefix.len().min(suffix.len()))
            .filter_map(|shared| {
                let (begin, rest) = suffix.split_at_checked(shared)?;
                prefix.ends_with(begin).then(|| [*prefix, rest].concat())
            })
            .filter(|name| name.len() <= NAME_BYTES)
            .collect()
    }
}

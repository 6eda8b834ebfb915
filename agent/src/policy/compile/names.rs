//! The `*` patterns of one node: which of them a name matches, and the pairs of prefix and suffix that decide it.
//!
//! The kernel looks a name up by its longest prefix and its longest suffix that some pattern has. The name then matches
//! the patterns whose prefix is a beginning of that prefix and whose suffix is an end of that suffix, provided that
//! prefix and suffix don't overlap in the name. There are finitely many names in which they do, and these are listed as
//! literal names.

use agent_common::limits::NAME_BYTES;

/// Affixes of one kind, sorted; the number of each is its index. All affixes that begin with one follow directly after
/// it.
#[derive(Default)]
pub(super) struct Affixes<'t> {
    texts: Vec<&'t [u8]>,
    /// For each, the number of the longest other one that is its beginning; the empty one, number 0, has itself.
    outer: Vec<u32>,
    /// For each, the number after the last affix that begins with it.
    ends: Vec<u32>,
}

impl<'t> Affixes<'t> {
    /// Replaces the affixes by others, and adds the empty one.
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

    /// The number of an affix, if it exists.
    fn number(&self, text: &[u8]) -> Option<u32> {
        self.texts.binary_search(&text).ok().map(|number| number as u32)
    }

    /// The affixes that a text begins with, the longest first: length and number.
    fn beginning(&self, text: &[u8]) -> impl Iterator<Item = (usize, u32)> + Clone {
        // A beginning of the text is sorted before it, and everything between the two begins with it too.
        let last = self.texts.partition_point(|other| *other <= text).saturating_sub(1) as u32;
        self.chain(within(&self.texts, &self.outer, last, text))
    }

    /// An affix and those that are its beginnings, the longest first: length and number.
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

/// The longest of an affix and its beginnings that is a beginning of the text; the empty one always is.
fn within(texts: &[&[u8]], outer: &[u32], mut number: u32, text: &[u8]) -> u32 {
    while number != 0 && !texts.get(number as usize).is_some_and(|other| text.starts_with(other)) {
        number = outer.get(number as usize).copied().unwrap_or(0);
    }
    number
}

/// Patterns `prefix*suffix`, with the target of each.
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
    /// Replaces the patterns by a node's: prefix, suffix with its last byte first, target.
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

    /// The targets of the patterns that a name matches with these longest affixes, if they don't overlap in it.
    pub(super) fn pair(&self, (prefix, suffix): (u32, u32)) -> Vec<u32> {
        let mut found = Vec::new();
        for (_, prefix) in self.prefixes.chain(prefix) {
            for (_, suffix) in self.suffixes.chain(suffix) {
                found.extend(self.leading(prefix, suffix));
            }
        }
        found
    }

    /// The targets of the patterns with exactly these affixes.
    fn leading(&self, prefix: u32, suffix: u32) -> impl Iterator<Item = u32> {
        let start =
            self.targets.partition_point(|(one, other, _)| (*one, *other) < (prefix, suffix));
        let rest = self.targets.get(start..).unwrap_or_default().iter();
        rest.take_while(move |(one, other, _)| (*one, *other) == (prefix, suffix))
            .map(|(.., target)| *target)
    }

    /// The suffixes that make a pair with a prefix which some pattern matches: disjoint ranges of numbers.
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
            // Two ranges are nested or disjoint.
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

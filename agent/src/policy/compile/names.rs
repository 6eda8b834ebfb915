//! The patterns of one node: which of them a name matches, and the pairs of affixes that decide it.
//!
//! A name is looked up by the longest prefix and the longest suffix of it that some pattern has. The
//! patterns that it matches are then those whose prefix begins that prefix and whose suffix ends that
//! suffix, provided that prefix and suffix don't overlap in the name. Names in which they do are
//! finitely many, and are listed.

use std::collections::{BTreeSet, HashMap};

use agent_common::limits::NAME_BYTES;

/// Affixes of one kind, each with a number: its place in order.
#[derive(Default)]
pub(super) struct Affixes {
    texts: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, u32>,
    /// For each, the numbers of those that begin it: from the empty one to itself.
    chains: Vec<Vec<u32>>,
    /// For each, the number after the last that it begins. They follow it in order.
    ends: Vec<u32>,
}

impl Affixes {
    fn new(texts: BTreeSet<Vec<u8>>) -> Self {
        let texts: Vec<_> = texts.into_iter().collect();
        let numbers: HashMap<_, _> = texts.iter().cloned().zip(0..).collect();
        let mut affixes =
            Self { chains: Vec::new(), ends: (1..).take(texts.len()).collect(), texts, numbers };
        for number in 0..affixes.texts.len() {
            let chain: Vec<_> = affixes.texts.get(number).map_or_else(Vec::new, |text| {
                affixes.beginning(text).map(|(_, number)| number).collect()
            });
            for outer in &chain {
                if let Some(end) = affixes.ends.get_mut(*outer as usize) {
                    *end = number as u32 + 1;
                }
            }
            affixes.chains.push(chain);
        }
        affixes
    }

    /// The affixes that a text begins with: length and number.
    fn beginning<'n>(&'n self, text: &'n [u8]) -> impl Iterator<Item = (usize, u32)> + 'n {
        (0..=text.len()).filter_map(|len| Some((len, *self.numbers.get(text.get(..len)?)?)))
    }

    /// Every affix, by number.
    pub(super) fn texts(&self) -> &[Vec<u8>] {
        &self.texts
    }
}

/// Patterns `prefix*suffix` and where each leads.
#[derive(Default)]
pub(super) struct Names {
    /// The prefixes, the empty one included.
    pub(super) prefixes: Affixes,
    /// The suffixes, last byte first, the empty one included.
    pub(super) suffixes: Affixes,
    /// Targets by the numbers of prefix and suffix.
    targets: HashMap<(u32, u32), Vec<u32>>,
    /// The suffixes that stand with each prefix.
    partners: HashMap<u32, Vec<u32>>,
}

impl Names {
    /// The patterns of a node.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = (&'p str, &'p str, u32)> + Clone) -> Self {
        let reversed = |text: &str| text.bytes().rev().collect::<Vec<_>>();
        let empty = || std::iter::once(Vec::new());
        let prefixes = patterns.clone().map(|(prefix, ..)| prefix.as_bytes().to_vec());
        let suffixes = patterns.clone().map(|(_, suffix, _)| reversed(suffix));
        let prefixes = Affixes::new(empty().chain(prefixes).collect());
        let suffixes = Affixes::new(empty().chain(suffixes).collect());
        let mut targets: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        let mut partners: HashMap<u32, Vec<u32>> = HashMap::new();
        for (prefix, suffix, target) in patterns {
            let prefix = prefixes.numbers.get(prefix.as_bytes());
            let suffix = suffixes.numbers.get(&reversed(suffix));
            if let (Some(prefix), Some(suffix)) = (prefix, suffix) {
                targets.entry((*prefix, *suffix)).or_default().push(target);
                partners.entry(*prefix).or_default().push(*suffix);
            }
        }
        Self { prefixes, suffixes, targets, partners }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The targets of the patterns that a name matches.
    pub(super) fn matching(&self, name: &[u8]) -> Vec<u32> {
        if self.is_empty() {
            return Vec::new();
        }
        let reversed: Vec<u8> = name.iter().rev().copied().collect();
        let suffixes: Vec<_> = self.suffixes.beginning(&reversed).collect();
        let mut found = Vec::new();
        for (prefix_len, prefix) in self.prefixes.beginning(name) {
            for (suffix_len, suffix) in &suffixes {
                if prefix_len + suffix_len <= name.len() {
                    found.extend(self.targets.get(&(prefix, *suffix)).into_iter().flatten());
                }
            }
        }
        found
    }

    /// The targets of the patterns that a name matches which has these longest affixes, and room for
    /// both.
    pub(super) fn pair(&self, (prefix, suffix): (u32, u32)) -> Vec<u32> {
        let chain =
            |affixes: &'_ Affixes, number: u32| affixes.chains.get(number as usize).cloned();
        let suffixes = chain(&self.suffixes, suffix).unwrap_or_default();
        let mut found = Vec::new();
        for prefix in chain(&self.prefixes, prefix).unwrap_or_default() {
            for suffix in &suffixes {
                found.extend(self.targets.get(&(prefix, *suffix)).into_iter().flatten());
            }
        }
        found
    }

    /// The suffixes that make a pair with a prefix which some pattern matches: ranges of numbers that
    /// don't overlap.
    fn partners(&self, chain: &[u32]) -> Vec<(u32, u32)> {
        let mut starts: Vec<u32> = chain
            .iter()
            .filter_map(|prefix| self.partners.get(prefix))
            .flatten()
            .copied()
            .collect();
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

    /// Whether there are more pairs than this.
    pub(super) fn more_pairs_than(&self, most: usize) -> bool {
        let mut count = 0;
        self.prefixes.chains.iter().any(|chain| {
            let ranges = self.partners(chain);
            count += ranges.iter().map(|(start, end)| (end - start) as usize).sum::<usize>();
            count > most
        })
    }

    /// Every pair of affixes that some pattern matches.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.prefixes.chains.iter().zip(0..).flat_map(|(chain, prefix)| {
            let ranges = self.partners(chain).into_iter();
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
                prefix.ends_with(begin).then(|| [prefix.as_slice(), rest].concat())
            })
            .filter(|name| name.len() <= NAME_BYTES)
            .collect()
    }
}

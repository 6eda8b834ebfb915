//! The patterns of one node: which of them a name matches, and the pairs of affixes that decide it.
//!
//! A name is looked up by the longest prefix and the longest suffix of it that some pattern has. The
//! patterns that it matches are then those whose prefix begins that prefix and whose suffix ends that
//! suffix, provided that prefix and suffix don't overlap in the name. Names in which they do are
//! finitely many, and are listed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agent_common::limits::NAME_BYTES;

/// Patterns `prefix*suffix` and where each leads.
#[derive(Default)]
pub(super) struct Names {
    /// Every prefix, the empty one included, in order; the place is its number.
    pub(super) prefixes: Vec<Vec<u8>>,
    /// Every suffix, last byte first, likewise.
    pub(super) suffixes: Vec<Vec<u8>>,
    prefix_numbers: HashMap<Vec<u8>, u32>,
    suffix_numbers: HashMap<Vec<u8>, u32>,
    /// Targets by the numbers of prefix and suffix.
    targets: HashMap<(u32, u32), Vec<u32>>,
}

impl Names {
    /// The patterns of a node.
    pub(super) fn new<'p>(patterns: impl Iterator<Item = (&'p str, &'p str, u32)> + Clone) -> Self {
        let reversed = |text: &str| text.bytes().rev().collect::<Vec<_>>();
        let empty = || std::iter::once(Vec::new());
        let prefixes: BTreeSet<Vec<u8>> = empty()
            .chain(patterns.clone().map(|(prefix, ..)| prefix.as_bytes().to_vec()))
            .collect();
        let suffixes: BTreeSet<Vec<u8>> =
            empty().chain(patterns.clone().map(|(_, suffix, _)| reversed(suffix))).collect();
        let number = |affixes: &BTreeSet<Vec<u8>>| -> HashMap<Vec<u8>, u32> {
            affixes.iter().cloned().zip(0..).collect()
        };
        let (prefix_numbers, suffix_numbers) = (number(&prefixes), number(&suffixes));
        let mut targets: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for (prefix, suffix, target) in patterns {
            let prefix = prefix_numbers.get(prefix.as_bytes());
            let suffix = suffix_numbers.get(&reversed(suffix));
            if let (Some(prefix), Some(suffix)) = (prefix, suffix) {
                targets.entry((*prefix, *suffix)).or_default().push(target);
            }
        }
        Self {
            prefixes: prefixes.into_iter().collect(),
            suffixes: suffixes.into_iter().collect(),
            prefix_numbers,
            suffix_numbers,
            targets,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The targets of the patterns that a name matches.
    pub(super) fn matching(&self, name: &[u8]) -> Vec<u32> {
        let reversed: Vec<u8> = name.iter().rev().copied().collect();
        self.collect(name, &reversed, name.len())
    }

    /// The targets of the patterns that a long enough name with these longest affixes matches.
    fn pair(&self, prefix: &[u8], suffix: &[u8]) -> Vec<u32> {
        self.collect(prefix, suffix, usize::MAX)
    }

    /// The targets of patterns whose affixes begin the given ones and have `room` together.
    fn collect(&self, prefix: &[u8], suffix: &[u8], room: usize) -> Vec<u32> {
        let begins = |text: &[u8], numbers: &HashMap<Vec<u8>, u32>| -> Vec<(usize, u32)> {
            (0..=text.len())
                .filter_map(|len| Some((len, *numbers.get(text.get(..len)?)?)))
                .collect()
        };
        let suffixes = begins(suffix, &self.suffix_numbers);
        let mut found = Vec::new();
        for (prefix_len, prefix) in begins(prefix, &self.prefix_numbers) {
            for (suffix_len, suffix) in &suffixes {
                if prefix_len + suffix_len <= room {
                    found.extend(self.targets.get(&(prefix, *suffix)).into_iter().flatten());
                }
            }
        }
        found
    }

    /// Every pair of affixes that some pattern matches, with its targets. Stops after `most`.
    pub(super) fn pairs(&self, most: usize) -> BTreeMap<(u32, u32), Vec<u32>> {
        let mut pairs = BTreeMap::new();
        let mut keys: Vec<_> = self.targets.keys().copied().collect();
        keys.sort_unstable();
        for (prefix, suffix) in keys {
            for longer_prefix in extensions(&self.prefixes, prefix) {
                for longer_suffix in extensions(&self.suffixes, suffix) {
                    if pairs.len() > most {
                        return pairs;
                    }
                    pairs.entry((longer_prefix, longer_suffix)).or_insert_with(|| {
                        match (
                            self.prefixes.get(longer_prefix as usize),
                            self.suffixes.get(longer_suffix as usize),
                        ) {
                            (Some(prefix), Some(suffix)) => self.pair(prefix, suffix),
                            _ => Vec::new(),
                        }
                    });
                }
            }
        }
        pairs
    }

    /// The names in which the two affixes of a pair overlap.
    pub(super) fn overlaps(&self, (prefix, suffix): (u32, u32)) -> Vec<Vec<u8>> {
        let (Some(prefix), Some(suffix)) =
            (self.prefixes.get(prefix as usize), self.suffixes.get(suffix as usize))
        else {
            return Vec::new();
        };
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

/// The numbers of the affixes that begin like one of them: they follow it in order.
fn extensions(affixes: &[Vec<u8>], number: u32) -> impl Iterator<Item = u32> + '_ {
    let first = affixes.get(number as usize);
    affixes
        .iter()
        .enumerate()
        .skip(number as usize)
        .take_while(move |(_, affix)| first.is_some_and(|first| affix.starts_with(first)))
        .map(|(number, _)| number as u32)
}

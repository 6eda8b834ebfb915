//! The set of event numbers that the log has.
//!
//! Events are delivered at least once: the daemon may be killed between writing them and releasing them from the ring.
//! They may come out of order, since a CPU takes a number and room in the ring in two steps. So the highest number
//! alone can't distinguish a repeated event from a late one; the set can.

use std::collections::BTreeMap;

/// The most ranges. Only losses leave gaps in the numbers, so there are few. The lowest are forgotten first: those
/// events left the ring long ago.
const RANGES: usize = 65_536;

/// A set of event numbers, kept as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// From the first number of each range to its last.
    ranges: BTreeMap<u64, u64>,
}

impl Seen {
    /// Adds the numbers from `first` to `last`, both included.
    pub fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last.max(first));
        // Every range that touches the new one begins at or before one past its end.
        while let Some((&start, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
        if self.ranges.len() > RANGES {
            self.ranges.pop_first();
        }
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }

    /// How many numbers lie between the lowest and the highest and are not in the set.
    pub fn missing(&self) -> u64 {
        let ends = self.ranges.iter().zip(self.ranges.iter().skip(1));
        ends.map(|((_, last), (next, _))| next - last - 1).sum()
    }

    /// The ranges, lowest first.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::incident::testing::Random;

    #[test]
    fn touching_and_overlapping_ranges_merge() {
        let mut seen = Seen::default();
        for (first, last) in [(5, 6), (1, 2), (9, 9), (3, 4), (8, 8)] {
            seen.insert(first, last);
        }
        assert_eq!(seen.ranges().collect::<Vec<_>>(), [(1, 6), (8, 9)]);
        assert_eq!((seen.last(), seen.missing()), (Some(9), 1));
        assert!(seen.contains(1) && seen.contains(6) && !seen.contains(7) && !seen.contains(0));
        seen.insert(0, u64::MAX);
        assert_eq!(seen.ranges().collect::<Vec<_>>(), [(0, u64::MAX)]);
    }

    #[test]
    fn random_ranges_agree_with_a_plain_set() {
        let mut random = Random(11);
        let (mut seen, mut plain) = (Seen::default(), BTreeSet::new());
        for _ in 0..300 {
            let first = random.below(1_000) as u64;
            let last = first + random.below(6) as u64;
            seen.insert(first, last);
            plain.extend(first..=last);
            for number in 0..1_010 {
                assert_eq!(seen.contains(number), plain.contains(&number), "{number}");
            }
        }
    }
}

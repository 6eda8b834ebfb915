//! Labels are sums of the effects of rules. Each sum is computed once.
//!
//! Inside the compiler a sum is a [`MixId`]. Only sums that some table refers to get a number in the kernel's label
//! table.

use agent_common::{
    access::Rights,
    id::{LabelId, ToolBit},
    limits::LABELS,
    rule::Label,
};
use hashbrown::HashMap;

use crate::policy::limit::LimitError;

/// The effect of one rule on the objects that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    /// The tool has these rights.
    Grant(ToolBit, Rights),
    /// The policy denies these rights.
    Deny(Rights),
    /// The data has the sensitivity of this bit.
    Sensitive(u32),
    /// Remit denies these rights to every session, except those that it gives to every session.
    Guard(Rights),
    /// Remit gives these rights to every session.
    Always(Rights),
}

impl Effect {
    /// The rights that it concerns.
    pub(super) const fn rights(self) -> Rights {
        match self {
            Self::Grant(_, rights)
            | Self::Deny(rights)
            | Self::Guard(rights)
            | Self::Always(rights) => rights,
            Self::Sensitive(_) => Rights::NONE,
        }
    }
}

/// A sum of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct MixId(u32);

impl MixId {
    /// No effect.
    pub(super) const NONE: Self = Self(0);
}

impl Default for MixId {
    fn default() -> Self {
        Self::NONE
    }
}

/// The number of a rule with exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Excepted(u32);

/// Rules with exceptions, in order, each with whether one of its exceptions matches. Then it has no effect, so whether
/// one of its paths matches is not kept.
type Open = Box<[(Excepted, bool)]>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Mix {
    /// Of the rules without exceptions.
    label: Label,
    guarded: u8,
    /// The number of the [`Open`] rules.
    open: u32,
}

impl Mix {
    const NONE: Self = Self { label: Label::NONE, guarded: 0, open: 0 };

    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Grant(tool, rights) => {
                for right in rights.iter() {
                    if let Some(tools) = self.label.tools.get_mut(right as usize) {
                        tools.insert(tool);
                    }
                }
            }
            Effect::Deny(rights) => self.label.denied |= rights.0,
            Effect::Sensitive(bit) => self.label.sensitivity |= 1u32.checked_shl(bit).unwrap_or(0),
            Effect::Guard(rights) => self.guarded |= rights.0,
            Effect::Always(rights) => self.label.always |= rights.0,
        }
    }

    fn join(mut self, other: &Self) -> Self {
        for (tools, more) in self.label.tools.iter_mut().zip(&other.label.tools) {
            tools.merge(more);
        }
        self.label.denied |= other.label.denied;
        self.label.always |= other.label.always;
        self.label.sensitivity |= other.label.sensitivity;
        self.guarded |= other.guarded;
        self
    }

    /// Whether it denies anything.
    const fn denies(&self) -> bool {
        self.label.denied | self.guarded != 0
    }

    /// The label. Rights that Remit gives to every session beat Remit's own denials, but not the policy's.
    fn finish(mut self) -> Label {
        self.label.denied |= self.guarded & !self.label.always;
        self.label
    }
}

/// All sums, and the label table.
#[derive(Clone)]
pub(super) struct Mixer {
    mixes: Vec<Mix>,
    index: HashMap<Mix, MixId>,
    effects: HashMap<Effect, MixId>,
    /// The effect of the last call: many rules in a row have the same.
    last: Option<(Effect, MixId)>,
    joins: HashMap<(MixId, MixId), MixId>,
    numbers: Vec<Option<LabelId>>,
    labels: Vec<Label>,
    by_label: HashMap<Label, LabelId>,
    /// The effects of the rules with exceptions.
    excepted: Vec<Effect>,
    opens: Vec<Open>,
    open_numbers: HashMap<Open, u32>,
}

impl Mixer {
    /// The empty sum, and its label: number 0.
    pub(super) fn new() -> Self {
        Self {
            mixes: vec![Mix::NONE],
            index: HashMap::from([(Mix::NONE, MixId::NONE)]),
            effects: HashMap::new(),
            last: None,
            joins: HashMap::new(),
            numbers: vec![Some(LabelId::NONE)],
            labels: vec![Label::NONE],
            by_label: HashMap::from([(Label::NONE, LabelId::NONE)]),
            excepted: Vec::new(),
            opens: vec![Open::default()],
            open_numbers: HashMap::from([(Open::default(), 0)]),
        }
    }

    /// A rule with this effect where none of its exceptions matches: the sum of one of its paths, and that of one of
    /// its exceptions.
    pub(super) fn excepted(&mut self, effect: Effect) -> (MixId, MixId) {
        let rule = Excepted(self.excepted.len() as u32);
        self.excepted.push(effect);
        let [path, exception] = [false, true].map(|is_exception| {
            let open = self.open([(rule, is_exception)].into());
            self.intern(Mix { open, ..Mix::NONE })
        });
        (path, exception)
    }

    fn open(&mut self, rules: Open) -> u32 {
        let next = self.opens.len() as u32;
        let number = *self.open_numbers.entry_ref(&rules).or_insert(next);
        if number == next {
            self.opens.push(rules);
        }
        number
    }

    /// The rules with exceptions of both.
    fn join_open(&mut self, one: u32, other: u32) -> u32 {
        if one == other || other == 0 {
            return one;
        }
        if one == 0 {
            return other;
        }
        let rules = |number: u32| self.opens.get(number as usize).into_iter().flatten().copied();
        let mut joined: Vec<_> = rules(one).chain(rules(other)).collect();
        // An exception comes after the path of the same rule, and replaces it.
        joined.sort_unstable();
        joined.reverse();
        joined.dedup_by_key(|(rule, _)| *rule);
        joined.reverse();
        self.open(joined.into())
    }

    /// A sum whose rules with exceptions are settled.
    fn settled(&self, mut mix: Mix) -> Mix {
        for (Excepted(rule), is_exception) in
            self.opens.get(mix.open as usize).into_iter().flatten()
        {
            if let (false, Some(effect)) = (is_exception, self.excepted.get(*rule as usize)) {
                mix.add(*effect);
            }
        }
        mix
    }

    /// The sum of one effect.
    pub(super) fn of(&mut self, effect: Effect) -> MixId {
        if let Some((last, id)) = self.last
            && last == effect
        {
            return id;
        }
        let id = match self.effects.get(&effect) {
            Some(id) => *id,
            None => {
                let mut mix = Mix::NONE;
                mix.add(effect);
                self.intern(mix)
            }
        };
        self.effects.insert(effect, id);
        self.last = Some((effect, id));
        id
    }

    /// Both sums together.
    pub(super) fn join(&mut self, one: MixId, other: MixId) -> MixId {
        if one == other || other == MixId::NONE {
            return one;
        }
        if one == MixId::NONE {
            return other;
        }
        let key = (one.min(other), one.max(other));
        if let Some(id) = self.joins.get(&key) {
            return *id;
        }
        let [one, other] = [one, other].map(|id| self.mix(id));
        let open = self.join_open(one.open, other.open);
        let joined = Mix { open, ..one.join(&other) };
        let id = self.intern(joined);
        self.joins.insert(key, id);
        id
    }

    /// Whether the sum denies anything.
    pub(super) fn denies(&self, id: MixId) -> bool {
        self.settled(self.mix(id)).denies()
    }

    fn mix(&self, id: MixId) -> Mix {
        self.mixes.get(id.0 as usize).copied().unwrap_or(Mix::NONE)
    }

    fn intern(&mut self, mix: Mix) -> MixId {
        let next = MixId(self.mixes.len() as u32);
        let id = *self.index.entry(mix).or_insert(next);
        if id == next {
            self.mixes.push(mix);
            self.numbers.push(None);
        }
        id
    }

    /// The sum's number in the label table.
    ///
    /// # Errors
    /// The table is full.
    pub(super) fn number(&mut self, id: MixId) -> Result<LabelId, LimitError> {
        if let Some(Some(number)) = self.numbers.get(id.0 as usize) {
            return Ok(*number);
        }
        let label = self.settled(self.mix(id)).finish();
        let number = match self.by_label.get(&label) {
            Some(number) => *number,
            None if self.labels.len() >= LABELS => return Err(LimitError::Labels),
            None => {
                let number = LabelId(self.labels.len() as u32);
                self.labels.push(label);
                self.by_label.insert(label, number);
                number
            }
        };
        if let Some(place) = self.numbers.get_mut(id.0 as usize) {
            *place = Some(number);
        }
        Ok(number)
    }

    /// The label of a number.
    pub(super) fn label(&self, number: LabelId) -> Label {
        self.labels.get(number.0 as usize).copied().unwrap_or(Label::NONE)
    }

    /// The label table so far.
    pub(super) fn labels(&self) -> impl Iterator<Item = (LabelId, Label)> + '_ {
        self.labels.iter().enumerate().map(|(number, label)| (LabelId(number as u32), *label))
    }

    /// How many labels there are.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }
}

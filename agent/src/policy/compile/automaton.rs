//! Makes the deterministic automaton that the kernel walks from the trie, by the subset construction.
//!
//! A state is a set of trie nodes, and the effects of `/**` patterns that were passed on the way to it. Without `*`
//! patterns the sets have one member, and the automaton is the trie. Nodes from which no name leads on are not in the
//! set: below a `**` most names lead back to one state.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
};

use agent_common::{
    limits::{AFFIXES, CHUNK_BYTES, EDGES},
    rule::{
        AFFIX_PREFIX, AFFIX_SUFFIX, EDGE_AFFIXES, EDGE_CHUNK, EDGE_FOLDED, EDGE_FOLDED_CHUNK,
        EDGE_LAST, Edge, EdgeKey, NO_NODE, NODE_ANY, NODE_DENIED_NAMES, NODE_DENIED_PATTERNS,
        NODE_LOOPS, NODE_PATTERNS,
    },
};
use hashbrown::HashMap;

use super::{
    mixer::{MixId, Mixer},
    names::Names,
    state::{Pending, Set, Target},
    trie::{Node, Step, Trie},
    walk::edge_order,
};
use crate::policy::{
    limit::{Blamed, LimitError},
    tables::Rules,
};

/// The last number of an inner node; those above are roots'.
const LAST_NODE: u32 = agent_common::rule::SESSION_ROOT - 1;

/// The most trie nodes in all states together, without the first of each: patterns that combine in ever more ways are
/// refused before memory and time are short.
const MEMBERS: usize = EDGES / 2;

/// Why there is no automaton.
pub(super) struct TooLarge {
    /// What does not fit.
    pub(super) error: LimitError,
    /// For each trie node, how many states it is in.
    pub(super) states: Vec<u32>,
}

/// Turns one trie into edges and affixes.
pub(super) struct Automaton<'t> {
    trie: &'t Trie,
    mixer: &'t mut Mixer,
    /// The next free node number.
    next: &'t mut u32,
    /// How many edges and affixes fit.
    room: (usize, usize),
    states: HashMap<(Set, MixId), (u32, u32)>,
    pending: VecDeque<Pending>,
    /// Trie nodes in all states, without the first of each.
    members: usize,
    chunks: HashMap<(u32, u8, [u8; CHUNK_BYTES]), u32>,
    /// For each trie node, whether something is denied at or below it, and the flags that follow for its children.
    denials: Vec<(bool, u32)>,
    /// The patterns of the state whose edges are being made.
    names: Names<'t>,
    rules: Rules,
}

impl<'t> Automaton<'t> {
    /// Compiles a trie, from a root node on. `used` is how many edges and affixes are in use already.
    ///
    /// # Errors
    /// The tables can't hold it.
    pub(super) fn compile(
        trie: &'t Trie,
        mixer: &'t mut Mixer,
        next: &'t mut u32,
        root: u32,
        used: (usize, usize),
    ) -> Result<Rules, TooLarge> {
        let room = (EDGES.saturating_sub(used.0), AFFIXES.saturating_sub(used.1));
        let mut automaton = Self {
            trie,
            mixer,
            next,
            room,
            states: HashMap::new(),
            pending: VecDeque::new(),
            members: 0,
            chunks: HashMap::new(),
            denials: Vec::new(),
            names: Names::default(),
            rules: Rules { edges: Vec::with_capacity(trie.len()), ..Rules::default() },
        };
        automaton.denials = automaton.denials();
        if let Err(error) = automaton.states(root) {
            return Err(TooLarge { error, states: automaton.states_of_nodes() });
        }
        // States are made in the order of their numbers, so most edges are in order already, which this sort uses.
        let mut rules = automaton.rules;
        rules.edges.sort_by(edge_order);
        rules.affixes.sort();
        Ok(rules)
    }

    /// Makes all states, from the root on.
    fn states(&mut self, root: u32) -> Result<(), LimitError> {
        let (set, mut target) = self.reach(vec![Trie::ROOT], MixId::NONE);
        target.node = root;
        target.flags = self.flags(&set, target.below);
        self.states.insert((set.clone(), target.below), (root, target.flags));
        self.edge(EdgeKey::root(root), target)?;
        self.pending.push_back(Pending { node: root, set, below: target.below });
        while let Some(state) = self.pending.pop_front() {
            let made = self.rules.edges.len();
            self.expand(&state)?;
            let own = self.rules.edges.get_mut(made..).unwrap_or_default();
            own.sort_unstable_by(edge_order);
        }
        Ok(())
    }

    /// For each trie node, how many states it is in.
    fn states_of_nodes(&self) -> Vec<u32> {
        let mut counts = vec![0; self.trie.len()];
        for member in self.states.keys().flat_map(|(set, _)| set.members()) {
            if let Some(count) = counts.get_mut(*member as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The labels of trie nodes.
    fn labels<'n>(&mut self, nodes: impl Iterator<Item = &'n Node>, above: MixId) -> Target {
        let (mut here, mut below) = (MixId::NONE, above);
        for node in nodes {
            here = self.mixer.join(here, node.here);
            below = self.mixer.join(below, node.below);
        }
        Target { node: NO_NODE, flags: 0, here: self.mixer.join(here, below), below }
    }

    /// The flags of the state of a set, below a state.
    fn flags(&mut self, set: &Set, above: MixId) -> u32 {
        let denied = set.members().iter().filter_map(|member| self.denials.get(*member as usize));
        let denied = denied.fold(0, |flags, (_, own)| flags | own);
        let flags = set.nodes(self.trie).fold(denied, |flags, node| flags | node.flags);
        if flags & NODE_LOOPS == 0 {
            return if flags & NODE_PATTERNS == 0 { flags } else { flags & !NODE_ANY };
        }
        let (other, target) = self.reach(self.by_any_name(set), above);
        let is_same = other == *set && target.here == above && target.below == above;
        match (is_same, flags & NODE_PATTERNS != 0) {
            (true, _) => flags & !NODE_ANY,
            (false, true) => flags & !(NODE_ANY | NODE_LOOPS),
            (false, false) => flags & !NODE_LOOPS | NODE_ANY,
        }
    }

    /// The nodes to which every name leads from a set.
    fn by_any_name(&self, set: &Set) -> Vec<u32> {
        let children = set.nodes(self.trie).flat_map(|node| self.trie.children(node));
        let any = children.filter(|(step, _)| matches!(step, Step::Affixes([], [])));
        any.map(|(_, child)| child).chain(self.deep(set)).collect()
    }

    /// The members of a set to which a `**` leads.
    fn deep<'s>(&self, set: &'s Set) -> impl Iterator<Item = u32> + Clone + use<'s, 't> {
        let trie = self.trie;
        let is_deep = |member: &u32| trie.node(*member).is_some_and(Node::is_deep);
        set.members().iter().copied().filter(is_deep)
    }

    /// The set of a state that is reached at some trie nodes, and its labels.
    fn reach(&mut self, mut members: Vec<u32>, above: MixId) -> (Set, Target) {
        let trie = self.trie;
        let node = |member: &u32| trie.node(*member);
        let deep: Vec<u32> = members.iter().filter_map(node).filter_map(Node::deep).collect();
        members.extend(deep);
        let target = self.labels(members.iter().filter_map(node), above);
        members.retain(|member| node(member).is_some_and(Node::leads_on));
        (Set::new(members), target)
    }

    /// See [`Self::denials`]. A node comes after its parent.
    fn denials(&self) -> Vec<(bool, u32)> {
        let mut found = vec![(false, 0); self.trie.len()];
        for number in (0..self.trie.len()).rev() {
            let Some(node) = self.trie.node(number as u32) else { continue };
            let mut denies = self.mixer.denies(node.here) || self.mixer.denies(node.below);
            let mut flags = 0;
            for (step, child) in self.trie.children(node) {
                if found.get(child as usize).is_some_and(|(below, _)| *below) {
                    denies = true;
                    flags |= match step {
                        Step::Literal(_) => NODE_DENIED_NAMES,
                        // A pattern that matches every name does so in any case of letters.
                        Step::Affixes([], []) | Step::OwnProcess | Step::Deep => 0,
                        Step::Affixes(..) => NODE_DENIED_PATTERNS,
                    };
                }
            }
            if let Some(place) = found.get_mut(number) {
                *place = (denies, flags);
            }
        }
        found
    }

    /// Makes further edges for a state's names at or below which something is denied, by the name in small letters.
    /// They are for file systems that ignore case; each leads to everything that the rules name so in any case.
    fn folded(&mut self, state: &Pending, names: &Names<'_>) -> Result<(), LimitError> {
        let trie = self.trie;
        let literals = || {
            state.set.nodes(trie).flat_map(|node| trie.children(node)).filter_map(
                |(step, child)| match step {
                    Step::Literal(name) => Some((name.to_ascii_lowercase(), child)),
                    _ => None,
                },
            )
        };
        let mut denied: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (name, child) in literals() {
            if self.denials.get(child as usize).is_some_and(|(below, _)| *below) {
                denied.entry(name).or_default();
            }
        }
        for (name, child) in literals() {
            if let Some(members) = denied.get_mut(&name) {
                members.push(child);
            }
        }
        for (name, mut members) in denied {
            names.matching(&name, &mut members);
            let target = self.target(members, state.below)?;
            self.name(state, &name, target, (EDGE_FOLDED, EDGE_FOLDED_CHUNK))?;
        }
        Ok(())
    }

    /// The state at some trie nodes, below a state.
    fn target(&mut self, members: Vec<u32>, above: MixId) -> Result<Target, LimitError> {
        let (set, target) = self.reach(members, above);
        if set.members().is_empty() { Ok(target) } else { self.state(set, target) }
    }

    /// The state at one trie node. (Most are: this takes no memory.)
    fn target_of_one(&mut self, member: u32, above: MixId) -> Result<Target, LimitError> {
        match self.trie.node(member) {
            Some(node) if node.deep().is_none() => {
                let target = self.labels(std::iter::once(node), above);
                if node.leads_on() { self.state(Set::One(member), target) } else { Ok(target) }
            }
            _ => self.target(vec![member], above),
        }
    }

    /// The state of a set with these labels.
    fn state(&mut self, set: Set, mut target: Target) -> Result<Target, LimitError> {
        let key = (set, target.below);
        if let Some((node, flags)) = self.states.get(&key) {
            (target.node, target.flags) = (*node, *flags);
            return Ok(target);
        }
        self.members += key.0.members().len().saturating_sub(1);
        if self.members > MEMBERS {
            return Err(LimitError::States(Blamed::default()));
        }
        target.flags = self.flags(&key.0, target.below);
        target.node = self.number()?;
        let (node, below) = (target.node, target.below);
        self.pending.push_back(Pending { node, set: key.0.clone(), below });
        self.states.insert(key, (target.node, target.flags));
        Ok(target)
    }

    fn number(&mut self) -> Result<u32, LimitError> {
        let node = *self.next;
        if node >= LAST_NODE {
            return Err(LimitError::Nodes);
        }
        *self.next += 1;
        Ok(node)
    }

    /// Makes a state's edges.
    fn expand(&mut self, state: &Pending) -> Result<(), LimitError> {
        let trie = self.trie;
        let children = || state.set.nodes(trie).flat_map(|node| trie.children(node));
        let flags = self.flags(&state.set, state.below);
        if let (Set::One(_), 0) = (&state.set, flags & !NODE_DENIED_NAMES) {
            for (step, child) in children() {
                if let Step::Literal(name) = step {
                    let target = self.target_of_one(child, state.below)?;
                    if Target::nothing(state).differs(target) {
                        self.literal(state, name, target)?;
                    }
                }
            }
            if flags != 0 {
                self.folded(state, &Names::default())?;
            }
            return Ok(());
        }
        let mut literals: BTreeMap<Cow<'t, [u8]>, Vec<u32>> = BTreeMap::new();
        let mut own = Vec::new();
        for (step, child) in children() {
            match step {
                Step::Literal(name) => literals.entry(name.into()).or_default().push(child),
                Step::Affixes(..) | Step::Deep => {}
                Step::OwnProcess => own.push(child),
            }
        }
        // Moved out of `self`, so that edges can be made meanwhile.
        let mut names = std::mem::take(&mut self.names);
        let patterns = children().filter_map(|(step, child)| match step {
            Step::Affixes(prefix, suffix) => Some((prefix, suffix, child)),
            _ => None,
        });
        // By any name, what a `**` leads to leads to itself.
        const NO_AFFIX: &[u8] = &[];
        names.fill(patterns.chain(self.deep(&state.set).map(|deep| (NO_AFFIX, NO_AFFIX, deep))));
        if !own.is_empty() {
            // Patterns that match every name match it too.
            names.matching(b"", &mut own);
            let target = self.target(own, state.below)?;
            self.edge(EdgeKey::own_process(state.node), target)?;
        }
        let other = self.other_names(state, flags)?;
        if flags & NODE_PATTERNS != 0 {
            self.patterns(state, &names, other, &mut literals)?;
        }
        for (name, mut members) in literals {
            names.matching(&name, &mut members);
            let target = self.target(members, state.below)?;
            // If there are patterns, a name without effect needs an edge too, or a pattern would count for it.
            if flags & NODE_PATTERNS != 0 || other.differs(target) {
                self.literal(state, &name, target)?;
            }
        }
        if flags & NODE_DENIED_NAMES != 0 {
            self.folded(state, &names)?;
        }
        self.names = names;
        Ok(())
    }

    /// Where names lead from a state for which it has no edge. Makes the edge for them, if it has one.
    fn other_names(&mut self, state: &Pending, flags: u32) -> Result<Target, LimitError> {
        if flags & NODE_LOOPS != 0 {
            return Ok(Target { node: state.node, flags, here: state.below, below: state.below });
        }
        if flags & NODE_ANY == 0 {
            return Ok(Target::nothing(state));
        }
        let target = self.target(self.by_any_name(&state.set), state.below)?;
        self.edge(EdgeKey::any(state.node), target)?;
        Ok(target)
    }

    /// Makes a state's affixes and the edges of their pairs, but not those that lead where `other` names do. Names that the pairs would get wrong are added to the
    /// literal names.
    fn patterns(
        &mut self,
        state: &Pending,
        names: &Names<'_>,
        other: Target,
        literals: &mut BTreeMap<Cow<'t, [u8]>, Vec<u32>>,
    ) -> Result<(), LimitError> {
        for (kind, affixes) in [(AFFIX_PREFIX, &names.prefixes), (AFFIX_SUFFIX, &names.suffixes)] {
            for (affix, number) in affixes.texts().iter().zip(0..) {
                self.affix(state.node, kind, affix, number)?;
            }
        }
        if names.more_pairs_than(self.room.0) {
            return Err(LimitError::Edges(Blamed::default()));
        }
        for pair in names.pairs() {
            let set = Set::new(names.pair(pair));
            for name in names.overlaps(pair) {
                let mut members = Vec::new();
                names.matching(&name, &mut members);
                if Set::new(members) != set {
                    literals.entry(name.into()).or_default();
                }
            }
            if literals.len() > self.room.0 {
                return Err(LimitError::Edges(Blamed::default()));
            }
            let target = self.target(set.members().to_vec(), state.below)?;
            if other.differs(target) {
                let mut bytes = [0; CHUNK_BYTES];
                let numbers = [pair.0.to_ne_bytes(), pair.1.to_ne_bytes()].concat();
                for (to, from) in bytes.iter_mut().zip(&numbers) {
                    *to = *from;
                }
                let (node, kind, len) = (state.node, EDGE_AFFIXES, numbers.len() as u8);
                self.edge(EdgeKey { node, kind, len, reserved: [0; 2], bytes }, target)?;
            }
        }
        Ok(())
    }

    /// Makes the edges of a literal name.
    fn literal(&mut self, state: &Pending, name: &[u8], target: Target) -> Result<(), LimitError> {
        self.name(state, name, target, (EDGE_LAST, EDGE_CHUNK))
    }

    /// Makes the edges of a name, of one kind for its last piece and another for those before.
    fn name(
        &mut self,
        state: &Pending,
        name: &[u8],
        target: Target,
        (kind, before): (u8, u8),
    ) -> Result<(), LimitError> {
        let mut node = state.node;
        let mut rest = name;
        while let Some((chunk, more)) = rest.split_first_chunk::<CHUNK_BYTES>() {
            if more.is_empty() {
                break;
            }
            node = self.chunk(node, before, *chunk)?;
            rest = more;
        }
        let mut bytes = [0; CHUNK_BYTES];
        for (to, from) in bytes.iter_mut().zip(rest) {
            *to = *from;
        }
        let len = rest.len() as u8;
        self.edge(EdgeKey { node, kind, len, reserved: [0; 2], bytes }, target)
    }

    /// The node after a piece of a name that is not the last.
    fn chunk(&mut self, node: u32, kind: u8, bytes: [u8; CHUNK_BYTES]) -> Result<u32, LimitError> {
        if let Some(next) = self.chunks.get(&(node, kind, bytes)) {
            return Ok(*next);
        }
        let next = self.number()?;
        self.chunks.insert((node, kind, bytes), next);
        let len = CHUNK_BYTES as u8;
        let key = EdgeKey { node, kind, len, reserved: [0; 2], bytes };
        self.edge(key, Target { node: next, flags: 0, here: MixId::NONE, below: MixId::NONE })?;
        Ok(next)
    }

    fn edge(&mut self, key: EdgeKey, target: Target) -> Result<(), LimitError> {
        if self.rules.edges.len() >= self.room.0 {
            return Err(LimitError::Edges(Blamed::default()));
        }
        let here = self.mixer.number(target.here)?;
        let below = self.mixer.number(target.below)?;
        let edge = Edge { node: target.node, flags: target.flags, here, below };
        self.rules.edges.push((key, edge));
        Ok(())
    }

    fn affix(&mut self, node: u32, kind: u32, text: &[u8], number: u32) -> Result<(), LimitError> {
        if self.rules.affixes.len() >= self.room.1 {
            return Err(LimitError::Affixes(Blamed::default()));
        }
        self.rules.affixes.push(node, kind, text, number);
        Ok(())
    }
}

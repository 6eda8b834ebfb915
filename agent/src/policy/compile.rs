//! A stand-in until the compiler is merged.
#![expect(missing_docs, reason = "a stand-in that the real module replaces")]
use std::collections::BTreeMap;

use agent_common::{access::Rights, id::Slot};

use super::{
    Policy,
    tables::{Rules, Tables},
    tools::ToolBits,
};

#[derive(Clone, Debug, Default)]
pub struct Builtin {
    pub deny: Vec<(String, Rights)>,
    pub always: Vec<(String, Rights)>,
}

#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum LimitError {
    #[error("{named} tools")]
    Tools { named: usize },
    #[error("{named} tools")]
    ToolBits { named: usize },
}

#[derive(Clone, Debug, Default)]
pub struct Compiled;

impl Compiled {
    pub fn new(_: &Policy, _: &ToolBits, _: &Builtin) -> Result<Self, LimitError> {
        Ok(Self)
    }

    pub fn instantiate(
        &mut self,
        _: Slot,
        _: &BTreeMap<String, String>,
    ) -> Result<Rules, LimitError> {
        Ok(Rules::default())
    }

    pub fn tables(&self, _: &[&Rules]) -> Tables {
        Tables::default()
    }

    pub fn remove(&mut self, _: Slot) {}
}

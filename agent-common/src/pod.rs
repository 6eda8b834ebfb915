//! Permission for user space to copy the shared types to and from maps.

use aya::Pod;

use crate::{
    authority::{Session, ToolSet},
    given::{Given, GivenKey, Giving},
    id::{BootNanos, LabelId, Tag},
    offsets::Offsets,
    rule::{AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};

macro_rules! pod {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: `repr(C)` or `repr(transparent)`, of integers alone, without padding (its size is
            // asserted beside it): any bytes are a value.
            unsafe impl Pod for $type {}
        )*
    };
}

pod!(
    AddressKey, AffixKey, BootNanos, Edge, EdgeKey, Given, GivenKey, Giving, Label, LabelId,
    Offsets, PortKey, Session, Tag, ToolSet,
);

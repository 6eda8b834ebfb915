//! The running kernel's structure offsets and lock addresses, for the programs' read-only global.

use std::{fs, io};

use agent_common::offsets::Offsets;
use btf_rs::{Btf, Type};

/// The kernel's description of its own types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
/// The kernel's symbols and their addresses.
pub const SYMBOLS_PATH: &str = "/proc/kallsyms";

/// Why the offsets could not be found.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    /// The kernel has no BTF, or it can't be read.
    #[error("can't read the kernel's type information `{BTF_PATH}`: {0}")]
    Btf(String),
    /// A member that the programs read is not in this kernel.
    #[error("this kernel's `struct {structure}` has no member `{member}` at a whole byte")]
    Member {
        /// The structure.
        structure: &'static str,
        /// The member.
        member: &'static str,
    },
    /// A dentry's parent and name don't lie side by side.
    #[error("this kernel lays out `struct dentry` in a way that is not known")]
    Dentry,
    /// The symbols can't be read.
    #[error("can't read `{SYMBOLS_PATH}`: {0}")]
    Symbols(#[source] io::Error),
    /// A lock has no address there.
    #[error(
        "`{SYMBOLS_PATH}` has no address for `{0}`; it shows them to root alone, \
         and only while `kernel.kptr_restrict` is 0 or 1"
    )]
    Symbol(&'static str),
}

/// Finds everything that the programs need to know of the running kernel.
///
/// # Errors
/// What is missing.
pub fn find() -> Result<Offsets, OffsetsError> {
    let btf = Btf::from_file(BTF_PATH).map_err(|error| OffsetsError::Btf(error.to_string()))?;
    let mut offsets = Offsets::default();
    for (index, (structure, member)) in Offsets::MEMBERS.iter().copied().enumerate() {
        let offset =
            offset(&btf, structure, member).ok_or(OffsetsError::Member { structure, member })?;
        offsets.set(index, offset);
    }
    // The walk reads both at once.
    if offsets.dentry_name != offsets.dentry_parent + 8
        || (offsets.qstr_len, offsets.qstr_name) != (4, 8)
    {
        return Err(OffsetsError::Dentry);
    }
    let symbols = fs::read_to_string(SYMBOLS_PATH).map_err(OffsetsError::Symbols)?;
    offsets.rename_lock = symbol(&symbols, "rename_lock")?;
    offsets.mount_lock = symbol(&symbols, "mount_lock")?;
    Ok(offsets)
}

/// The address of a symbol. Several symbols may bear a name; a lock's is the only one that is data.
fn symbol(symbols: &str, name: &'static str) -> Result<u64, OffsetsError> {
    symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let data = matches!(words.next()?, "d" | "D" | "b" | "B" | "r" | "R");
            (data && words.next()? == name).then_some(address)
        })
        .find(|address| *address != 0)
        .ok_or(OffsetsError::Symbol(name))
}

/// The byte offset of a member, `a.b` for a nested one, by the structure's name.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    btf.resolve_types_by_name(structure)
        .ok()?
        .iter()
        .find_map(|candidate| nested(btf, candidate, member))
}

/// The byte offset of a member within a structure or union.
fn nested(btf: &Btf, within: &Type, member: &str) -> Option<u32> {
    let (first, rest) = match member.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (member, None),
    };
    let (bits, kind) = direct(btf, within, first)?;
    let inner = match rest {
        Some(rest) => nested(btf, &kind, rest)?,
        None => 0,
    };
    bits.is_multiple_of(8).then_some(bits / 8 + inner)
}

/// The bit offset and type of a member, through anonymous structures and unions.
fn direct(btf: &Btf, within: &Type, name: &str) -> Option<(u32, Type)> {
    let (Type::Struct(structure) | Type::Union(structure)) = within else { return None };
    structure.members.iter().find_map(|member| {
        let kind = plain(btf, btf.resolve_chained_type(member).ok()?)?;
        let own = btf.resolve_name(member).unwrap_or_default();
        if own == name {
            return Some((member.bit_offset(), kind));
        }
        if !own.is_empty() {
            return None;
        }
        let (bits, found) = direct(btf, &kind, name)?;
        Some((member.bit_offset() + bits, found))
    })
}

/// The type behind its other names and qualifiers.
fn plain(btf: &Btf, kind: Type) -> Option<Type> {
    let mut kind = kind;
    loop {
        kind = match &kind {
            Type::Typedef(other) => btf.resolve_chained_type(other).ok()?,
            Type::Volatile(other) | Type::Const(other) | Type::Restrict(other) => {
                btf.resolve_chained_type(other).ok()?
            }
            Type::TypeTag(other) => btf.resolve_chained_type(other).ok()?,
            _ => return Some(kind),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_takes_the_lock_and_not_a_function_of_its_name() {
        let symbols = "ffff01 t rename_lock\nffff02 d rename_lock\nffff03 b mount_lock\n";
        assert!(matches!(symbol(symbols, "rename_lock"), Ok(0xffff02)));
        assert!(matches!(symbol(symbols, "mount_lock"), Ok(0xffff03)));
    }

    #[test]
    fn symbol_hidden_or_missing_is_an_error() {
        let symbols = "0000000000000000 d rename_lock\n";
        assert!(matches!(symbol(symbols, "rename_lock"), Err(OffsetsError::Symbol("rename_lock"))));
        assert!(matches!(symbol("", "mount_lock"), Err(OffsetsError::Symbol("mount_lock"))));
    }
}

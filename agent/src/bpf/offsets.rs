//! The running kernel's structure offsets, lock addresses and type numbers, for the programs' instructions.

use std::{fs, io};

use agent_common::offsets::{Offsets, Types};
use btf_rs::{Btf, Type};

/// The kernel's description of its own types.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
/// The kernel's symbols and their addresses.
const SYMBOLS_PATH: &str = "/proc/kallsyms";

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
pub(super) fn find() -> Result<Offsets, OffsetsError> {
    let btf = Btf::from_file(BTF_PATH).map_err(|error| OffsetsError::Btf(error.to_string()))?;
    let mut offsets = Offsets::default();
    for (index, (structure, member)) in Offsets::MEMBERS.iter().copied().enumerate() {
        let found = member.split('|').find_map(|name| offset(&btf, structure, name));
        offsets.set(index, found.ok_or(OffsetsError::Member { structure, member })?);
    }
    // The walk reads both at once.
    if offsets.dentry_name != offsets.dentry_parent + 8
        || (offsets.qstr_len, offsets.qstr_name) != (4, 8)
    {
        return Err(OffsetsError::Dentry);
    }
    offsets.storage_is_lost = u32::from(loses_storage(rustix::system::uname().release()));
    offsets.setattr_has_map = u32::from(parameters(&btf, "bpf_lsm_inode_setattr") == Some(3));
    offsets.mounts_are_chained = u32::from(offset(&btf, "mount", "mnt_instance").is_none());
    offsets.types = types(&btf).unwrap_or_default();
    let symbols = fs::read_to_string(SYMBOLS_PATH).map_err(OffsetsError::Symbols)?;
    offsets.rename_lock = symbol(&symbols, "rename_lock")?;
    offsets.mount_lock = symbol(&symbols, "mount_lock")?;
    Ok(offsets)
}

/// Whether a fork that fails early (no user namespace, too many processes) frees the storage of the task that
/// forked: seen on 6.18.15, not on 6.1, 6.12 and 7.3; what lies between counts as having it.
fn loses_storage(release: &std::ffi::CStr) -> bool {
    let release = release.to_string_lossy();
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (6, 13) <= (major, minor) && (major, minor) < (7, 0),
        // What is not known is kept the safe way.
        _ => true,
    }
}

/// Whether the kernel has that hook for BPF programs; also when that can't be told.
pub(super) fn has_hook(hook: &str) -> bool {
    let wanted = format!("bpf_lsm_{hook}");
    fs::read_to_string(SYMBOLS_PATH).map_or(true, |symbols| {
        symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(&wanted))
    })
}

/// The number of the kernel's function that types an address; `None` before 6.2.
pub(super) fn cast() -> Option<u32> {
    let btf = Btf::from_file(BTF_PATH).ok()?;
    number(&btf, "bpf_rdonly_cast", |kind| matches!(kind, Type::Func(_)))
}

/// The numbers of the structures that the programs type addresses with; `None` where they can't.
fn types(btf: &Btf) -> Option<Types> {
    number(btf, "bpf_rdonly_cast", |kind| matches!(kind, Type::Func(_)))?;
    let structure = |name| number(btf, name, |kind| matches!(kind, Type::Struct(_)));
    Some(Types {
        dentry: structure("dentry")?,
        inode: structure("inode")?,
        mount: structure("mount")?,
        vfsmount: structure("vfsmount")?,
        seqcount: structure("seqcount")?,
        super_block: structure("super_block")?,
        words: structure("timespec64")?,
    })
}

/// How many arguments a function of the kernel's takes.
fn parameters(btf: &Btf, name: &str) -> Option<usize> {
    btf.resolve_types_by_name(name).ok()?.iter().find_map(|kind| {
        let Type::Func(function) = kind else { return None };
        let Type::FuncProto(prototype) = btf.resolve_chained_type(function).ok()? else {
            return None;
        };
        Some(prototype.parameters.len())
    })
}

/// The number of the first type of that name and kind.
fn number(btf: &Btf, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
    let mut numbers = btf.resolve_ids_by_name(name).ok()?.into_iter();
    numbers.find(|number| btf.resolve_type_by_id(*number).is_ok_and(|kind| is_wanted(&kind)))
}

/// The address of a symbol. (Its kind says nothing: the locks are data in one kernel and lie in a section
/// that counts as text in another.)
fn symbol(symbols: &str, name: &'static str) -> Result<u64, OffsetsError> {
    symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            (words.nth(1)? == name).then_some(address)
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
    fn symbol_is_found_by_its_whole_name_and_of_any_kind() {
        let symbols = "ffff01 t my_rename_lock\nffff02 d rename_lock\nffff03 T mount_lock\n";
        assert!(matches!(symbol(symbols, "rename_lock"), Ok(0xffff02)));
        assert!(matches!(symbol(symbols, "mount_lock"), Ok(0xffff03)));
    }

    #[test]
    fn storage_is_not_trusted_where_the_kernel_may_lose_it() {
        for (release, lost) in [
            (c"6.1.0-56-amd64", false),
            (c"6.12.118+deb13-amd64", false),
            (c"6.13.1", true),
            (c"6.18.15+deb13-amd64", true),
            (c"7.3.4+deb13-amd64", false),
            (c"unknown", true),
        ] {
            assert_eq!(loses_storage(release), lost, "{release:?}");
        }
    }

    #[test]
    fn symbol_hidden_or_missing_is_an_error() {
        let symbols = "0000000000000000 d rename_lock\n";
        assert!(matches!(symbol(symbols, "rename_lock"), Err(OffsetsError::Symbol("rename_lock"))));
        assert!(matches!(symbol("", "mount_lock"), Err(OffsetsError::Symbol("mount_lock"))));
    }
}

//! The running kernel's structure offsets, lock addresses and type numbers, which are written into the programs'
//! instructions.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
};

use agent_common::offsets::{Offsets, Types};
use btf_rs::{Btf, Type};

use super::{
    faults::{self, Fault},
    host,
    patch::Functions,
};

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
    /// A dentry's parent and name are not adjacent.
    #[error("this kernel lays out `struct dentry` in a way that is not known")]
    Dentry,
    /// The symbols can't be read.
    #[error("can't read `{SYMBOLS_PATH}`: {0}")]
    Symbols(#[source] io::Error),
    /// The symbols have no address of a lock.
    #[error(
        "`{SYMBOLS_PATH}` has no address for `{0}`; it shows them to root alone, \
         and only while `kernel.kptr_restrict` is 0 or 1"
    )]
    Symbol(&'static str),
}

/// The running kernel's type information (BTF). Read once: it has some 150,000 types.
pub(super) struct KernelTypes(Btf);

impl KernelTypes {
    /// Reads the types. The whole file is read at once: read type by type, each costs two system calls, half of the
    /// time that a start takes.
    ///
    /// # Errors
    /// The types can't be read or parsed.
    pub(super) fn read() -> Result<Self, OffsetsError> {
        let failed = |reason: String| OffsetsError::Btf(reason);
        let bytes = fs::read(BTF_PATH).map_err(|error| failed(error.to_string()))?;
        Btf::from_bytes(&bytes).map(Self).map_err(|error| failed(error.to_string()))
    }

    /// Whether BPF programs can be attached to this hook.
    pub(super) fn has_hook(&self, hook: &str) -> bool {
        parameters(&self.0, &format!("bpf_lsm_{hook}")).is_some()
    }

    /// The kernel's functions that the programs call. The one that types addresses is left out where a structure that
    /// addresses are typed with is missing.
    pub(super) fn functions(&self) -> Functions {
        let function = |name| number(&self.0, name, |kind| matches!(kind, Type::Func(_)));
        Functions {
            cast: self.structures().and_then(|_| function("bpf_rdonly_cast")),
            reset: function("bpf_sock_destroy"),
        }
    }

    /// All offsets, addresses and facts of the running kernel that the programs need.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn offsets(&self) -> Result<Offsets, OffsetsError> {
        let btf = &self.0;
        let mut offsets = Offsets::default();
        for (index, (structure, member)) in Offsets::MEMBERS.iter().copied().enumerate() {
            let found = member.split('|').find_map(|name| offset(btf, structure, name));
            offsets.set(index, found.ok_or(OffsetsError::Member { structure, member })?);
        }
        // The programs read a dentry's parent and name by one call.
        if offsets.dentry_name != offsets.dentry_parent + 8
            || (offsets.qstr_len, offsets.qstr_name) != (4, 8)
        {
            return Err(OffsetsError::Dentry);
        }
        let faults = faults::of(&host::Kernel::running());
        offsets.storage_is_lost = u32::from(faults.contains(&Fault::LosesStorage));
        offsets.task_hint =
            if offsets.storage_is_lost == 0 { offsets.task_bpf_storage } else { offsets.task_cred };
        offsets.setattr_has_map = u32::from(parameters(btf, "bpf_lsm_inode_setattr") == Some(3));
        offsets.mounts_are_chained = u32::from(offset(btf, "mount", "mnt_instance").is_none());
        offsets.owner_is_apart = u32::from(is_pointer(btf, "file", "f_owner"));
        offsets.storage_node_sdata =
            offsets.storage_elem_sdata.saturating_sub(offsets.storage_elem_snode);
        offsets.storage_data_second = offsets.storage_data_data + 8;
        if self.functions().cast.is_some() {
            offsets.types = self.structures().unwrap_or_default();
            offsets.storage_is_plain = u32::from(offsets.storage_is_lost == 0);
        }
        let symbols = File::open(SYMBOLS_PATH).map_err(OffsetsError::Symbols)?;
        [offsets.rename_lock, offsets.mount_lock] =
            addresses(BufReader::new(symbols), ["rename_lock", "mount_lock"])?;
        Ok(offsets)
    }

    /// The type numbers of the structures that the programs type addresses with; `None` where one is missing.
    fn structures(&self) -> Option<Types> {
        let structure = |name| number(&self.0, name, |kind| matches!(kind, Type::Struct(_)));
        Some(Types {
            dentry: structure("dentry")?,
            file: structure("file")?,
            inode: structure("inode")?,
            mount: structure("mount")?,
            path: structure("path")?,
            vfsmount: structure("vfsmount")?,
            seqcount: structure("seqcount")?,
            socket: structure("socket")?,
            super_block: structure("super_block")?,
            task: structure("task_struct")?,
            words: structure("itimerspec64")?,
        })
    }
}

/// The number of parameters of a kernel function.
fn parameters(btf: &Btf, name: &str) -> Option<usize> {
    btf.resolve_types_by_name(name).ok()?.iter().find_map(|kind| {
        let Type::Func(function) = kind else { return None };
        let Type::FuncProto(prototype) = btf.resolve_chained_type(function).ok()? else {
            return None;
        };
        Some(prototype.parameters.len())
    })
}

/// The type number of the first type of this name and kind.
pub(super) fn number(btf: &Btf, name: &str, is_wanted: impl Fn(&Type) -> bool) -> Option<u32> {
    let mut numbers = btf.resolve_ids_by_name(name).ok()?.into_iter();
    numbers.find(|number| btf.resolve_type_by_id(*number).is_ok_and(|kind| is_wanted(&kind)))
}

/// The addresses of symbols, of whatever kind: the locks are data in one kernel, and in a section that counts as text
/// in another.
#[expect(clippy::indexing_slicing, reason = "both arrays have `N` places")]
fn addresses<const N: usize>(
    symbols: impl BufRead,
    names: [&'static str; N],
) -> Result<[u64; N], OffsetsError> {
    let mut found = [0; N];
    for line in symbols.lines() {
        let line = line.map_err(OffsetsError::Symbols)?;
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(name)) = (words.next(), words.nth(1)) else { continue };
        if let Some(place) = names.iter().position(|wanted| *wanted == name)
            && found[place] == 0
        {
            found[place] = u64::from_str_radix(address, 16).unwrap_or(0);
        }
    }
    match found.iter().position(|address| *address == 0) {
        Some(hidden) => Err(OffsetsError::Symbol(names[hidden])),
        None => Ok(found),
    }
}

/// The byte offset of a member of the structure of this name; `a.b` is a member of a member.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    btf.resolve_types_by_name(structure)
        .ok()?
        .iter()
        .find_map(|candidate| nested(btf, candidate, member))
}

/// Whether a member of a structure is a pointer.
fn is_pointer(btf: &Btf, structure: &str, member: &str) -> bool {
    let Ok(candidates) = btf.resolve_types_by_name(structure) else { return false };
    let found = candidates.iter().find_map(|candidate| direct(btf, candidate, member));
    found.is_some_and(|(_, kind)| matches!(kind, Type::Ptr(_)))
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

/// The type without typedefs and qualifiers.
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
    fn address_of_any_kind_is_found_by_the_whole_name() {
        let symbols =
            "ffff01 t my_rename_lock\nffff02 d rename_lock\nffff03 T mount_lock [module]\n";
        let found = addresses(symbols.as_bytes(), ["mount_lock", "rename_lock"]);
        assert!(matches!(found, Ok([0xffff03, 0xffff02])), "{found:?}");
    }

    #[test]
    fn address_hidden_or_missing_is_an_error() {
        let hidden = "0000000000000000 d rename_lock\n";
        for symbols in [hidden, ""] {
            let found = addresses(symbols.as_bytes(), ["rename_lock"]);
            assert!(matches!(found, Err(OffsetsError::Symbol("rename_lock"))), "{found:?}");
        }
    }
}

//! Writes the running kernel's offsets, addresses and function numbers into the object's instructions. Rust has no
//! relocations for them (CO-RE), and aya none for kernel functions. So the programs contain placeholder numbers
//! (`agent_common::offsets`), which are replaced here.

use agent_common::offsets::{CAST, CONSTANT, MEMBER, Offsets, RESET};
use object::{Object as _, ObjectSection as _, SectionFlags};

/// `SHF_EXECINSTR` (elf(5)).
const EXECUTABLE: u64 = 4;
/// Operations of instructions (`BPF_LD | BPF_IMM | BPF_DW` and so on, include/uapi/linux/bpf_common.h).
const LOAD_WIDE: u8 = 0x18;
const MOVE: [u8; 2] = [0xb7, 0xb4];
const LOAD: [u8; 4] = [0x79, 0x61, 0x69, 0x71];
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, as the source register of a call.
const KERNEL_FUNCTION: u8 = 0x20;

/// `struct bpf_insn`: operation, registers, offset, immediate.
type Instruction = [u8; 8];

/// Type numbers of the kernel functions that the programs call; `None` where the kernel does not have one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Functions {
    /// The function that types an address ([`CAST`]). Without it the call becomes a copy of its argument; no program
    /// gets there.
    pub(super) cast: Option<u32>,
    /// The function that resets a connection ([`RESET`]). Without it the program that calls it is not loaded.
    pub(super) reset: Option<u32>,
}

impl Functions {
    /// The function that a placeholder is for; `None` for an ordinary call.
    fn called(self, number: i32) -> Option<Option<u32>> {
        match number {
            CAST => Some(self.cast),
            RESET => Some(self.reset),
            _ => None,
        }
    }
}

/// Replaces the placeholders in an object.
///
/// # Errors
/// It is no object, or has a placeholder that is for nothing.
pub(super) fn object(
    bytes: &mut [u8],
    offsets: &Offsets,
    functions: Functions,
) -> Result<(), String> {
    let words = offsets.words();
    for range in code(bytes)? {
        let code = bytes.get_mut(range).ok_or("a section is not within the file")?;
        let mut instructions = code.as_chunks_mut().0.iter_mut();
        while let Some(instruction) = instructions.next() {
            // The second half of a wide load is not an instruction of its own.
            let half = match instruction[0] {
                LOAD_WIDE => instructions.next(),
                _ => None,
            };
            patch(instruction, half, &words, functions)?;
        }
    }
    Ok(())
}

/// Where the object's instructions lie.
fn code(bytes: &[u8]) -> Result<Vec<std::ops::Range<usize>>, String> {
    let object = object::File::parse(bytes).map_err(|error| error.to_string())?;
    let sections = object.sections().filter(|section| match section.flags() {
        SectionFlags::Elf { sh_flags } => sh_flags & EXECUTABLE != 0,
        _ => false,
    });
    let range = |(start, len): (u64, u64)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(len).ok()?)?)
    };
    Ok(sections.filter_map(|section| section.file_range().and_then(range)).collect())
}

/// Replaces the placeholder of one instruction, if it has one; `half` is the second half of a wide load.
fn patch(
    instruction: &mut Instruction,
    half: Option<&mut Instruction>,
    words: &[u32],
    functions: Functions,
) -> Result<(), String> {
    let &mut [operation, registers, low, high, a, b, c, d] = instruction;
    let immediate = i32::from_le_bytes([a, b, c, d]);
    let offset = i16::from_le_bytes([low, high]);
    // The word of `Offsets` that a placeholder is for, by its distance from the first placeholder.
    let word = |distance: i32, bytes: i32| {
        let place = usize::try_from(distance / bytes).ok()?;
        (distance % bytes == 0).then(|| words.get(place).copied()).flatten()
    };
    let constant = word(immediate.wrapping_sub(CONSTANT), 4);
    match (operation, half) {
        (LOAD_WIDE, Some(half)) if registers >> 4 == 0 => {
            let next = word(immediate.wrapping_sub(CONSTANT).wrapping_add(4), 4);
            if let (Some(lower), Some(upper)) = (constant, next) {
                instruction[4..].copy_from_slice(&lower.to_le_bytes());
                half[4..].copy_from_slice(&upper.to_le_bytes());
            }
        }
        (operation, None) if MOVE.contains(&operation) => {
            if let Some(value) = constant {
                instruction[4..].copy_from_slice(&value.to_le_bytes());
            }
        }
        (operation, None) if LOAD.contains(&operation) && offset >= MEMBER => {
            let value = word(i32::from(offset) - i32::from(MEMBER), 1)
                .ok_or_else(|| format!("a load at {offset} stands for nothing"))?;
            let value = i16::try_from(value)
                .map_err(|_| format!("a member at {value} is too far for one load"))?;
            instruction[2..4].copy_from_slice(&value.to_le_bytes());
        }
        (CALL, None) if registers == 0 => match functions.called(immediate) {
            Some(Some(function)) => {
                instruction[1] = KERNEL_FUNCTION;
                instruction[4..].copy_from_slice(&function.to_le_bytes());
            }
            // `r0 = r1`
            Some(None) => *instruction = [0xbf, 0x10, 0, 0, 0, 0, 0, 0],
            None => {}
        },
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Functions = Functions { cast: None, reset: None };
    const WORDS: &[u32] = &[0x1111, 0x2222, 0x3333];

    fn patched(instruction: Instruction, functions: Functions) -> Instruction {
        let mut instruction = instruction;
        patch(&mut instruction, None, WORDS, functions).unwrap();
        instruction
    }

    #[test]
    fn constant_placeholder_becomes_its_word() {
        let [a, b, c, d] = (CONSTANT + 8).to_le_bytes();
        assert_eq!(patched([0xb7, 3, 0, 0, a, b, c, d], NONE), [0xb7, 3, 0, 0, 0x33, 0x33, 0, 0]);
        let other = [0xb7, 3, 0, 0, a, b, c, 0];
        assert_eq!(patched(other, NONE), other);
    }

    #[test]
    fn wide_constant_placeholder_becomes_two_words() {
        let [a, b, c, d] = CONSTANT.to_le_bytes();
        let (mut first, mut second) = ([0x18, 1, 0, 0, a, b, c, d], [0; 8]);
        patch(&mut first, Some(&mut second), WORDS, NONE).unwrap();
        assert_eq!(first, [0x18, 1, 0, 0, 0x11, 0x11, 0, 0]);
        assert_eq!(second, [0, 0, 0, 0, 0x22, 0x22, 0, 0]);
        // A map's address has a source register, and is the loader's.
        let (mut first, mut second) = ([0x18, 0x11, 0, 0, a, b, c, d], [0; 8]);
        patch(&mut first, Some(&mut second), WORDS, NONE).unwrap();
        assert_eq!(first[4..], [a, b, c, d]);
    }

    #[test]
    fn load_placeholder_becomes_the_member_s_offset() {
        let [low, high] = (MEMBER + 1).to_le_bytes();
        let load = [0x79, 0x21, low, high, 0, 0, 0, 0];
        assert_eq!(patched(load, NONE), [0x79, 0x21, 0x22, 0x22, 0, 0, 0, 0]);
        let [low, high] = (MEMBER + 3).to_le_bytes();
        assert!(patch(&mut [0x61, 0, low, high, 0, 0, 0, 0], None, WORDS, NONE).is_err());
    }

    #[test]
    fn call_placeholder_becomes_the_kernel_function_or_a_copy() {
        let both = Functions { cast: Some(7), reset: Some(8) };
        for (stand_in, function) in [(CAST, 7), (RESET, 8)] {
            let [a, b, c, d] = stand_in.to_le_bytes();
            let call = [0x85, 0, 0, 0, a, b, c, d];
            assert_eq!(patched(call, both), [0x85, 0x20, 0, 0, function, 0, 0, 0]);
            assert_eq!(patched(call, NONE), [0xbf, 0x10, 0, 0, 0, 0, 0, 0]);
        }
        let helper = [0x85, 0, 0, 0, 113, 0, 0, 0];
        assert_eq!(patched(helper, both), helper);
    }
}

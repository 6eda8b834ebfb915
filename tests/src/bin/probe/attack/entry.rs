//! The kernel's entry for 32-bit programs, which a 64-bit program can use too.

use std::{arch::asm, ptr};

use crate::{errno::Errno, sys::done};

/// Memory that a 32-bit pointer reaches.
pub(super) struct Low {
    at: *mut u8,
    used: usize,
}

/// How much of it there is.
const SIZE: usize = 16 * 4096;

impl Low {
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { at: at.cast(), used: 0 })
    }

    /// Copies bytes there and returns their address.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> u32 {
        assert!(self.used + bytes.len() + 16 <= SIZE, "more than the memory below 4 GiB");
        // SAFETY: the mapping is ours, and what is written lies within it.
        let to = unsafe { self.at.add(self.used) };
        // SAFETY: see above; the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.used += (bytes.len() + 16) & !15;
        to as usize as u32
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no longer used.
        unsafe { libc::munmap(self.at.cast(), SIZE) };
    }
}

/// A system call by `int 0x80`, with a number of the 32-bit table.
pub(super) fn int80(number: u32, arguments: [u32; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, _] = arguments;
    let result: i64;
    // SAFETY: the pointers among the arguments are of a `Low`, which outlives the call. The register `rbx`
    // is the compiler's: it is put back. The entry may change the registers from `r8` to `r11`.
    unsafe {
        asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) u64::from(a) => _,
            inout("rax") u64::from(number) => result,
            in("rcx") u64::from(b),
            in("rdx") u64::from(c),
            in("rsi") u64::from(d),
            in("rdi") u64::from(e),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let result = i64::from(result as i32);
    if (-4095..0).contains(&result) {
        return Err(Errno(i32::try_from(-result).unwrap_or(libc::EIO)));
    }
    done(result)
}

//! The ways to read the kernel's memory: see [`crate::kernel`].

use core::{ffi::c_void, mem::MaybeUninit};

use agent_common::offsets::{CAST, CONSTANT, MEMBER};
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
    programs::LsmContext,
};

/// The value of a field of `Offsets` on the running kernel, as a constant in the instruction.
#[macro_export]
macro_rules! offset {
    ($($field:ident).+) => {
        $crate::kernel::constant::<
            { core::mem::offset_of!(agent_common::offsets::Offsets, $($field).+) },
        >()
    };
}

/// Reads a member through a pointer that the verifier has typed: one instruction. The member is named by the field
/// of `Offsets` that has its offset; the result keeps its type.
#[macro_export]
macro_rules! member {
    ($type:ty, $base:expr, $field:ident) => {
        $crate::kernel::member::<
            $type,
            { core::mem::offset_of!(agent_common::offsets::Offsets, $field) },
        >($base)
    };
    ($base:expr, $field:ident) => {
        $crate::member!(_, $base, $field)
    };
}

/// A pointer that the verifier has typed, as one that it does not trust, to load other pointers through: for seldom
/// operations. `untrusted!(file at file)` names the pointer's type by a field of `Types`.
///
/// For each pointer that is loaded through one that it trusts, a hook's argument or the running task, the verifier
/// looks through all types of the kernel four times, over a million instructions each time a program is loaded
/// (`btf_nested_type_is_trusted`, kernel/bpf/verifier.c, since 6.3). Through this one, it does not. That costs the
/// program some six instructions for each load through it or through what was loaded, since a fault may follow; and no
/// helper takes what was loaded.
#[macro_export]
macro_rules! untrusted {
    ($structure:ident at $pointer:expr) => {
        $crate::kernel::untrusted::<
            { core::mem::offset_of!(agent_common::offsets::Offsets, types.$structure) },
        >($pointer)
    };
}

/// Loads the value that the loader puts into an instruction for the field at `FIELD` of `Offsets`.
macro_rules! loaded {
    ($instruction:literal) => {{
        let value: u64;
        // SAFETY: the instruction loads a constant.
        unsafe {
            core::arch::asm!(
                $instruction,
                value = lateout(reg) value,
                stand_in = const CONSTANT + FIELD as i32,
                options(pure, nomem, nostack),
            );
        }
        value
    }};
}

/// The field at a place of `Offsets`, which is a `u32`: see `offset!`.
#[inline(always)]
pub(crate) fn constant<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in}")
}

/// The field at a place of `Offsets`, which is a `u64`.
#[inline(always)]
pub(super) fn address<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in} ll")
}

/// See `member!`.
#[inline(always)]
pub(crate) fn member<T: Copy, const FIELD: usize>(base: *const c_void) -> T {
    let value: u64;
    macro_rules! load {
        ($size:literal) => {
            // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as zero.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(", $size, " *)({base} + {stand_in})"),
                    value = lateout(reg) value,
                    base = in(reg) base,
                    stand_in = const MEMBER as i32 + FIELD as i32 / 4,
                    options(readonly, nostack),
                )
            }
        };
    }
    match size_of::<T>() {
        8 => load!("u64"),
        4 => load!("u32"),
        2 => load!("u16"),
        _ => load!("u8"),
    }
    // SAFETY: the value has at least as many bytes, the lowest first; every `T` here is of integers or a
    // pointer.
    unsafe { core::mem::transmute_copy(&value) }
}

/// See `untrusted!`. On a kernel that can't type addresses, the same pointer.
#[inline(always)]
pub(crate) fn untrusted<const STRUCTURE: usize>(pointer: *const c_void) -> *const c_void {
    match constant::<STRUCTURE>() {
        0 => pointer,
        number => cast(pointer as u64, number),
    }
}

/// Reads a member at an offset through a pointer that the verifier has typed.
#[inline(always)]
pub(crate) fn load<T: Copy>(base: *const c_void, offset: u64) -> T {
    // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as zero.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset as usize).cast::<T>()) }
}

/// Copies a value from an address; zeroes if nothing is mapped there.
#[inline(always)]
pub(crate) fn peek<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
    // SAFETY: the helper fills in all bytes, with zeroes where it fails; every `T` here is of integers.
    unsafe { value.assume_init() }
}

/// Reads a member of the structure at an address: through a pointer of the type that `$type`, a field of `Types`,
/// names, if the kernel can do that, else by copying.
macro_rules! read {
    ($type:ident at $address:expr, $offset:expr) => {{
        let (address, offset): (u64, u64) = ($address, $offset);
        let number = crate::offset!(types.$type);
        if number != 0 {
            $crate::kernel::load($crate::kernel::access::cast(address, number), offset)
        } else {
            $crate::kernel::peek(address + offset)
        }
    }};
}

/// An address as a pointer to a structure of the kernel's BTF (`bpf_rdonly_cast`, kernel/bpf/helpers.c). The
/// verifier checks loads through it against the type; they read zeroes where nothing is mapped.
#[inline(always)]
pub(super) fn cast(address: u64, number: u64) -> *const c_void {
    let typed: *const c_void;
    // SAFETY: the function has no precondition; the loader puts it in the place of this call.
    unsafe {
        core::arch::asm!(
            "call {cast}",
            cast = const CAST,
            inlateout("r1") address => _,
            inlateout("r2") number => _,
            lateout("r0") typed,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack, nomem, pure),
        );
    }
    typed
}

/// An argument of a hook, read from the context: for hooks that have other arguments on other kernels. (Of two such
/// reads, the compiler would make one load at a calculated place, which the verifier refuses.)
#[inline(always)]
pub(crate) fn argument<const NUMBER: usize>(context: &LsmContext) -> *const c_void {
    let value: *const c_void;
    // SAFETY: the verifier checks that the hook has such an argument, where the instruction is reached.
    unsafe {
        core::arch::asm!(
            "{value} = *(u64 *)({context} + {place})",
            value = lateout(reg) value,
            context = in(reg) context.as_ptr(),
            place = const NUMBER * 8,
            options(nostack),
        );
    }
    value
}

/// Copies `len` bytes from an address. If that fails, the helper zeroes the destination.
#[inline(always)]
pub(crate) fn copy(to: *mut c_void, len: u32, from: u64) -> bool {
    // SAFETY: the verifier checks that `to` has room for `len` bytes.
    unsafe { bpf_probe_read_kernel(to, len, from as *const c_void) == 0 }
}

/// Hides a value from the optimizer, so that a bound check which follows stays for the verifier to see.
#[inline(always)]
pub(crate) fn hide_from_optimizer(number: u32) -> u32 {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::read_volatile(&raw const number) }
}

/// Nanoseconds since boot.
#[inline(always)]
pub(crate) fn now() -> agent_common::id::BootNanos {
    // SAFETY: the helper has no precondition.
    agent_common::id::BootNanos(unsafe { bpf_ktime_get_boot_ns() })
}

/// The 64-bit word at an address, whatever lies there.
#[inline(always)]
pub(crate) fn read_word(address: u64) -> u64 {
    read!(words at address, 0)
}

/// The two 64-bit words at an address, on a kernel that can type addresses.
#[inline(always)]
pub(crate) fn read_two_words(address: u64) -> [u64; 2] {
    let typed = cast(address, offset!(types.words));
    [load(typed, 0), load(typed, 8)]
}

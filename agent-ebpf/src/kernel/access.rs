//! The ways to read the kernel's memory.

use core::{ffi::c_void, mem::MaybeUninit};

use agent_common::offsets::{CAST, CONSTANT, MEMBER};
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel},
    programs::LsmContext,
};

/// The value of a field of `Offsets` on the running kernel, a constant of the instruction.
#[macro_export]
macro_rules! offset {
    ($($field:ident).+) => {
        $crate::kernel::constant::<
            { core::mem::offset_of!(agent_common::offsets::Offsets, $($field).+) },
        >()
    };
}

/// Reads a member, by the field of `Offsets` that says where it is, through a pointer that the verifier has
/// typed: one instruction. The result keeps its type.
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

/// The value that the loader puts into an instruction for the field at `FIELD` of `Offsets`.
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

/// The field at that place of `Offsets`, which is a `u32`: see [`offset`].
#[inline(always)]
pub(crate) fn constant<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in}")
}

/// The field at that place of `Offsets`, which is a `u64`.
#[inline(always)]
pub(super) fn address<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in} ll")
}

/// See [`member`].
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

/// Reads a member through a pointer that the verifier has typed.
#[inline(always)]
pub(crate) fn load<T: Copy>(base: *const c_void, offset: u64) -> T {
    // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as zero.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset as usize).cast::<T>()) }
}

/// Copies a value from a kernel address; all zeroes where nothing is mapped.
#[inline(always)]
pub(crate) fn peek<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
    // SAFETY: the helper fills in all bytes, with zeroes where it fails; every `T` here is of integers.
    unsafe { value.assume_init() }
}

/// Reads a member of the structure at an address: typed by `$type`, a field of `Types`, where the kernel
/// can do that, else by copying.
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

/// An address as a pointer to a structure of the kernel's BTF (`bpf_rdonly_cast`, kernel/bpf/helpers.c):
/// loads through it are checked against the type, and give zeroes where nothing is mapped.
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

/// An argument of a hook, as it lies in the context: for a hook whose arguments are others on other kernels.
/// (The compiler would make one load of the two, at a place that it calculates, which the verifier forbids.)
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

/// Copies `len` bytes from a kernel address; on failure the destination is zeroed by the helper.
#[inline(always)]
pub(crate) fn copy(to: *mut c_void, len: u32, from: u64) -> bool {
    // SAFETY: the verifier checks that `to` has room for `len` bytes.
    unsafe { bpf_probe_read_kernel(to, len, from as *const c_void) == 0 }
}

/// The same number, of which the compiler forgets what it knew: a bound that follows stays.
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

/// The word of 64 bits at an address, of whatever lies there.
#[inline(always)]
pub(crate) fn read_word(address: u64) -> u64 {
    read!(words at address, 0)
}

/// The two words of 64 bits at an address, where the kernel can type it.
#[inline(always)]
pub(crate) fn read_two_words(address: u64) -> [u64; 2] {
    let typed = cast(address, offset!(types.words));
    [load(typed, 0), load(typed, 8)]
}

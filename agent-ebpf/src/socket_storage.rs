//! Socket storage: a map of one value for each socket. (That of aya-ebpf takes the context of another kind of program,
//! and is not copied to accepted connections.)

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::generated::bpf_sk_storage_get,
};

/// The map's definition, which the loader reads from the object's BTF; programs never read it. The kernel copies a
/// listening socket's value to each connection that the socket accepts.
#[repr(C)]
pub(crate) struct SocketStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the fields are placeholders that nobody dereferences; the kernel synchronizes the map.
unsafe impl<T> Sync for SocketStorage<T> {}

impl<T: 'static> SocketStorage<T> {
    /// The definition.
    pub(crate) const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The value of a socket, which is a pointer that the verifier has typed.
    #[inline(always)]
    pub(crate) fn get(&self, sk: *const c_void) -> Option<&'static mut T> {
        // SAFETY: null, or valid for as long as the socket lives, which the operation keeps.
        unsafe { self.look_up(sk, ptr::null_mut(), 0).as_mut() }
    }

    /// Makes the socket's value from `value` if it has none; `false` when the kernel is out of memory.
    #[inline(always)]
    pub(crate) fn create(&self, sk: *const c_void, value: &mut T) -> bool {
        !self.look_up(sk, value, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE)).is_null()
    }

    #[inline(always)]
    fn look_up(&self, sk: *const c_void, value: *mut T, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the map is a socket storage map, the socket a pointer that the verifier has typed.
        unsafe { bpf_sk_storage_get(map, sk.cast_mut().cast(), value.cast(), flags).cast() }
    }
}

//! Socket storage for LSM programs (that of aya-ebpf takes the context of another kind of program, and has no copies): a map
//! of one value for each socket.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::generated::bpf_sk_storage_get,
};

/// The definition as the loader finds it in the object's BTF: never read by the program itself. What a
/// listening socket has is copied for each connection that it accepts.
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

impl<T> SocketStorage<T> {
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

    /// The value of a socket, which is a pointer that the verifier has typed; null where it has none.
    #[inline(always)]
    pub(crate) fn get(&self, sock: *const c_void) -> *mut T {
        self.look_up(sock, ptr::null_mut(), 0)
    }

    /// The socket's value, made from `value` if it has none; null when the kernel is out of memory.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, sock: *const c_void, value: &mut T) -> *mut T {
        self.look_up(sock, value, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    #[inline(always)]
    fn look_up(&self, sock: *const c_void, value: *mut T, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the map is a socket storage map, the socket a pointer that the verifier has typed.
        unsafe { bpf_sk_storage_get(map, sock.cast_mut().cast(), value.cast(), flags).cast() }
    }
}

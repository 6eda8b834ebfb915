//! Task storage, which aya-ebpf does not have: a map of one value for each kernel task.

use core::{ffi::c_void, ptr};

use aya_ebpf::bindings::{
    BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
};
use aya_ebpf::helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get};

use crate::kernel::Task;

/// The definition as the loader finds it in the object's BTF: never read by the program itself.
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields are placeholders that nobody dereferences; the kernel synchronizes the map.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
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

    /// The task's value, or null.
    #[inline(always)]
    pub(crate) fn get(&self, task: Task) -> *mut T {
        self.lookup(task, ptr::null_mut(), 0)
    }

    /// The task's value, made from `value` if it has none; null when the kernel is out of memory.
    #[inline(always)]
    pub(crate) fn get_or_create(&self, task: Task, value: *mut T) -> *mut T {
        self.lookup(task, value, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
    }

    /// Takes the task's value away.
    #[inline(always)]
    pub(crate) fn remove(&self, task: Task) {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: as in `lookup`.
        unsafe { bpf_task_storage_delete(map, task.0.cast_mut().cast()) };
    }

    /// The map's own address in the kernel.
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        ptr::from_ref(self) as u64
    }

    #[inline(always)]
    fn lookup(&self, task: Task, value: *mut T, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the map is a task storage map, the task a pointer that the verifier has typed.
        unsafe { bpf_task_storage_get(map, task.0.cast_mut().cast(), value.cast(), flags).cast() }
    }
}

//! Task storage, which aya-ebpf does not have: a map of one value for each kernel task.

use core::{ffi::c_void, ptr};

use aya_ebpf::bindings::{
    BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
};
use aya_ebpf::helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get};

use crate::kernel::Task;

/// The map's definition, which the loader reads from the object's BTF; programs never read it.
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

impl<T: 'static> TaskStorage<T> {
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

    /// The task's value, if it has one and the kernel can tell just now.
    #[inline(always)]
    pub(crate) fn get(&self, task: Task) -> Option<&'static T> {
        // SAFETY: null, or valid for as long as the task lives: it is the running one, a hook's argument, or what an
        // iterator is at.
        unsafe { self.look_up(task, ptr::null_mut(), 0).as_ref() }
    }

    /// As [`Self::get`], to write.
    #[inline(always)]
    pub(crate) fn get_ptr_mut(&self, task: Task) -> Option<*mut T> {
        let value = self.look_up(task, ptr::null_mut(), 0);
        (!value.is_null()).then_some(value)
    }

    /// Makes the task's value from `value` if it has none; `false` when the kernel is out of memory.
    #[inline(always)]
    pub(crate) fn create(&self, task: Task, value: &mut T) -> bool {
        !self.look_up(task, value, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE)).is_null()
    }

    /// Removes the task's value.
    #[inline(always)]
    pub(crate) fn remove(&self, task: Task) {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: as in `look_up`.
        unsafe { bpf_task_storage_delete(map, task.0.cast_mut().cast()) };
    }

    /// The map's own address in the kernel.
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        ptr::from_ref(self) as u64
    }

    #[inline(always)]
    fn look_up(&self, task: Task, value: *mut T, flags: u64) -> *mut T {
        let map = ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: the map is a task storage map, the task a pointer that the verifier has typed.
        unsafe { bpf_task_storage_get(map, task.0.cast_mut().cast(), value.cast(), flags).cast() }
    }
}

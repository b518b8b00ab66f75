//! The C interface to c10d, safe to call: the only unsafe code of this module.

#[cfg(c10d)]
pub(super) use linked::*;
#[cfg(not(c10d))]
pub(super) use missing::*;

#[cfg(c10d)]
mod linked {
    use std::ffi::{CStr, CString, c_char, c_int};
    use std::net::TcpListener;
    use std::os::fd::IntoRawFd;
    use std::ptr::null_mut;
    use std::time::Duration;

    use tch::Tensor;
    use torch_sys::C_tensor;

    #[repr(C)]
    struct RawStore {
        _private: [u8; 0],
    }

    #[repr(C)]
    struct RawGroup {
        _private: [u8; 0],
    }

    /// Null, or what went wrong.
    type Message = *mut c_char;

    unsafe extern "C" {
        fn flowers_c10d_free(message: *mut c_char);
        fn flowers_c10d_store_open(
            host: *const c_char,
            port: u16,
            listener: c_int,
            timeout_ms: i64,
            store: *mut *mut RawStore,
        ) -> Message;
        fn flowers_c10d_store_close(store: *mut RawStore);
        fn flowers_c10d_store_set(
            store: *mut RawStore,
            key: *const c_char,
            value: *const c_char,
        ) -> Message;
        fn flowers_c10d_store_get(
            store: *mut RawStore,
            key: *const c_char,
            value: *mut *mut c_char,
        ) -> Message;
        fn flowers_c10d_store_add(
            store: *mut RawStore,
            key: *const c_char,
            by: i64,
            sum: *mut i64,
        ) -> Message;
        fn flowers_c10d_gloo_open(
            store: *mut RawStore,
            name: *const c_char,
            address: *const c_char,
            rank: c_int,
            world: c_int,
            timeout_ms: i64,
            group: *mut *mut RawGroup,
        ) -> Message;
        fn flowers_c10d_has_nccl() -> bool;
        fn flowers_c10d_gpu(index: c_int, identity: *mut *mut c_char) -> Message;
        fn flowers_c10d_nccl_open(
            store: *mut RawStore,
            rank: c_int,
            world: c_int,
            device: c_int,
            timeout_ms: i64,
            group: *mut *mut RawGroup,
        ) -> Message;
        fn flowers_c10d_group_close(group: *mut RawGroup);
        fn flowers_c10d_set_timeout(group: *mut RawGroup, timeout_ms: i64) -> Message;
        fn flowers_c10d_all_reduce(
            group: *mut RawGroup,
            tensors: *const *mut C_tensor,
            count: usize,
        ) -> Message;
        fn flowers_c10d_broadcast(
            group: *mut RawGroup,
            tensors: *const *mut C_tensor,
            count: usize,
            root: c_int,
        ) -> Message;
    }

    /// A store that is open.
    pub(crate) struct Store(*mut RawStore);

    /// A group that is open.
    pub(crate) struct Group(*mut RawGroup);

    // SAFETY: a group belongs to no thread, and is used by one at a time.
    unsafe impl Send for Group {}

    pub(crate) fn is_supported() -> bool {
        true
    }

    /// Takes over text of the interface.
    fn taken(text: *mut c_char) -> Option<String> {
        if text.is_null() {
            return None;
        }
        // SAFETY: texts of the interface end with a zero and are nobody else's; this one is freed once.
        unsafe {
            let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
            flowers_c10d_free(text);
            Some(copy)
        }
    }

    fn checked(message: Message) -> Result<(), String> {
        taken(message).map_or(Ok(()), Err)
    }

    fn c_string(text: &str) -> Result<CString, String> {
        CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
    }

    fn milliseconds(time: Duration) -> i64 {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    }

    fn number(number: usize) -> Result<c_int, String> {
        c_int::try_from(number).map_err(|_| format!("{number} is too large"))
    }

    impl Store {
        /// Connects to a store, or serves one on a listening socket.
        pub(crate) fn open(
            host: &str,
            port: u16,
            listener: Option<TcpListener>,
            timeout: Duration,
        ) -> Result<Self, String> {
            let host = c_string(host)?;
            let listener = listener.map_or(-1, IntoRawFd::into_raw_fd);
            let mut store = null_mut();
            // SAFETY: the text and the place for the result live as long as the call; the descriptor is
            // given away.
            checked(unsafe {
                flowers_c10d_store_open(
                    host.as_ptr(),
                    port,
                    listener,
                    milliseconds(timeout),
                    &mut store,
                )
            })?;
            Ok(Self(store))
        }

        pub(crate) fn set(&self, key: &str, value: &str) -> Result<(), String> {
            let (key, value) = (c_string(key)?, c_string(value)?);
            // SAFETY: the store is open, and the texts live as long as the call.
            checked(unsafe { flowers_c10d_store_set(self.0, key.as_ptr(), value.as_ptr()) })
        }

        /// The value of a key, if it has been set.
        pub(crate) fn get(&self, key: &str) -> Result<Option<String>, String> {
            let key = c_string(key)?;
            let mut value = null_mut();
            // SAFETY: the store is open, and what is pointed to lives as long as the call.
            checked(unsafe { flowers_c10d_store_get(self.0, key.as_ptr(), &mut value) })?;
            Ok(taken(value))
        }

        /// Adds to a number, 0 at first, and gives the sum.
        pub(crate) fn add(&self, key: &str, by: i64) -> Result<i64, String> {
            let key = c_string(key)?;
            let mut sum = 0;
            // SAFETY: the store is open, and what is pointed to lives as long as the call.
            checked(unsafe { flowers_c10d_store_add(self.0, key.as_ptr(), by, &mut sum) })?;
            Ok(sum)
        }
    }

    impl Drop for Store {
        fn drop(&mut self) {
            // SAFETY: it is open, and closed once.
            unsafe { flowers_c10d_store_close(self.0) }
        }
    }

    pub(crate) fn has_nccl() -> bool {
        // SAFETY: it takes nothing and changes nothing.
        unsafe { flowers_c10d_has_nccl() }
    }

    /// What tells a GPU from all others.
    pub(crate) fn gpu(index: usize) -> Result<String, String> {
        let index = number(index)?;
        let mut identity = null_mut();
        // SAFETY: the place for the result lives as long as the call.
        checked(unsafe { flowers_c10d_gpu(index, &mut identity) })?;
        Ok(taken(identity).unwrap_or_default())
    }

    impl Group {
        /// A group over Gloo, by a name of its own in the store; `address` is what it binds, if not what
        /// the system's settings say.
        pub(crate) fn gloo(
            store: &Store,
            name: &str,
            address: Option<&str>,
            (rank, world): (usize, usize),
            timeout: Duration,
        ) -> Result<Self, String> {
            let address = address.map(c_string).transpose()?;
            let address = address
                .as_ref()
                .map_or(std::ptr::null(), |text| text.as_ptr());
            let (rank, world) = (number(rank)?, number(world)?);
            let name = c_string(name)?;
            let mut group = null_mut();
            // SAFETY: the store is open; the group keeps a reference to what it needs of it. What is
            // pointed to lives as long as the call.
            checked(unsafe {
                flowers_c10d_gloo_open(
                    store.0,
                    name.as_ptr(),
                    address,
                    rank,
                    world,
                    milliseconds(timeout),
                    &mut group,
                )
            })?;
            Ok(Self(group))
        }

        /// A group over NCCL, of the GPU with this index.
        pub(crate) fn nccl(
            store: &Store,
            (rank, world): (usize, usize),
            device: usize,
            timeout: Duration,
        ) -> Result<Self, String> {
            let (rank, world, device) = (number(rank)?, number(world)?, number(device)?);
            let mut group = null_mut();
            // SAFETY: as for `gloo`.
            checked(unsafe {
                flowers_c10d_nccl_open(
                    store.0,
                    rank,
                    world,
                    device,
                    milliseconds(timeout),
                    &mut group,
                )
            })?;
            Ok(Self(group))
        }

        pub(crate) fn set_timeout(&self, timeout: Duration) -> Result<(), String> {
            // SAFETY: the group is open.
            checked(unsafe { flowers_c10d_set_timeout(self.0, milliseconds(timeout)) })
        }

        /// Replaces tensors by their sums over all processes.
        pub(crate) fn all_reduce(&self, tensors: &[Tensor]) -> Result<(), String> {
            let tensors: Vec<*mut C_tensor> = tensors.iter().map(pointer).collect();
            // SAFETY: the group is open, and the tensors live as long as the call, which ends after the
            // work on them.
            checked(unsafe { flowers_c10d_all_reduce(self.0, tensors.as_ptr(), tensors.len()) })
        }

        /// Replaces tensors by those of one process.
        pub(crate) fn broadcast(&self, tensors: &[Tensor], root: usize) -> Result<(), String> {
            let root = number(root)?;
            let tensors: Vec<*mut C_tensor> = tensors.iter().map(pointer).collect();
            // SAFETY: as for `all_reduce`.
            checked(unsafe {
                flowers_c10d_broadcast(self.0, tensors.as_ptr(), tensors.len(), root)
            })
        }
    }

    /// The C++ object behind a tensor. Its values are changed through shared references, as by all
    /// in-place operations of libtorch.
    fn pointer(tensor: &Tensor) -> *mut C_tensor {
        tensor.as_ptr().cast_mut()
    }

    impl Drop for Group {
        fn drop(&mut self) {
            // SAFETY: it is open, and closed once.
            unsafe { flowers_c10d_group_close(self.0) }
        }
    }
}

/// What is there without collectives: nothing is ever open.
#[cfg(not(c10d))]
mod missing {
    use std::convert::Infallible;
    use std::net::TcpListener;
    use std::time::Duration;

    use tch::Tensor;

    const MISSING: &str = "this program was built without PyTorch's collectives";

    pub(crate) struct Store(Infallible);

    pub(crate) struct Group(Infallible);

    pub(crate) fn is_supported() -> bool {
        false
    }

    pub(crate) fn has_nccl() -> bool {
        false
    }

    pub(crate) fn gpu(_: usize) -> Result<String, String> {
        Err(MISSING.into())
    }

    impl Store {
        pub(crate) fn open(
            _: &str,
            _: u16,
            _: Option<TcpListener>,
            _: Duration,
        ) -> Result<Self, String> {
            Err(MISSING.into())
        }

        pub(crate) fn set(&self, _: &str, _: &str) -> Result<(), String> {
            match self.0 {}
        }

        pub(crate) fn get(&self, _: &str) -> Result<Option<String>, String> {
            match self.0 {}
        }

        pub(crate) fn add(&self, _: &str, _: i64) -> Result<i64, String> {
            match self.0 {}
        }
    }

    impl Group {
        pub(crate) fn gloo(
            _: &Store,
            _: &str,
            _: Option<&str>,
            _: (usize, usize),
            _: Duration,
        ) -> Result<Self, String> {
            Err(MISSING.into())
        }

        pub(crate) fn nccl(
            _: &Store,
            _: (usize, usize),
            _: usize,
            _: Duration,
        ) -> Result<Self, String> {
            Err(MISSING.into())
        }

        pub(crate) fn set_timeout(&self, _: Duration) -> Result<(), String> {
            match self.0 {}
        }

        pub(crate) fn all_reduce(&self, _: &[Tensor]) -> Result<(), String> {
            match self.0 {}
        }

        pub(crate) fn broadcast(&self, _: &[Tensor], _: usize) -> Result<(), String> {
            match self.0 {}
        }
    }
}

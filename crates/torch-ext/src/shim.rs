//! The border to the C++ in `shim/`: its functions, and how tensors and messages cross it.
//!
//! A tensor crosses as the `at::Tensor*` that tch holds. Functions only borrow what they are given; tensors that they
//! return are new handles, which belong to the caller.

#![expect(unsafe_code, reason = "foreign functions")]

use std::borrow::Borrow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{Error, Result};

/// The tensors of a list, as pointers; it lives no longer than they do.
pub(crate) struct Handles<'a> {
    pointers: Vec<*const C_tensor>,
    lent: PhantomData<&'a Tensor>,
}

impl<'a> Handles<'a> {
    /// The handles of `tensors`.
    pub(crate) fn of<T: Borrow<Tensor>>(tensors: &'a [T]) -> Self {
        let pointers = tensors.iter().map(|tensor| tensor.borrow().as_ptr()).collect();
        Handles { pointers, lent: PhantomData }
    }

    /// The number of tensors.
    pub(crate) fn len(&self) -> usize {
        self.pointers.len()
    }

    /// As the shim takes them; they must outlive the call.
    pub(crate) fn lend(&self) -> Tensors {
        Tensors { data: self.pointers.as_ptr(), length: self.pointers.len() }
    }
}

/// `struct Tensors` of the shim.
#[repr(C)]
pub(crate) struct Tensors {
    data: *const *const C_tensor,
    length: usize,
}

/// A store's box. Only ever behind a pointer, as the next two.
#[repr(C)]
pub(crate) struct Store {
    _opaque: [u8; 0],
}

/// A process group's box.
#[repr(C)]
pub(crate) struct Group {
    _opaque: [u8; 0],
}

/// A started operation's box.
#[repr(C)]
pub(crate) struct Work {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn torch_ext_grad(
        outputs: Tensors,
        output_grads: Tensors,
        inputs: Tensors,
        gradients: *mut *mut C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_flash_attention(
        queries: *const C_tensor,
        keys: *const C_tensor,
        values: *const C_tensor,
        starts: *const C_tensor,
        longest: i64,
        attended: *mut *mut C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_norms(
        tensors: Tensors,
        norms: *mut *mut C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_mul(tensors: Tensors, factor: *const C_tensor, error: *mut *mut c_char);
    pub(crate) fn torch_ext_adamw(
        parameters: Tensors,
        gradients: Tensors,
        means: Tensors,
        squares: Tensors,
        step: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_from_blob(
        data: *mut c_void,
        size: *const i64,
        dimensions: usize,
        scalar_type: i8,
        owner: *mut c_void,
        release: unsafe extern "C" fn(*mut c_void),
        tensor: *mut *mut C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_use_gpu(device: c_int, error: *mut *mut c_char);
    pub(crate) fn torch_ext_rng_state(
        device: c_int,
        state: *mut *mut C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_set_rng_state(
        device: c_int,
        state: *const C_tensor,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_store_tcp(
        host: *const c_char,
        port: u16,
        is_server: bool,
        timeout_ms: i64,
        store: *mut *mut Store,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_store_prefix(
        store: *const Store,
        prefix: *const c_char,
        prefixed: *mut *mut Store,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_store_port(store: *const Store) -> u16;
    pub(crate) fn torch_ext_store_set(
        store: *const Store,
        key: *const c_char,
        value: *const u8,
        length: usize,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_store_get(
        store: *const Store,
        key: *const c_char,
        timeout_ms: i64,
        take: unsafe extern "C" fn(*mut c_void, *const u8, usize),
        taker: *mut c_void,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_store_free(store: *mut Store);
    pub(crate) fn torch_ext_group_gloo(
        store: *const Store,
        rank: c_int,
        size: c_int,
        timeout_ms: i64,
        group: *mut *mut Group,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_group_free(group: *mut Group);
    pub(crate) safe fn torch_ext_interface() -> *const c_char;
    pub(crate) fn torch_ext_all_reduce(
        group: *mut Group,
        tensor: *const C_tensor,
        op: u8,
        now: bool,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_reduce_scatter(
        group: *mut Group,
        output: *const C_tensor,
        input: *const C_tensor,
        op: u8,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_all_gather(
        group: *mut Group,
        output: *const C_tensor,
        input: *const C_tensor,
        now: bool,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_all_to_all(
        group: *mut Group,
        output: *const C_tensor,
        input: *const C_tensor,
        now: bool,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_broadcast(
        group: *mut Group,
        tensor: *const C_tensor,
        root: c_int,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_send(
        group: *mut Group,
        tensor: *const C_tensor,
        to: c_int,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_recv(
        group: *mut Group,
        tensor: *const C_tensor,
        from: c_int,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_barrier(
        group: *mut Group,
        work: *mut *mut Work,
        error: *mut *mut c_char,
    );
    pub(crate) fn torch_ext_wait(work: *mut Work, error: *mut *mut c_char);
}

/// Calls a function of the shim and turns its message, if it left one, into an error.
pub(crate) fn call(function: impl FnOnce(*mut *mut c_char)) -> Result<()> {
    let mut message = std::ptr::null_mut();
    function(&raw mut message);
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message that is not null comes from the shim's `strdup`.
    let error = Error::torch(&unsafe { CStr::from_ptr(message) }.to_string_lossy());
    // SAFETY: as above, and nothing refers to it any more.
    unsafe { libc::free(message.cast()) };
    Err(error)
}

/// The same for a function that returns one tensor.
pub(crate) fn call_for_tensor(
    function: impl FnOnce(*mut *mut C_tensor, *mut *mut c_char),
) -> Result<Tensor> {
    let mut tensor = std::ptr::null_mut();
    call(|error| function(&raw mut tensor, error))?;
    // SAFETY: without an error, the shim stored a new handle, which is ours.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

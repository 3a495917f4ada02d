//! A store of keys and values that all processes of a job see: how they find one another, and tell one another small things.

#![expect(unsafe_code, reason = "calls the shim")]

use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::mpsc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::shim;

/// c10d's `TCPStore`, or a part of one under a prefix.
///
/// One process serves it and the others are its clients; the server holds what was stored until it is dropped.
#[derive(Debug)]
pub struct Store {
    handle: NonNull<shim::Store>,
    timeout: Duration,
}

// SAFETY: c10d's stores lock for themselves.
unsafe impl Send for Store {}

impl Store {
    /// Serves a store on this port, or on a free one where that is 0: see [`port`](Self::port).
    pub fn serve(port: u16, timeout: Duration) -> Result<Self> {
        Self::tcp("localhost", port, true, timeout)
    }

    /// Connects to the store that another process serves, or will serve before the timeout.
    pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<Self> {
        // c10d waits without limit for the first answer of something that listens there and is no store.
        let (sender, connected) = mpsc::channel();
        let there = host.to_owned();
        std::thread::spawn(move || sender.send(Self::tcp(&there, port, false, timeout)));
        connected.recv_timeout(timeout + Duration::from_secs(1)).unwrap_or_else(|_| {
            Err(Error::Torch(format!("what listens at {host}:{port} does not answer as a store")))
        })
    }

    fn tcp(host: &str, port: u16, serves: bool, timeout: Duration) -> Result<Self> {
        let host = text(host)?;
        Self::new(timeout, |store, error| {
            // SAFETY: the host's name and both pointers hold for the call.
            unsafe {
                shim::torch_ext_store_tcp(
                    host.as_ptr(),
                    port,
                    serves,
                    milliseconds(timeout),
                    store,
                    error,
                );
            }
        })
    }

    /// The part of this store whose keys begin with `prefix`.
    pub fn prefixed(&self, prefix: &str) -> Result<Self> {
        let prefix = text(prefix)?;
        Self::new(self.timeout, |store, error| {
            // SAFETY: this store, the prefix and both pointers hold for the call; the new store keeps what it needs of
            // this one.
            unsafe {
                shim::torch_ext_store_prefix(self.handle.as_ptr(), prefix.as_ptr(), store, error);
            }
        })
    }

    fn new(
        timeout: Duration,
        make: impl FnOnce(*mut *mut shim::Store, *mut *mut std::ffi::c_char),
    ) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        shim::call(|error| make(&raw mut handle, error))?;
        let handle = NonNull::new(handle).expect("without an error there is a store");
        Ok(Self { handle, timeout })
    }

    /// The port on which the store is served.
    pub fn port(&self) -> u16 {
        // SAFETY: the handle is ours.
        unsafe { shim::torch_ext_store_port(self.handle.as_ptr()) }
    }

    /// Stores a value.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        let key = text(key)?;
        shim::call(|error| {
            let (store, data, length) = (self.handle.as_ptr(), value.as_ptr(), value.len());
            // SAFETY: key, value and handle hold for the call.
            unsafe { shim::torch_ext_store_set(store, key.as_ptr(), data, length, error) }
        })
    }

    /// A value; waits until it is there, or the timeout is over.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        unsafe extern "C" fn take(taker: *mut c_void, data: *const u8, length: usize) {
            // SAFETY: `taker` is the vector below, which nobody else uses during the call.
            let value = unsafe { &mut *taker.cast::<Vec<u8>>() };
            if length > 0 {
                // SAFETY: the shim lends a value of this length.
                value.extend_from_slice(unsafe { std::slice::from_raw_parts(data, length) });
            }
        }
        let name = text(key)?;
        let mut value: Vec<u8> = Vec::new();
        let taker = (&raw mut value).cast();
        let store = self.handle.as_ptr();
        shim::call(|error| {
            let (name, timeout) = (name.as_ptr(), milliseconds(self.timeout));
            // SAFETY: key, handle and vector hold for the call.
            unsafe { shim::torch_ext_store_get(store, name, timeout, take, taker, error) }
        })?;
        Ok(value)
    }

    pub(crate) fn handle(&self) -> *const shim::Store {
        self.handle.as_ptr()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and this is its last use; what was made from it keeps its own reference.
        unsafe { shim::torch_ext_store_free(self.handle.as_ptr()) }
    }
}

pub(crate) fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Torch(format!("`{text:?}` has a zero byte")))
}

//! Tensors over memory that somebody else owns, such as a mapped file: nothing is read or copied until it is used.

#![expect(unsafe_code, reason = "hands memory to C++")]

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::shim;

/// A CPU tensor of `kind` and `size` (row-major) over the `bytes` of `owner`, without a copy.
///
/// The tensor and its views share `owner`, which is dropped with the last of them, on whatever thread that is.
/// Fails where the range does not fit into `owner`, does not hold exactly the elements, or is not aligned to them.
///
/// # Safety
/// The memory is only lent: nothing may write to the tensor or to a view of it (`copy_`, `fill_`, `g_add_`, ...).
/// Over a file mapped for reading, a write would end the process. Take a `copy()` or move it to another device or kind.
pub unsafe fn from_blob<O>(
    owner: Arc<O>,
    bytes: Range<usize>,
    kind: Kind,
    size: &[i64],
) -> Result<Tensor>
where
    O: AsRef<[u8]> + Send + Sync + 'static,
{
    let scalar_type = scalar_type(kind)?;
    let whole = (*owner).as_ref();
    let Some(data) = whole.get(bytes.clone()) else {
        let length = whole.len();
        return Err(Error::Blob(format!("bytes {bytes:?} of a memory of {length} bytes")));
    };
    let element = kind.elt_size_in_bytes();
    if n_bytes(size, element) != Some(data.len()) {
        let length = data.len();
        return Err(Error::Blob(format!(
            "{length} bytes do not make a {kind:?} tensor of {size:?}"
        )));
    }
    if !data.is_empty() && !data.as_ptr().addr().is_multiple_of(element) {
        let start = bytes.start;
        return Err(Error::Blob(format!(
            "a {kind:?} tensor cannot start at byte {start}: not aligned"
        )));
    }
    let data = data.as_ptr().cast_mut().cast();
    let owner = Arc::into_raw(owner).cast_mut().cast();
    shim::call_for_tensor(|tensor, error| {
        // SAFETY: `data` lies in memory that `owner` keeps in place: it is borrowed from the value in the Arc, of which
        // no one can have a `&mut` while our count is held. The shim calls `release` exactly once, also when it fails.
        unsafe {
            let (dimensions, release) = (size.len(), release::<O>);
            let size = size.as_ptr();
            shim::torch_ext_from_blob(
                data,
                size,
                dimensions,
                scalar_type,
                owner,
                release,
                tensor,
                error,
            );
        }
    })
}

/// Gives back the count that [`from_blob`] took.
unsafe extern "C" fn release<O>(owner: *mut c_void) {
    // SAFETY: `owner` comes from `Arc::<O>::into_raw`, and the shim calls this once.
    drop(unsafe { Arc::from_raw(owner.cast_const().cast::<O>()) });
}

/// The length in bytes of a tensor, or nothing where a dimension is negative or the product too large.
fn n_bytes(size: &[i64], element: usize) -> Option<usize> {
    size.iter().try_fold(element, |product, &n| product.checked_mul(usize::try_from(n).ok()?))
}

/// libtorch's number for a kind (c10/core/ScalarType.h), for the kinds that files hold.
fn scalar_type(kind: Kind) -> Result<i8> {
    Ok(match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        other => return Err(Error::Blob(format!("no tensor of {other:?} over bytes"))),
    })
}

//! One operation over a list of tensors: on a GPU, a few kernels for the whole list and no wait in between.

#![expect(unsafe_code, reason = "calls the shim")]

use std::borrow::Borrow;

use tch::Tensor;

use crate::error::Result;
use crate::shim::{self, Handles};

/// The L2 norm of each tensor, as a vector where they lie: fp64 if they are, else fp32.
///
/// PyTorch's `torch._foreach_norm`, bit for bit; narrower kinds are summed in fp32. The list must not be empty.
pub fn norms<T: Borrow<Tensor>>(tensors: &[T]) -> Result<Tensor> {
    let tensors = Handles::of(tensors);
    // SAFETY: the list outlives the call.
    shim::call_for_tensor(|norms, error| unsafe {
        shim::torch_ext_norms(tensors.lend(), norms, error)
    })
}

/// Multiplies `tensors` by the scalar tensor `factor`, in place and without recording it for autograd.
pub fn mul_<T: Borrow<Tensor>>(tensors: &[T], factor: &Tensor) -> Result<()> {
    let tensors = Handles::of(tensors);
    // SAFETY: the list and `factor` outlive the call.
    shim::call(|error| unsafe { shim::torch_ext_mul(tensors.lend(), factor.as_ptr(), error) })
}

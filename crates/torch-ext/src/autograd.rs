//! Backward from given gradients.

#![expect(unsafe_code, reason = "calls the shim")]

use std::borrow::Borrow;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::shim::{self, Handles};

/// The gradients of `inputs`, given those of `outputs`; `None` for an input on which no output depends.
///
/// This is `torch.autograd.grad(outputs, inputs, output_grads, allow_unused=True)`. It adds to no `.grad`, and frees
/// the graph between `inputs` and `outputs`. A gradient has its output's shape.
///
/// tch's own `run_backward` starts from ones, so that a backward in pieces would have to go through `(y * dy).sum()`.
pub fn grad<O, G, I>(outputs: &[O], output_grads: &[G], inputs: &[I]) -> Result<Vec<Option<Tensor>>>
where
    O: Borrow<Tensor>,
    G: Borrow<Tensor>,
    I: Borrow<Tensor>,
{
    if outputs.len() != output_grads.len() {
        return Err(Error::Lengths {
            found: "gradients",
            n_found: output_grads.len(),
            expected: "outputs",
            n_expected: outputs.len(),
        });
    }
    let (outputs, output_grads) = (Handles::of(outputs), Handles::of(output_grads));
    let inputs = Handles::of(inputs);
    let mut gradients = vec![std::ptr::null_mut(); inputs.len()];
    shim::call(|error| {
        let gradients = gradients.as_mut_ptr();
        // SAFETY: the lists outlive the call, and `gradients` has room for one pointer an input.
        unsafe {
            shim::torch_ext_grad(
                outputs.lend(),
                output_grads.lend(),
                inputs.lend(),
                gradients,
                error,
            );
        }
    })?;
    let gradients = gradients.into_iter();
    // SAFETY: what is not null is a new handle, which is ours.
    Ok(gradients.map(|it| (!it.is_null()).then(|| unsafe { Tensor::from_ptr(it) })).collect())
}

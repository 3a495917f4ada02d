//! The state of libtorch's random numbers, to store in a checkpoint and to go on from.
//!
//! To seed, use [`tch::manual_seed`].

#![expect(unsafe_code, reason = "calls the shim")]

use tch::{Device, Tensor};

use crate::error::{Error, Result};
use crate::shim;

/// The state of `device`'s default generator: bytes, as PyTorch's `torch.get_rng_state` gives them.
pub fn state(device: Device) -> Result<Tensor> {
    let device = number(device)?;
    // SAFETY: both pointers hold for the call.
    shim::call_for_tensor(|state, error| unsafe { shim::torch_ext_rng_state(device, state, error) })
}

/// Goes on from a state that [`state`] gave.
pub fn set_state(device: Device, state: &Tensor) -> Result<()> {
    let device = number(device)?;
    // SAFETY: the tensor is borrowed for the call.
    shim::call(|error| unsafe { shim::torch_ext_set_rng_state(device, state.as_ptr(), error) })
}

/// The number by which the shim knows a device.
fn number(device: Device) -> Result<i32> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            i32::try_from(index).map_err(|_| Error::Torch(format!("no CUDA device {index}")))
        }
        other => Err(Error::Torch(format!("no generator for {other:?}"))),
    }
}

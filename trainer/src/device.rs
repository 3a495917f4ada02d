//! Where the model computes: a choice -> a device, or why it cannot be had.

use anyhow::Result;
use cli::bail_input;
use tch::Device;
use torch_ext::cuda::{self, NoCuda};

use crate::config::DeviceChoice;

/// The device that was chosen. A machine that has a GPU which cannot be used is told so in a remark; one without a GPU
/// computes on the CPU without a word.
pub fn choose(choice: DeviceChoice, remarks: &mut Vec<String>) -> Result<Device> {
    match (choice, cuda::load()) {
        (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, Err(NoCuda::NoDriver)) => Ok(Device::Cpu),
        (_, Ok(_)) => Ok(Device::Cuda(0)),
        (DeviceChoice::Auto, Err(no_cuda)) => {
            remarks.push(format!("computing on the CPU: {no_cuda}"));
            Ok(Device::Cpu)
        }
        (DeviceChoice::Cuda, Err(no_cuda)) => bail_input!("`device` is `cuda`, but {no_cuda}"),
    }
}
